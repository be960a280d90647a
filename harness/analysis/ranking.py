"""How the formats of a criterion stand: which is the best, and whether the others can be told from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.criteria import GradedCriterion
from harness.analysis.noise_floors import Floors, larger
from harness.analysis.statistics import Comparison, usual_size
from harness.analysis.table import CaseKey, CaseSamples, direction, paired
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, doubt, judge, noise_floor
from harness.records import Contender

Standing = Literal["best", "tie", "behind", "inconclusive", ""]
"""The lowest figure; the whole interval of the ratio to it within 5 %; slower, or larger; none of these; no word."""

_STANDS: Mapping[str, Standing] = {"slower": "behind", "equivalent": "tie"}
SURE: tuple[Standing, ...] = ("tie", "behind")
"""Of a format that is not the best."""

WeighedCase = tuple[CaseSamples, int]
"""A cell of a criterion, and how much it weighs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """One format held against the best in a criterion."""

    row: dict  # Of the grades, which gets ``standing`` and ``why``.
    comparison: Comparison | None  # Round by round, over all cells; None where the two have no cell in common.
    floor: Floor  # What two equal contenders of this criterion differ by.
    decided: bool = False  # Whether in each cell few rounds decided that it is slower.


def claims(
    criterion: GradedCriterion,
    rows: Sequence[dict],
    cells: Sequence[WeighedCase],
    controls: Mapping[CaseKey, CaseSamples],
    original: str | None,
    floors: Floors,
) -> list[Claim]:
    """Name the best of a criterion in its row, and hold the others against it; sizes are exact and are told at once.

    Parameters
    ----------
    criterion : GradedCriterion
        Which.
    rows : sequence of dict
        Its grades of one effort.
    cells : sequence of (CaseSamples, int)
        Its cells, each with its weight.
    controls : mapping of CaseKey to CaseSamples
        Where the A/A control of each case is.
    original : str or None
        The format that it repeats.
    floors : Floors
        Of all cases of the run. For formats at their best the floor is the larger of that of these cells, and that of
        the controls that took about as long as each.
    """
    graded = [row for row in rows if row["grade"]]
    most = max((row["cells"] for row in graded), default=0)
    if len(graded) < 2:  # the only one is the best of one
        return []
    # One that has figures in fewer cells was not asked for all that the others were.
    best = min((row for row in graded if row["cells"] == most), key=lambda row: row["figure"])
    best |= {"standing": "best", "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
    others = [row for row in graded if row is not best]
    if criterion.exact:
        for row in others:
            ratio = row["figure"] / best["figure"]
            row |= {"standing": "behind", "ratio": ratio, "ratio_low": ratio, "ratio_high": ratio}
        return []
    repeated = [(paired(one.control, one.original(original)), w) for c, w in cells if (one := controls.get(c.case))]
    floor = noise_floor(over_cells(repeated))
    floor = larger(floor, noise_floor(over_cells((floors.raised(case), weight) for case, weight in cells)))
    return [_claim(row, best, cells, controls, original, floor) for row in others]


def _claim(
    row: dict,
    best: dict,
    cells: Sequence[WeighedCase],
    controls: Mapping[CaseKey, CaseSamples],
    original: str | None,
    floor: Floor,
) -> Claim:
    """Hold a format against the best, in the cells in which both have a figure."""
    compared, ways = [], []
    for case, weight in cells:
        mine, theirs = (case.by_contender.get(Contender(of["format"], of["profile"])) for of in (row, best))
        if mine is None or theirs is None or mine.why or theirs.why:
            continue
        comparison, beside = paired(mine, theirs), controls.get(case.case)
        if comparison is not None and beside is not None:
            compared.append((comparison, weight))
            ways.append(direction(mine, theirs, beside.control, beside.original(original)))
    few = all(comparison.rounds < VERDICT_ROUNDS for comparison, _ in compared)
    decided = few and bool(ways) and all(way == 1 for way in ways)
    found = over_cells(compared)
    if found is not None:
        row |= found.ratio.columns("ratio")
    return Claim(row=row, comparison=found, floor=floor, decided=decided)


def over_cells(found: Iterable[tuple[Comparison | None, int]]) -> Comparison | None:
    """Average comparisons over cells, round by round.

    Rounds of different cells are different moments, so which of them come together does not matter. In each cell a
    round whose difference is far larger than usual counts as the largest that is usual (`usual_size`), which depends on
    sizes alone: disturbed rounds of many cells would else hide what all others show. A cell that few rounds decided
    counts with its median.

    Parameters
    ----------
    found : iterable of (Comparison or None, int)
        Of each cell, with its weight; None where the two have no round in common.
    """
    known = [(comparison.log_ratios, weight) for comparison, weight in found if comparison is not None]
    if not known:
        return None
    enough = [len(logs) for logs, _ in known if len(logs) >= VERDICT_ROUNDS]
    count = min(enough or [len(logs) for logs, _ in known])
    usual = [np.clip(logs, -usual_size(logs), usual_size(logs)) for logs, _ in known]
    shown = [logs[:count] if len(logs) >= count else np.full(count, np.median(logs)) for logs in usual]
    return Comparison.of(np.average(shown, axis=0, weights=[weight for _, weight in known]))


def stand(found: Sequence[Claim]) -> None:
    """Put all claims of a run into words, together: each is a chance to be wrong (`harness.analysis.verdict.judge`)."""
    for claim in found:
        claim.row["standing"] = "behind" if claim.decided else "inconclusive"
    judged = [claim for claim in found if not claim.decided and claim.comparison is not None]
    words = judge([c.comparison for c in judged if c.comparison is not None], [c.floor for c in judged])
    for claim, word in zip(judged, words, strict=True):
        claim.row["standing"] = _STANDS.get(word, "inconclusive")
        if claim.row["standing"] == "inconclusive" and claim.comparison is not None:
            claim.row["why"] = doubt(claim.comparison, claim.floor)
