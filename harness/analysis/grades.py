"""Criteria and grades, worked out from measured cells by rules that are printed with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec.toml
import numpy as np
import pandas as pd

from harness.analysis.statistics import RESAMPLES, Interval
from harness.analysis.table import CaseKey, CaseSamples, SampleTable
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.analysis.withdrawal import SHORT
from harness.records import Contender
from harness.suite import suites

WORDS = ("Strong", "Good", "Limited", "Poor")

# Times. Up to 1.25 little can be claimed: in one of four cells of the reference run, two equal arms cannot be shown to
# lie closer than that (its smallest detectable effects). At 2 everything takes twice as long, which nobody needs to
# measure to notice; beyond 5, what took a minute takes more than five and is no longer waited for.
_TIMES = (1.25, 2.0, 5.0)
# Sizes are exact, so their limits are tighter. A tenth is lost in rounding up to the next disk; at 2 the same data need
# twice the disks, which is all that storing bfloat16 values as float32 would cost.
_SIZES = (1.1, 1.5, 2.0)

_EARLIER = Path(__file__).with_name("earlier.toml")


@dataclass(frozen=True, kw_only=True)
class GradedCriterion:
    """One row of the table: what a suite states, with the limits of what it measures.

    Attributes
    ----------
    suite, name, cells : str
        Whose it is, what it is called, and which cells it is made of, in words.
    accesses : tuple of str
        Those that count; all of the suite without it.
    limits : tuple of float
        The largest ratio that is still Strong, Good, Limited.
    exact : bool
        Whether the cells hold sizes, which have no spread.
    """

    suite: str
    name: str
    cells: str
    accesses: tuple[str, ...]
    limits: tuple[float, float, float]
    exact: bool

    def takes(self, case: CaseKey) -> bool:
        """Say whether a cell counts."""
        return case.suite == self.suite and (not self.accesses or case.access in self.accesses)


def criteria() -> list[GradedCriterion]:
    """Return the criteria of all suites that state one, in their order."""
    return [
        GradedCriterion(
            suite=suite.name, name=stated.name, cells=stated.cells, accesses=stated.accesses,
            limits=stated.limits or (_SIZES if suite.unit == "B" else _TIMES), exact=suite.unit == "B",
        )
        for suite in suites() if (stated := suite.criterion) is not None
    ]  # fmt: skip


class Earlier(msgspec.Struct, frozen=True):
    """The grades of an earlier comparison: what it is called, where they are, and each by criterion and format."""

    name: str
    source: str
    grades: dict[str, dict[str, str]]


@cache
def earlier() -> Earlier:
    """Return the grades of ``earlier.toml``."""
    return msgspec.toml.decode(_EARLIER.read_bytes(), type=Earlier)


GRADE_COLUMNS = [
    "criterion", "format", "profile", "effort", "grade", "borderline", "figure", "low", "high", "cells", "reason",
    "below_raw",
    "seed_grade", "disagrees",
]  # fmt: skip
CELL_COLUMNS = [
    "criterion", *CaseKey._fields[1:], "format", "profile", "effort", "value", "best_format", "ratio",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Grades:
    """The table, and what is behind it.

    Attributes
    ----------
    table : DataFrame
        Columns `GRADE_COLUMNS`, a row for each criterion and format: the word (empty without one, and then ``reason``
        says why), the mean ratio to the best format with its 95 % interval, whether that interval crosses a limit, in
        how many of its cells it was faster than the raw ceiling (`CaseSamples.below_raw`), the grade of `earlier`, and
        whether it lies outside the words that the interval allows.
    cells : DataFrame
        Columns `CELL_COLUMNS`: each value (seconds, or bytes of storage) that went into a figure.
    rules : list of str
        How the words come about, in sentences.
    disagreements : list of str
        A sentence for each grade of `earlier` that measurement contradicts.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    rules: list[str]
    disagreements: list[str]


