"""How noisy a run was: spread, equal arms, drift, position, load, and what could therefore not be said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.table import CaseSamples, CellSamples, SampleTable, by_round, paired
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge

MAD_TO_DEVIATION = 1.4826
"""From median absolute deviation to standard deviation, for a normal distribution (Rousseeuw & Croux 1993)."""

_TREND_ROUNDS = 3  # two points always lie on a line
_MACHINE = (
    "cpu",
    "cores",
    "cores_limit",
    "memory_bytes",
    "memory_limit_bytes",
    "machine",
    "virtual_machine",
    "python",
    "interpreter_lock",
)


@dataclass(frozen=True, kw_only=True)
class DroppedSamples:
    """Samples that do not count, by what became of them and why.

    Attributes
    ----------
    status : {"failed", "rejected", "skipped"}
        What became of them.
    reason : str
        As recorded.
    formats : tuple of str
        Where it happened, sorted.
    samples : int
        How many.
    """

    status: str
    reason: str
    formats: tuple[str, ...]
    samples: int


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of a run; None where something was not measured or recorded.

    Differences are parts of the smaller of two times and changes are parts of the earlier: 0.05 is 5 %.

    Attributes
    ----------
    spread : mapping of str to float
        For each format, ceiling and A/A control included: the spread of times over rounds as a part of their median
        (1.4826 times the median absolute deviation), the median over cells. Cells of one round have none.
    aa_cells : int
        Cells in which the A/A control was compared with the arm that it repeats.
    aa_median, aa_largest : float or None
        The A/A control's difference, without its sign: median over cells, and largest.
    aa_judged : int
        A/A comparisons with enough rounds for a verdict.
    aa_different : int or None
        How many of those would be called faster or slower by the rule for formats, without a floor, which would hide
        them; None when there is none.
    drift_median, drift_largest : float or None
        Change of the time common to all arms from the first round to the last: median over cells, and the one furthest
        from none, both with their signs. The trend is the median of the slopes between every two rounds (Theil 1950,
        Sen 1968) of log times. Only cells that read or write the same bytes in every round, in at least 3 rounds.
    position_effect : float or None
        How much longer the arm that came first in a round took, than the median of those that followed in it, each
        relative to its own median: the median over all rounds of all cells.
    load_before, load_during, load_after : float or None
        Load average of the last minute: when the first session began, the largest of any sample, and when the last
        session ended.
    virtual_machine : bool or None
        Whether a hypervisor is there; None also when sessions differ in it.
    cores : int or None
        Processor cores; None also when sessions differ in them.
    dropped : tuple of DroppedSamples
        Failed, rejected and skipped samples, most frequent first.
    rounds_least, rounds_most : int or None
        Samples that count, in the timed cell with fewest and the one with most.
    undecided : int
        Comparisons with too few rounds for a verdict, none of which can therefore be given.
    undecided_suites : tuple of str
        The suites they belong to, in the order of the summary.
    """

    spread: Mapping[str, float]
    aa_cells: int
    aa_median: float | None
    aa_largest: float | None
    aa_judged: int
    aa_different: int | None
    drift_median: float | None
    drift_largest: float | None
    position_effect: float | None
    load_before: float | None
    load_during: float | None
    load_after: float | None
    virtual_machine: bool | None
    cores: int | None
    dropped: tuple[DroppedSamples, ...]
    rounds_least: int | None
    rounds_most: int | None
    undecided: int
    undecided_suites: tuple[str, ...]

    @property
    def below_verdict(self) -> bool:
        """Whether some timed cell has too few rounds for a verdict."""
        return self.rounds_least is not None and self.rounds_least < VERDICT_ROUNDS


def describe_noise(
    table: SampleTable, baseline: str | None, environment: Mapping[str, Any], control_of: str | None = None
) -> Noise:
    """Describe how noisy a run was.

    Parameters
    ----------
    table : SampleTable
        Its samples.
    baseline, control_of : str or None
        As for `harness.analysis.summary.summarise`.
    environment : mapping
        From ``environment.json``; may be empty.

    Returns
    -------
    Noise
        With None for what is not known.
    """
    repeated = [paired(case.control, case.original(control_of or baseline)) for case in table.cases]
    controls = [comparison for comparison in repeated if comparison is not None]
    differences = [abs(float(np.log(control.ratio.median))) for control in controls]
    judged = [control for control in controls if control.rounds >= VERDICT_ROUNDS]
    words = judge(judged, [Floor()] * len(judged))
    residuals = [_residuals(case) for case in table.cases]
    alike = [
        len(set(np.concatenate([c.columns["bytes_requested"][c.good] for c in case.cells]))) == 1
        for case in table.cases
    ]
    trends = [_trend(found) for found, same in zip(residuals, alike, strict=True) if same]
    drifts = [trend for trend in trends if trend is not None]
    first = [
        ratio for case, found in zip(table.cases, residuals, strict=True) for ratio in _first_in_round(case, found)
    ]
    counts = [len(cell.seconds) for case in table.cases for cell in case.cells if len(cell.seconds)]
    undecided = [case.case.suite for case in table.cases for _ in _undecided(case, baseline)]
    load = table.rows["load_average"]
    sessions = environment.get("sessions") or [{}]
    return Noise(
        spread=_spread(table),
        aa_cells=len(controls),
        aa_median=_part(np.median(differences)) if differences else None,
        aa_largest=_part(max(differences)) if differences else None,
        aa_judged=len(judged),
        aa_different=sum(word in ("faster", "slower") for word in words) if judged else None,
        drift_median=_part(np.median(drifts)) if drifts else None,
        drift_largest=_part(max(drifts, key=abs)) if drifts else None,
        position_effect=_part(np.median(first)) if first else None,
        load_before=sessions[0].get("load_average"),
        load_during=None if load.isna().all() else float(load.max()),
        load_after=sessions[-1].get("load_average_at_end"),
        virtual_machine=_agreed(sessions, "virtual_machine"),
        cores=_agreed(sessions, "cores"),
        dropped=_dropped(table.rows),
        rounds_least=min(counts, default=None),
        rounds_most=max(counts, default=None),
        undecided=len(undecided),
        undecided_suites=tuple(dict.fromkeys(undecided)),
    )


