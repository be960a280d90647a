"""Noise of a run: spread, differences of equal arms, drift, position, load, and comparisons without a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import CellSamples
from harness.analysis.machine_load import busy
from harness.analysis.statistics import MAD_TO_DEVIATION
from harness.analysis.table import CaseSamples, SampleTable, by_round, paired
from harness.analysis.verdict import EQUIVALENT_WITHIN, VERDICT_ROUNDS, Floor, judge

_TREND_ROUNDS = 3  # two points always lie on a line
_MEMORY, _MEMORY_WITHIN = ("memory_bytes", "memory_limit_bytes"), 0.01
_MACHINE = (
    "cpu", "cores", "cores_limit", "memory_bytes", "memory_limit_bytes", "machine", "virtual_machine", "python",
    "interpreter_lock",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DroppedSamples:
    """Samples that do not count, by status and reason."""

    status: str  # One of "failed", "rejected", "skipped".
    reason: str  # As recorded.
    formats: tuple[str, ...]  # The formats with such samples, sorted.
    samples: int  # Number of samples.


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of a run; None where something was not measured or recorded.

    Differences are fractions of the smaller of two times, and changes are fractions of the earlier: 0.05 is 5 %.
    """

    # For each format, ceiling and A/A control included: the spread of times over rounds as a fraction of their median
    # (1.4826 times the median absolute deviation), as the median over cells. Cells of one round have no spread.
    spread: Mapping[str, float]
    aa_cells: int  # Cells in which the A/A control was compared with the arm that it repeats.
    # The A/A control's difference, without its sign: median over cells, and largest.
    aa_median: float | None
    aa_largest: float | None
    aa_judged: int  # A/A comparisons with enough rounds for a verdict.
    # Number of those that the rule for formats would call faster or slower without a floor, which would hide them; None
    # if there are no such comparisons.
    aa_different: int | None
    # Change of the time common to all arms from the first round to the last: median over cells, and the one furthest
    # from zero, both with their signs. The trend is the median of the slopes between every two rounds (Theil 1950, Sen
    # 1968) of log times. Only cells that read or write the same bytes in every round, in at least 3 rounds.
    drift_median: float | None
    drift_largest: float | None
    # How much longer the first arm of a round took than the median of the others, each relative to its own median: the
    # median over all rounds of all cells.
    position_effect: float | None
    # Load average over one minute: at the start of the first session, the largest of any sample, and at the end of the
    # last session.
    load_before: float | None
    load_during: float | None
    load_after: float | None
    virtual_machine: bool | None  # Whether there is a hypervisor; None also if sessions differ in it.
    cores: int | None  # Processor cores; None also if sessions differ in them.
    dropped: tuple[DroppedSamples, ...]  # Failed, rejected and skipped samples, most frequent first.
    # Number of samples that count, in the timed cell with the fewest and in the one with the most.
    rounds_least: int | None
    rounds_most: int | None
    undecided: int  # Comparisons without a verdict, because they have too few rounds.
    undecided_suites: tuple[str, ...]  # The suites of these comparisons, in the order of the summary.
    # Signs that the machine was too busy for reliable figures, see `harness.analysis.machine_load`.
    busy: tuple[str, ...]

    @property
    def state(self) -> str:
        """How quiet the machine was.

        ``busy``: the figures of the run are not reliable. ``noisy``: the rule would call equal contenders different, or
        they differ by more than a tie. ``quiet``: neither. ``not judged``: too few rounds.
        """
        if self.busy:
            return "busy"
        if self.aa_different is None or self.aa_median is None:
            return "not judged"
        return "noisy" if self.aa_different or self.aa_median > EQUIVALENT_WITHIN else "quiet"


def describe_noise(
    table: SampleTable, baseline: str | None, environment: Mapping[str, Any], control_of: str | None = None
) -> Noise:
    """Return the noise of a run, with None for unknown facts. `baseline` and `control_of` as for `summarise`."""
    repeated = [paired(case.control, case.original(control_of or baseline)) for case in table.cases]
    controls = [comparison for comparison in repeated if comparison is not None]
    differences = [abs(float(np.log(control.ratio.median))) for control in controls]
    judged = [control for control in controls if control.rounds >= VERDICT_ROUNDS]
    words = judge(judged, [Floor()] * len(judged), all_rounds=table.all_rounds)
    cells = [cell for case in table.cases for cell in case.cells]
    drifts: list[float] = []
    first: list[float] = []
    for case in table.cases:
        residuals = _residuals(case)
        drifts += _trend(case, residuals)
        first += _first_in_round(case, residuals)
    counts = [len(cell.seconds) for cell in cells if len(cell.seconds)]
    undecided = [case.case.suite for case in table.cases for cell in case.cells if _undecided(case, cell, baseline)]
    load = table.rows["load_average"]
    load_during = None if load.isna().all() else float(load.max())
    sessions = environment.get("sessions") or [{}]
    load_before, cores = sessions[0].get("load_average"), _agreed(sessions, "cores")
    spread, aa_median = _spread(cells), _part(np.median, differences)
    return Noise(
        spread=spread,
        aa_cells=len(controls),
        aa_median=aa_median,
        aa_largest=_part(max, differences),
        aa_judged=len(judged),
        aa_different=sum(word in ("faster", "slower") for word in words) if judged else None,
        drift_median=_part(np.median, drifts),
        drift_largest=_part(partial(max, key=abs), drifts),
        position_effect=_part(np.median, first),
        load_before=load_before,
        load_during=load_during,
        load_after=sessions[-1].get("load_average_at_end"),
        virtual_machine=_agreed(sessions, "virtual_machine"),
        cores=cores,
        dropped=_dropped(table.rows),
        rounds_least=min(counts, default=None),
        rounds_most=max(counts, default=None),
        undecided=len(undecided),
        undecided_suites=tuple(dict.fromkeys(undecided)),
        busy=busy(
            aa_median=aa_median,
            spread=max(spread.values(), default=None),
            load_before=load_before,
            cores=cores,
            aa_largest=_part(max, [abs(float(np.log(control.ratio.median))) for control in judged]),
            load_during=load_during,
            workers=max((case.case.workers for case in table.cases), default=1),
        ),
    )