def rules(stated: Sequence[GradedCriterion], *, closed: bool = True) -> list[str]:
    """Say in sentences how grades by these criteria come about; `closed` where times are from a closed archive."""
    scales = [
        f"{of}: {', '.join(f'{word} up to {limit:g}' for word, limit in zip(WORDS, limits, strict=False))}, "
        f"{WORDS[-1]} beyond."
        for limits, of in ((_TIMES, "Times"), (_SIZES, "Sizes, which are exact"))
    ]
    return [
        "In each cell (a trace at its largest length, an access, a cache state, an executor, a number of workers) a "
        f"format's median time{', opening included,' if closed else ''} is divided by the best format's; the figure is "
        "the geometric mean over the criterion's cells, so that 1 is the best everywhere. The raw ceiling and the A/A "
        "control do not compete.",
        *scales,
        *(f"{c.name.capitalize()}: {c.cells}." for c in stated),
        "A grade is borderline when the figure's 95 % interval (bootstrap over rounds, the same rounds for all formats "
        "of a cell) crosses a limit.",
        "A warm read that took less time than the raw ceiling of the same bytes is marked: it read fewer bytes, or its "
        "work was done where the clock does not see it.",
        f"No grade is given without at least {VERDICT_ROUNDS} rounds in a cell with another format to compare with, "
        "nor to a format that failed in one of the criterion's cells. A format that is far slower in each of fewer "
        "rounds leaves, and is graded by these.",
    ]


def word(figure: float, limits: Sequence[float]) -> str:
    """Return the word for a ratio to the best format."""
    return WORDS[int(np.searchsorted(limits, figure, side="left"))]


def grade(
    table: SampleTable,
    best: SampleTable | None = None,
    *,
    exact_only: bool = False,
    measured_only: bool = True,
    cores: int | None = None,
) -> Grades:
    """Grade every format in every criterion, in the profile that formats are judged in.

    Parameters
    ----------
    table, best : SampleTable
        From `harness.analysis.efforts.at`: each format's stock contender; and its best, held against others at theirs.
    exact_only : bool
        Give no grade to times, because the run's reads are withdrawn.
    measured_only : bool
        Leave out criteria of suites that the run did not measure.
    cores : int or None
        Of the machine: more workers than these wait for each other, which says nothing of a format. None for all.
    """
    measured = {case.case.suite for case in table.cases}
    stated = [c for c in criteria() if c.suite in measured or not measured_only]
    graded: list[dict] = []
    behind: list[dict] = []
    for effort, of in (("stock", table), ("best", best)):
        if of is not None:
            named = {"effort": effort if best is not None else ""}
            found = _graded(of, stated, exact_only=exact_only, cores=cores)
            for every, these in zip((graded, behind), found, strict=True):
                every += [row | named for row in these]
    rows = pd.DataFrame(graded, columns=GRADE_COLUMNS)
    first = {c.name: "the smallest" if c.exact else "the fastest" for c in stated}
    disagreements = [
        f"{row['format']}, {row['criterion']}: {earlier().name} says {row['seed_grade']}, measured "
        f"{row['grade']}: {row['figure']:.2f}x {first[row['criterion']]} in {row['cells']} "
        f"cell{'s' if row['cells'] != 1 else ''}."
        for row in rows[rows["disagrees"].astype(bool)].to_dict("records")
    ]
    cells = pd.DataFrame(behind, columns=CELL_COLUMNS)
    return Grades(
        table=rows, cells=cells, rules=rules(stated, closed=not table.all_rounds), disagreements=disagreements
    )


def _graded(
    table: SampleTable, stated: Sequence[GradedCriterion], *, exact_only: bool, cores: int | None
) -> tuple[list[dict], list[dict]]:
    """Return the rows of both tables of one contender a format."""
    profile = table.judged_profile
    cases = [c for c in table.cases if c.case.n_res == table.lengths[c.case.trace] and not c.skipped]
    cases = [c for c in cases if cores is None or c.case.workers <= cores]
    formats = sorted({c.format for c in table.contenders(cases) if c.competes and c.profile == profile})
    graded: list[dict] = []
    behind: list[dict] = []
    for criterion in stated:
        if exact_only and not criterion.exact:
            graded += [_without(criterion, name, profile) | {"reason": SHORT} for name in formats]
            continue
        taken = most_workers([c for c in cases if criterion.takes(c.case)])
        logs, compared = _ratios(criterion, taken, profile, behind)
        graded += [_row(criterion, name, profile, taken, logs.get(name, []), compared) for name in formats]
    return graded, behind


