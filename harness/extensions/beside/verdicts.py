"""Verdicts of runs side by side (standings, grades, uses, cells), and whether each holds on all runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, TypedDict

import pandas as pd

from harness.analysis import formatting
from harness.analysis.choice.decision import Decision
from harness.analysis.criteria import WORDS, criteria
from harness.analysis.criteria import word as grade_word
from harness.analysis.efforts import BEST, STOCK, standing
from harness.analysis.findings import Findings
from harness.extensions.beside.runs import case_of
from harness.records import Effort, kind_of
from harness.suite import suite_named

Kind = Literal["standing", "grade", "use", "cell"]
"""A format's standing in a criterion, its grade there, the format that a use prefers, or a format in one cell."""

Agreement = Literal["holds", "differs", "inconclusive", "none"]
"""Agreement of all runs.

``holds``: all runs have the same word. ``differs``: two runs exclude each other. ``inconclusive``: some run cannot
decide. ``none``: some run has no verdict, or has one against other formats.
"""

INCONCLUSIVE = "inconclusive"
FRONT = "in front"
"""Best, or a tie with the best."""

_STANDS = frozenset((FRONT, "behind"))
_COMPARED = frozenset(("faster", "slower", "equivalent"))
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class RunWord:
    """The verdict of one run."""

    word: str = ""  # Its verdict on the shared cells; empty without one.
    # The words to compare with other runs: only `word` if the run is sure, all words that may be true if the run cannot
    # decide, none without a verdict.
    possible: frozenset[str] = _NONE
    # What the word was decided against: in a criterion or a use, the formats that have figures.
    among: frozenset[Any] = frozenset()
    # Ratio of the format to the best of the criterion, or to the baseline in the cell, with its 95 % interval.
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def short(self) -> str:
        """The word, with the ratio if it has one."""
        return (
            self.word
            if self.ratio is None or self.word in ("", "best")
            else f"{self.word} ({formatting.times(self.ratio)})"
        )

    def __str__(self) -> str:
        if self.word == "best" and len(self.possible) > 1:
            return "best, not for sure"
        if self.ratio is None or self.word in ("", "best"):
            return self.word or "–"
        between = "" if self.low in (None, self.high) else f" ({formatting.between(self.low, self.high or 0)})"
        return f"{self.word}, {formatting.times(self.ratio)}{between}"


@dataclass(frozen=True, kw_only=True)
class HeldVerdict:
    """One verdict on all runs."""

    kind: Kind  # Kind of verdict.
    effort: Effort  # How formats were read: ``stock``, ``best``, or empty if runs do not record it.
    # The criterion, use or cell, in words; and the format, empty for a use.
    of: str
    format: str = ""
    part: str = ""  # Group in which it is counted: the suite of a cell, else `of`.
    said: tuple[RunWord, ...]  # The word of each run.

    @property
    def agreement(self) -> Agreement:
        """Whether the verdict holds on all runs; different words contradict only if their intervals do not overlap."""
        told = [one for one in self.said if one.possible]
        if any(_contradict(one, other) for one, other in combinations(told, 2)):
            return "differs"
        if len(told) < len(self.said) or len({one.among for one in told}) > 1:
            return "none"
        return "holds" if len(frozenset[str]().union(*(one.possible for one in told))) == 1 else "inconclusive"


def _contradict(one: RunWord, other: RunWord) -> bool:
    """Return whether two words exclude each other; with other noise, runs may give the same ratio different words."""
    return one.among == other.among and one.possible.isdisjoint(other.possible) and not _overlap(one, other)


