"""Grades of formats, computed from measured cells by rules that reports print with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.criteria import GradedCriterion, criteria, rules, word
from harness.analysis.efforts import BEST, STOCK
from harness.analysis.noise_floors import Floors
from harness.analysis.ranking import Claim, WeighedCase, claims, stand
from harness.analysis.statistics import RESAMPLES, Interval
from harness.analysis.table import CaseKey, CaseSamples, SampleTable
from harness.analysis.withdrawal import SHORT
from harness.records import LUKEWARM, Contender

GRADE_COLUMNS = [
    "criterion", "format", "profile", "effort", "grade", "borderline", "figure", "low", "high", "cells", "reason",
    "below_raw", "standing", "why", "ratio", "ratio_low", "ratio_high",
]  # fmt: skip

CELL_COLUMNS = [
    "criterion", *CaseKey._fields[1:], "format", "profile", "effort", "value", "best_format", "ratio",
    "weight",
]  # fmt: skip


_Logs = list[tuple[int, np.ndarray]]
"""For each cell its weight, and the logarithms of a format's ratio in every draw."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grades:
    """The grades, the cells that they are computed from, and the rules."""

    # Columns `GRADE_COLUMNS`, a row for each criterion and format: the grade (if it is empty, ``reason`` is why), the
    # mean ratio to the best format of each cell (``figure``) with its 95 % interval, whether that crosses a limit, and
    # in how many cells it was faster than the raw ceiling (`CaseSamples.below_raw`). ``standing`` compares it with the
    # best of the criterion (`harness.analysis.ranking.Standing`); ``why`` is the reason if that is inconclusive.
    # ``ratio``, with its interval, is the ratio to the best of the criterion, on which the standing is based.
    table: pd.DataFrame
    cells: pd.DataFrame  # Columns `CELL_COLUMNS`: each value (seconds, or bytes of storage) that went into a figure.
    rules: list[str]  # The grading rules, as sentences.


def grade(
    table: SampleTable,
    best: SampleTable | None = None,
    *,
    exact_only: bool = False,
    cores: int | None = None,
    profile: str = "",
    similar: bool = True,
    control_of: str | None = None,
) -> Grades:
    """Grade every format in every criterion of a suite that the run measured.

    Parameters
    ----------
    table, best : SampleTable
        From `harness.analysis.efforts.at`: each format's stock contender, and its best, compared with other bests.
    exact_only : bool
        Give no grade to times, because the run's reads are withdrawn.
    cores : int or None
        Cores of the machine. Cases with more workers are left out, because workers then wait for each other. None keeps
        all cases.
    profile : str
        The profile; by default the one that formats are judged in (`SampleTable.judged_profile`).
    similar : bool
        As for `harness.analysis.noise_floors.Floors`.
    control_of : str, optional
        The format that the A/A control repeats.
    """
    measured = {case.case.suite for case in table.cases}
    stated = [c for c in criteria() if c.suite in measured]
    graded: list[dict] = []
    behind: list[dict] = []
    claimed: list[Claim] = []
    controls = {case.case: case for case in table.cases}  # the table of bests has no controls
    floors = Floors(table.cases, control_of, similar=similar)
    for effort, of in ((STOCK, table), (BEST, best)):
        if of is not None:
            cases = _counting(of, cores)
            found = _graded(cases, stated, profile or of.judged_profile, exact_only=exact_only)
            for criterion, rows, cells, taken in found:
                if not (effort == STOCK or criterion.exact or not taken or _raced(taken)):
                    continue  # it would repeat the result of stock
                claimed += claims(criterion, rows, taken, controls, control_of, floors)
                for row in (*rows, *cells):
                    row["effort"] = effort if best is not None else ""
                graded += rows
                behind += cells
    stand(claimed)
    return Grades(
        table=pd.DataFrame(graded, columns=GRADE_COLUMNS),
        cells=pd.DataFrame(behind, columns=CELL_COLUMNS),
        rules=rules(stated, closed=not table.all_rounds),
    )


def _raced(taken: Sequence[WeighedCase]) -> bool:
    """Return whether formats at their best were measured in any of these cells."""
    return any(cell.effort in (BEST, "both") for case, _ in taken for cell in case.cells)


def _counting(table: SampleTable, cores: int | None) -> list[CaseSamples]:
    """Return the cases that count for grades: without lukewarm reads, which are neither warm nor known to be cold."""
    cases = [c for c in table.cases if not c.skipped and c.case.cache != LUKEWARM]
    return [c for c in cases if cores is None or c.case.workers <= cores]