def mixed_machines(environment: Mapping[str, Any]) -> str:
    """Say what differs between the sessions of a run that were not all measured on one machine with one software.

    Parameters
    ----------
    environment : mapping
        From ``environment.json``.

    Returns
    -------
    str
        A sentence; empty when nothing differs, or only what was not recorded everywhere.
    """
    sessions = environment.get("sessions") or []
    seen = {name: [s[name] for s in sessions if s.get(name) is not None] for name in _MACHINE}
    libraries = [s["libraries"] for s in sessions if s.get("libraries")]
    for library in dict.fromkeys(name for versions in libraries for name in versions):
        seen[library] = [versions[library] for versions in libraries if library in versions]
    differing = []
    for name, values in seen.items():
        different = list(dict.fromkeys("not installed" if value is None else str(value) for value in values))
        if len(different) > 1:
            differing.append(f"{name} ({', then '.join(different)})")
    if not differing:
        return ""
    return f"The {len(sessions)} sessions of this run were not measured alike; these differ: {', '.join(differing)}."


def _part(log_ratio: float) -> float:
    return float(np.expm1(log_ratio))


def _agreed(sessions: Sequence[Mapping[str, Any]], name: str) -> Any:
    values = {session.get(name) for session in sessions}
    return values.pop() if len(values) == 1 else None


def _undecided(case: CaseSamples, baseline: str | None) -> Iterator[CellSamples]:
    """Yield the cells whose comparison with the baseline has too few rounds for a verdict."""
    for cell in case.cells:
        against = case.baseline(baseline, cell.contender.profile)
        comparison = paired(cell, against) if cell.contender.competes and cell is not against else None
        if comparison is not None and comparison.rounds < VERDICT_ROUNDS:
            yield cell


def _spread(table: SampleTable) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for cell in (cell for case in table.cases for cell in case.cells if len(cell.seconds) > 1):
        median = np.median(cell.seconds)
        deviation = MAD_TO_DEVIATION * np.median(np.abs(cell.seconds - median))
        found.setdefault(cell.contender.format, []).append(float(deviation / median))
    return {name: float(np.median(values)) for name, values in found.items()}


def _residuals(case: CaseSamples) -> np.ndarray:
    """Return log times less each cell's median, shape (cells, rounds), NaN where a cell has no time."""
    logs = np.log(by_round(case.cells))
    timed = ~np.isnan(logs).all(axis=1)
    logs[timed] -= np.nanmedian(logs[timed], axis=1, keepdims=True)
    return logs


def _trend(residuals: np.ndarray) -> float | None:
    """Return the change from first to last round, as a logarithm."""
    count = residuals.shape[1]
    if count < _TREND_ROUNDS:
        return None
    common = np.nanmedian(residuals, axis=0)  # every round has a time of some arm
    earlier, later = np.triu_indices(count, 1)
    slopes = (common[later] - common[earlier]) / (later - earlier)
    return float(np.median(slopes) * (count - 1))


def _first_in_round(case: CaseSamples, residuals: np.ndarray) -> list[float]:
    """Return, for each round, the log ratio of the cell that came first to the median of the others."""
    first = by_round(case.cells, "position") == 0
    found = []
    for index, column in np.argwhere(first) if first.shape[1] > 1 else []:
        rest = np.delete(residuals[:, column], index)
        rest = rest[~np.isnan(rest)]
        if len(rest):
            found.append(float(residuals[index, column] - np.median(rest)))
    return found


def _dropped(samples: pd.DataFrame) -> tuple[DroppedSamples, ...]:
    bad = samples[samples["status"] != "ok"]
    groups = [
        DroppedSamples(
            status=str(status), reason=str(reason), formats=tuple(sorted(set(rows["format"]))), samples=len(rows)
        )
        for (status, reason), rows in bad.groupby(["status", "reason"], sort=False, dropna=False)
    ]
    return tuple(sorted(groups, key=lambda group: -group.samples))
