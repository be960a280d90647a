"""Ranking of the formats in a criterion: the best, and whether the others are distinguishable from it."""

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
"""Standing of a format in a criterion.

``best``: the lowest figure. ``tie``: the complete interval of the ratio to the best is within 5 %. ``behind``: slower,
or larger. ``inconclusive``: none of these. Empty: no comparison.
"""

_STANDS: Mapping[str, Standing] = {"slower": "behind", "equivalent": "tie"}
SURE: tuple[Standing, ...] = ("tie", "behind")
"""Conclusive standings of a format that is not the best."""

WeighedCase = tuple[CaseSamples, int]
"""A case of a criterion, and its weight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """Comparison of one format with the best in a criterion."""

    row: dict  # Row of the grades, which receives ``standing`` and ``why``.
    comparison: Comparison | None  # Round by round, over all cells; None where the two have no cell in common.
    floor: Floor  # Difference between two equal contenders in this criterion.
    decided: bool = False  # Whether few rounds decided in each cell that it is slower.


def claims(
    criterion: GradedCriterion,
    rows: Sequence[dict],
    cells: Sequence[WeighedCase],
    controls: Mapping[CaseKey, CaseSamples],
    original: str | None,
    floors: Floors,
) -> list[Claim]:
    """Mark the best of a criterion in its row, and return the comparisons of the others with it.

    Sizes are exact: their rows are completed at once, without comparisons.

    Parameters
    ----------
    criterion : GradedCriterion
        The criterion.
    rows : sequence of dict
        Its rows of the grades, of one effort.
    cells : sequence of (CaseSamples, int)
        Its cases, each with its weight.
    controls : mapping of CaseKey to CaseSamples
        The samples that include the A/A control of each case.
    original : str or None
        The format that it repeats.
    floors : Floors
        Of all cases of the run. For formats at their best, the floor is the larger of that of these cells and that of
        the controls with similar times.
    """
    graded = [row for row in rows if row["grade"]]
    most = max((row["cells"] for row in graded), default=0)
    if len(graded) < 2:  # a single format is always the best
        return []
    # A format with figures in fewer cells was not measured in all that the others were.
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
    """Compare a format with the best, in the cells in which both have a figure."""
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

    Rounds of different cells are at different times, so it does not matter which are averaged together. In each cell, a
    difference that is far larger than usual is clipped to the largest usual one (`usual_size`), which depends on sizes
    alone. Otherwise disturbed rounds of many cells would hide what all others show. A cell that few rounds decided
    counts with its median.

    Parameters
    ----------
    found : iterable of (Comparison or None, int)
        The comparison of each cell, with its weight; None if the two have no common round.
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
    """Judge all claims of a run together, and write the standings into their rows.

    Each claim is a chance to be wrong (`harness.analysis.verdict.judge`).
    """
    for claim in found:
        claim.row["standing"] = "behind" if claim.decided else "inconclusive"
    judged = [claim for claim in found if not claim.decided and claim.comparison is not None]
    words = judge([c.comparison for c in judged if c.comparison is not None], [c.floor for c in judged])
    for claim, word in zip(judged, words, strict=True):
        claim.row["standing"] = _STANDS.get(word, "inconclusive")
        if claim.row["standing"] == "inconclusive" and claim.comparison is not None:
            claim.row["why"] = doubt(claim.comparison, claim.floor)