def _graded(
    cases: Sequence[CaseSamples], stated: Sequence[GradedCriterion], profile: str, *, exact_only: bool
) -> Iterator[tuple[GradedCriterion, list[dict], list[dict], list[WeighedCase]]]:
    """Yield each criterion with its rows of the grades and of the cells, and with its cases and their weights."""
    every = dict.fromkeys(cell.contender for case in cases for cell in case.cells)
    formats = sorted({c.format for c in every if c.competes and c.profile == profile})
    least = min((case.case.n_res for case in cases if case.case.n_res), default=1)
    for criterion in stated:
        if exact_only and not criterion.exact:
            yield criterion, [_without(criterion, name, profile) | {"reason": SHORT} for name in formats], [], []
            continue
        behind: list[dict] = []
        taken = most_workers([c for c in cases if criterion.takes(c.case)])
        logs, compared = _ratios(criterion, taken, profile, least, behind)
        rows = [_row(criterion, name, profile, taken, logs.get(name, []), compared) for name in formats]
        yield criterion, rows, behind, [(case, _weight(case, least)) for case in taken]


def _weight(case: CaseSamples, least: int) -> int:
    """Return the residues of a cell's trace, or `least` if it has none."""
    return case.case.n_res or least


def most_workers(cases: Sequence[CaseSamples]) -> list[CaseSamples]:
    """Return the cases with the most workers, for each trace, length, access and executor."""
    most: dict[tuple[str, int | None, str, str], int] = {}
    for case in (found.case for found in cases):
        key = (case.trace, case.n_res, case.access, case.executor)
        most[key] = max(most.get(key, 0), case.workers)
    return [c for c in cases if c.case.workers == most[c.case.trace, c.case.n_res, c.case.access, c.case.executor]]


def _sizes(case: CaseSamples) -> dict[Contender, np.ndarray]:
    """Return the bytes of each archive, which are the same in every draw."""
    sizes = {cell.contender: cell.known("size_bytes") for cell in case.cells if cell.status == "ok"}
    return {contender: np.full(1 + RESAMPLES, found[0]) for contender, found in sizes.items() if len(found)}


def _ratios(
    criterion: GradedCriterion, cases: Sequence[CaseSamples], profile: str, least: int, behind: list[dict]
) -> tuple[dict[str, _Logs], int]:
    """Return each format's log ratios to the best, and the number of compared cells; append every value to `behind`.

    `_weight` gives the weight of a cell.
    """
    logs: dict[str, _Logs] = {}
    compared = 0
    for case in cases:
        values = _sizes(case) if criterion.exact else case.medians()
        mine = {c.format: found for c, found in values.items() if c.competes and c.profile == profile}
        if len(mine) < 2:  # a single format is always the best, which shows nothing
            continue
        compared += 1
        best = np.min(list(mine.values()), axis=0)
        first = min(mine, key=lambda name: mine[name][0])
        for name, found in mine.items():
            weight = _weight(case, least)
            logs.setdefault(name, []).append((weight, np.log(found / best)))
            behind.append(
                {
                    "criterion": criterion.name, **case.case._asdict(), "format": name, "profile": profile,
                    "value": found[0], "best_format": first, "ratio": found[0] / best[0],
                    "weight": weight,
                }
            )  # fmt: skip
    return logs, compared


def _without(criterion: GradedCriterion, name: str, profile: str) -> dict:
    """Return the row of a format that has no grade."""
    return dict.fromkeys(GRADE_COLUMNS, np.nan) | {
        "criterion": criterion.name, "format": name, "profile": profile, "grade": "", "cells": 0, "borderline": False,
        "reason": "", "below_raw": 0, "standing": "", "why": "",
    }  # fmt: skip


def _row(
    criterion: GradedCriterion,
    name: str,
    profile: str,
    cases: Sequence[CaseSamples],
    logs: _Logs,
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
    figure = Interval.of_draws(np.exp(np.average([log for _, log in logs], axis=0, weights=[w for w, _ in logs])))
    given, *ends = (word(x, criterion.limits) for x in (figure.median, figure.low, figure.high))
    return row | {
        "grade": given, "borderline": ends != [given, given], "figure": figure.median, "low": figure.low,
        "high": figure.high, "cells": len(logs),
        "below_raw": sum(case.below_raw(cell) for case, cell in mine),
        "reason": f"measured in {len(logs)} of {compared} cells" if len(logs) < compared else "",
    }  # fmt: skip