def _overlap(one: RunWord, other: RunWord) -> bool:
    """Return whether the intervals of two ratios overlap; False if one has none."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def held_verdicts(found: Sequence[Findings], efforts: Sequence[Effort]) -> list[HeldVerdict]:
    """Return the verdicts of runs side by side.

    Parameters
    ----------
    found : sequence of Findings
        Findings of each run, in the cells that all runs share.
    efforts : sequence of str
        Efforts (how formats were read) that all runs share.
    """
    verdicts: list[HeldVerdict] = []
    for effort in efforts:
        verdicts += _by_criterion(found, effort, "standing", _standing)
        verdicts += _by_criterion(found, effort, "grade", _grade)
        if effort != BEST:  # uses are decided by stock readers, and cells are compared with their baseline
            verdicts += _joined("use", effort, [_uses(one) for one in found])
            verdicts += _joined("cell", effort, [_cells(one, effort) for one in found])
    return verdicts


_Found = dict[tuple[str, ...], RunWord]
"""Words of one run by (of, format, part): for each criterion and format, each use, or each cell and format."""


def _joined(kind: Kind, effort: Effort, each: Sequence[_Found]) -> Iterator[HeldVerdict]:
    """Join the words of runs to verdicts; keys are (of, format, part)."""
    for key in dict.fromkeys(key for found in each for key in found):
        of, name, part = key
        said = tuple(found.get(key, RunWord()) for found in each)
        yield HeldVerdict(kind=kind, effort=effort, of=of, format=name, part=part, said=said)


def _by_criterion(
    found: Sequence[Findings], effort: Effort, kind: Kind, say: Callable[[Mapping[Hashable, Any], bool], RunWord]
) -> list[HeldVerdict]:
    each: list[_Found] = []
    for findings in found:
        table, of = findings.grades.table, _Found()
        for _, rows in table[_of_effort(table, findings, effort)].groupby("criterion", sort=False):
            unsure = bool((rows["standing"] == INCONCLUSIVE).any())
            among = frozenset(zip(rows["format"], rows["cells"], rows[kind] != "", strict=True))
            for row in rows.to_dict("records"):
                key = str(row["criterion"]), str(row["format"]), str(row["criterion"])
                of[key] = replace(say(row, unsure), among=among)
        each.append(of)
    joined = list(_joined(kind, effort, each))
    order = {name: place for place, name in enumerate(formatting.ordered(one.format for one in joined))}
    criteria = {name: place for place, name in enumerate(dict.fromkeys(one.of for one in joined))}
    return sorted(joined, key=lambda one: (criteria[one.of], order[one.format]))


def _of_effort(table: pd.DataFrame, findings: Findings, effort: Effort) -> pd.Series:
    """Select the grades of an effort; a run without formats at their best leaves the effort empty."""
    raced = findings.samples["effort"].isin([BEST, "both"]).any()
    return table["effort"] == (effort if raced else "")


def _standing(row: Mapping[Hashable, Any], unsure: bool) -> RunWord:
    """Return the word for a format's standing; best and tie are not sure if another format may be the best."""
    word = str(row["standing"])
    if not word:
        return RunWord()
    open_ = word == INCONCLUSIVE or (word in ("best", "tie") and unsure)
    possible = _STANDS if open_ else frozenset((FRONT if word in ("best", "tie") else word,))
    return RunWord(word=word, possible=possible, **_ratio(row, "ratio", "ratio_low", "ratio_high"))


def _grade(row: Mapping[Hashable, Any], unsure: bool) -> RunWord:
    """Return a grade, with every grade that its interval reaches; its figure is the ratio to the best of each cell."""
    word = str(row["grade"] or "")
    if not word:
        return RunWord()
    (limits,) = (one.limits for one in criteria() if one.name == row["criterion"])
    least, most = (WORDS.index(grade_word(float(row[name]), limits)) for name in ("low", "high"))
    possible = frozenset((word, *WORDS[least : most + 1]))
    return RunWord(word=word, possible=possible, **_ratio(row, "figure", "low", "high"))


def _uses(findings: Findings) -> _Found:
    return {
        (f"{mix} on {formatting.subject(one.trace, one.n_res)}", "", mix): _choice(one)
        for mix, of in findings.decisions.items()
        for one in of
    }


def _choice(decision: Decision) -> RunWord:
    if decision.preferred is None:
        return RunWord()
    names = formatting.ordered({decision.preferred, *decision.indistinguishable})
    among = frozenset(decision.costs["format"])
    return RunWord(word=formatting.listed(names, "or"), possible=frozenset(names), among=among)


def _cells(findings: Findings, effort: Effort) -> _Found:
    """Return the verdict of every format in every cell, against the baseline of the same profile."""
    rows = standing(findings.summary, effort or STOCK)
    rows = rows[(rows["format"].map(kind_of) == "format") & rows["verdict"].notna()]
    several = rows["group"].nunique() > 1
    found: _Found = {}
    for row in rows.to_dict("records"):
        case = case_of(row)
        place = f"{formatting.case(row)}, {formatting.subject(case.trace, case.n_res)}"
        suite = suite_named(case.suite)
        of = ": ".join(filter(None, (suite.prefix, place)))
        name = f"{row['format']} ({row['group']})" if several else str(row["format"])
        found[of, name, suite.heading] = _verdict(row)
    return found


def _verdict(row: Mapping[Hashable, Any]) -> RunWord:
    if row["why"] == "rounds":  # too few for a verdict
        return RunWord()
    word = str(row["verdict"])
    possible = _COMPARED if word == INCONCLUSIVE else frozenset((word,))
    return RunWord(word=word, possible=possible, **_ratio(row, "ratio", "ratio_low", "ratio_high"))


class _Ratio(TypedDict):
    ratio: float | None
    low: float | None
    high: float | None


def _ratio(row: Mapping[Hashable, Any], *names: str) -> _Ratio:
    """Return a ratio with its interval; None for values that the row does not have."""
    ratio, low, high = (float(row[name]) if formatting.known(row[name]) else None for name in names)
    return _Ratio(ratio=ratio, low=low, high=high)


def counted(verdicts: Iterable[HeldVerdict]) -> dict[Agreement, int]:
    """Count verdicts by their agreement."""
    found: dict[Agreement, int] = {"holds": 0, "differs": 0, "inconclusive": 0, "none": 0}
    for one in verdicts:
        found[one.agreement] += 1
    return found