def most_workers(cases: Sequence[CaseSamples]) -> list[CaseSamples]:
    """Of each access keep the cases with the most workers of each kind."""
    most: dict[tuple[str, str, str], int] = {}
    for case in (found.case for found in cases):
        key = (case.trace, case.access, case.executor)
        most[key] = max(most.get(key, 0), case.workers)
    return [c for c in cases if c.case.workers == most[c.case.trace, c.case.access, c.case.executor]]


def _sizes(case: CaseSamples) -> dict[Contender, np.ndarray]:
    """Return the bytes of each archive, which are the same in every draw."""
    sizes = {cell.contender: cell.known("size_bytes") for cell in case.cells if cell.status == "ok"}
    return {contender: np.full(1 + RESAMPLES, found[0]) for contender, found in sizes.items() if len(found)}


def _ratios(
    criterion: GradedCriterion, cases: Sequence[CaseSamples], profile: str, behind: list[dict]
) -> tuple[dict[str, list[np.ndarray]], int]:
    """Return each format's logarithms of ratios to the best and how many cells could be compared; note every value."""
    logs: dict[str, list[np.ndarray]] = {}
    compared = 0
    for case in cases:
        values = _sizes(case) if criterion.exact else case.medians()
        mine = {c.format: found for c, found in values.items() if c.competes and c.profile == profile}
        if len(mine) < 2:  # the only one is the best of one, which says nothing
            continue
        compared += 1
        best = np.min(list(mine.values()), axis=0)
        first = min(mine, key=lambda name: mine[name][0])
        for name, found in mine.items():
            logs.setdefault(name, []).append(np.log(found / best))
            behind.append(
                {
                    "criterion": criterion.name, **case.case._asdict(), "format": name, "profile": profile,
                    "value": found[0], "best_format": first, "ratio": found[0] / best[0],
                }
            )  # fmt: skip
    return logs, compared


def _without(criterion: GradedCriterion, name: str, profile: str) -> dict:
    """Return the row of a format that has no grade."""
    return dict.fromkeys(GRADE_COLUMNS, np.nan) | {
        "criterion": criterion.name, "format": name, "profile": profile, "grade": "", "cells": 0, "borderline": False,
        "seed_grade": earlier().grades.get(criterion.name, {}).get(name, ""), "disagrees": False, "reason": "",
        "below_raw": 0,
    }  # fmt: skip


def _row(
    criterion: GradedCriterion,
    name: str,
    profile: str,
    cases: Sequence[CaseSamples],
    logs: Sequence[np.ndarray],
    compared: int,
) -> dict:
    row = _without(criterion, name, profile)
    mine = [(c, cell) for c in cases if (cell := c.by_contender.get(Contender(name, profile))) is not None]
    for case, cell in mine:
        if cell.status == "failed":
            return row | {
                "reason": f"{case.case.access} {case.case.cache}".strip() + f" on {case.case.trace}: {cell.why}"
            }
    if not logs:
        timed = [cell.why for _, cell in mine if cell.why] if not criterion.exact else []
        alone = "the only format measured: nothing to compare with"
        return row | {"reason": timed[0] if timed else alone if cases and not compared else "not measured"}
    figure = Interval.of_draws(np.exp(np.mean(logs, axis=0)))
    given, best, worst = (word(x, criterion.limits) for x in (figure.median, figure.low, figure.high))
    allowed = WORDS[min(map(WORDS.index, (given, best))) : max(map(WORDS.index, (given, worst))) + 1]
    return row | {
        "grade": given, "borderline": len(allowed) > 1, "figure": figure.median, "low": figure.low,
        "high": figure.high, "cells": len(logs),
        "below_raw": sum(case.below_raw(cell) for case, cell in mine),
        "reason": f"measured in {len(logs)} of {compared} cells" if len(logs) < compared else "",
        "disagrees": bool(row["seed_grade"]) and row["seed_grade"] not in allowed,
    }  # fmt: skip