def mixed_machines(environment: Mapping[str, Any]) -> str:
    """Return a sentence on the differences between sessions of a run that used different machines or software.

    Empty if nothing differs. A fact that a session of ``environment.json`` did not record is no difference.
    """
    sessions = environment.get("sessions") or []
    differing = differences_of(sessions)
    if not differing:
        return ""
    return f"The {len(sessions)} sessions of this run were not measured alike; these differ: {differing}."


def differences_of(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the facts of machine and software that differ between sessions, with each value; empty if none differ.

    Machines of one model differ a little in the memory that firmware leaves: values within 1 % count as equal.
    """
    seen = {name: [s[name] for s in sessions if s.get(name) is not None] for name in _MACHINE}
    seen |= {name: [] for name in _MEMORY if seen[name] and min(seen[name]) >= (1 - _MEMORY_WITHIN) * max(seen[name])}
    libraries = [s["libraries"] for s in sessions if s.get("libraries")]
    for library in dict.fromkeys(name for versions in libraries for name in versions):
        seen[library] = ["not installed" if v[library] is None else v[library] for v in libraries if library in v]
    different = {name: list(dict.fromkeys(map(str, values))) for name, values in seen.items()}
    return ", ".join(f"{name} ({', then '.join(v)})" for name, v in different.items() if len(v) > 1)


def _part(estimate: Callable[[Sequence[float]], Any], log_ratios: Sequence[float]) -> float | None:
    """Return an estimate over log ratios, as a fraction: 0.05 for 5 %; None without ratios."""
    return float(np.expm1(estimate(log_ratios))) if log_ratios else None


def _agreed(sessions: Sequence[Mapping[str, Any]], name: str) -> Any:
    values = {session.get(name) for session in sessions}
    return values.pop() if len(values) == 1 else None


def _undecided(case: CaseSamples, cell: CellSamples, baseline: str | None) -> bool:
    """Return whether a cell is compared with the baseline in too few rounds for a verdict."""
    against = case.baseline(baseline, cell)
    compared = cell.contender.competes and cell is not against and not cell.decided
    comparison = paired(cell, against) if compared else None
    return comparison is not None and comparison.rounds < VERDICT_ROUNDS


def _spread(cells: Sequence[CellSamples]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for cell in cells:
        if len(cell.seconds) > 1:
            median = np.median(cell.seconds)
            deviation = MAD_TO_DEVIATION * np.median(np.abs(cell.seconds - median))
            found.setdefault(cell.contender.format, []).append(float(deviation / median))
    return {name: float(np.median(values)) for name, values in found.items()}


def _residuals(case: CaseSamples) -> np.ndarray:
    """Return log times minus each cell's median, shape (cells, rounds); NaN where a cell has no time."""
    logs = np.log(by_round(case.cells))
    timed = ~np.isnan(logs).all(axis=1)
    logs[timed] -= np.nanmedian(logs[timed], axis=1, keepdims=True)
    return logs


def _trend(case: CaseSamples, residuals: np.ndarray) -> list[float]:
    """Return the log change from the first to the last round of a case, if all its rounds request the same bytes."""
    count = residuals.shape[1]
    asked = np.concatenate([c.columns["bytes_requested"][c.good] for c in case.cells])
    if count < _TREND_ROUNDS or len(set(asked)) != 1:
        return []
    common = np.nanmedian(residuals, axis=0)  # every round has a time of some arm
    earlier, later = np.triu_indices(count, 1)
    slopes = (common[later] - common[earlier]) / (later - earlier)
    return [float(np.median(slopes) * (count - 1))]


def _first_in_round(case: CaseSamples, residuals: np.ndarray) -> list[float]:
    """Return, for each round, the log ratio of the cell that came first to the median of the others."""
    first = by_round(case.cells, "position") == 0
    found = []
    for index, column in np.argwhere(first) if first.shape[1] > 1 else []:
        rest = np.delete(residuals[:, column], index)
        if not np.isnan(rest).all():
            found.append(float(residuals[index, column] - np.nanmedian(rest)))
    return found


def _dropped(samples: pd.DataFrame) -> tuple[DroppedSamples, ...]:
    bad = samples[samples["status"] != "ok"].groupby(["status", "reason"], sort=False, dropna=False)["format"]
    found = [
        DroppedSamples(status=str(status), reason=str(reason), formats=tuple(sorted(set(names))), samples=len(names))
        for (status, reason), names in bad
    ]
    return tuple(sorted(found, key=lambda group: -group.samples))
