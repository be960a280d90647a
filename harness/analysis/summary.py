"""From samples to cells: one row a cell, with intervals, ratios to the ceiling and to the baseline, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.arms import ArmSamples, arms_by_place, paired
from harness.analysis.statistics import Comparison, median_interval
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge, noise_floor, smallest_detectable_effect
from harness.errors import UsageError, unknown_name
from harness.records import CONTROL, KEY_COLUMNS, RAW

SUMMARY_SCHEMA_VERSION = 2  # since 1: bytes_requested, read_amplification; what the smallest detectable effect means

COLUMNS = [
    *KEY_COLUMNS, "samples", "median_seconds", "ci_low", "ci_high", "median_open_seconds", "bytes_per_second",
    "percent_of_raw", "ratio", "ratio_low", "ratio_high", "baseline", "verdict", "smallest_detectable_effect",
    "bytes_requested", "median_bytes_read", "read_amplification", "median_requests", "files_opened", "peak_rss_bytes",
    "size_bytes", "files", "ratio_to_float32", "ratio_to_native", "status", "reason", "schema_version",
]  # fmt: skip

FEW_ROUNDS = f"a verdict needs {VERDICT_ROUNDS}"
"""How the reason of a comparison ends that has too few rounds."""

_NUMBERS = [
    "open_seconds", "bytes_requested", "bytes_read", "requests", "files_opened", "peak_rss_bytes", "size_bytes",
    "files", "native_bytes",
]  # fmt: skip


@dataclass
class _Cell:
    """A summary row that waits for the verdicts of the whole run."""

    row: dict[str, Any]
    floor: Floor
    claim: bool
    """Whether it says something about a format: the ceiling and the twin do not, and so have no verdict."""
    comparison: Comparison | None = None


def summarise(samples: pd.DataFrame, baseline: str | None, twin_of: str | None = None) -> pd.DataFrame:
    """Summarise a run.

    Parameters
    ----------
    samples : DataFrame
        From `harness.row_files.read_samples`.
    baseline : str or None
        The format that ratios refer to, within the same profile where it was measured in it. None for no ratios.
    twin_of : str, optional
        The format whose twin the A/A arm is: the run's own baseline. By default, `baseline`. The twin is always
        compared with it, and the noise floor comes from there, whatever the other ratios refer to.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a cell, in the order in which cells were first measured. ``read_amplification`` is
        bytes that the process read for each byte asked for; what a mapped file reads does not show in it.

    Raises
    ------
    UsageError
        When the baseline was not measured.
    """
    _check_measured(samples, baseline)
    columns = {name: samples[name].to_numpy(float) for name in _NUMBERS} | {
        name: samples[name].to_numpy(object) for name in [*KEY_COLUMNS, "status", "reason"]
    }
    cells: list[_Cell] = []
    for arms in arms_by_place(samples):
        cells += _place(arms, columns, baseline, baseline if twin_of is None else twin_of)
    claims = [(c, c.comparison) for c in cells if c.claim and c.comparison is not None]
    verdicts = judge([comparison for _, comparison in claims], [cell.floor for cell, _ in claims])
    for (cell, _), verdict in zip(claims, verdicts, strict=True):
        cell.row["verdict"] = verdict
    return pd.DataFrame([cell.row for cell in cells], columns=COLUMNS)


def _check_measured(samples: pd.DataFrame, baseline: str | None) -> None:
    measured = sorted(set(samples["format"]) - {CONTROL})
    if baseline is None or baseline in measured or not measured:
        return
    near = unknown_name("measured format", baseline, measured)
    raise UsageError(f"{near} Measured were: {', '.join(measured)}." if "did you mean" in str(near) else str(near))


def _place(
    arms: Sequence[ArmSamples], columns: Mapping[str, np.ndarray], baseline: str | None, twin_of: str | None
) -> list[_Cell]:
    """Summarise the arms that were measured in the same rounds of one access."""
    raw = next((arm for arm in arms if arm.name == RAW and len(arm.seconds)), None)
    twin = next((arm for arm in arms if arm.name == CONTROL), None)
    original = None if twin is None else _baseline(arms, twin_of, twin.profile, strict=True)
    repeated = paired(twin, original)
    cells = []
    for arm in arms:
        cell = _Cell(_row(arm, columns), noise_floor(repeated), claim=arm.name not in (RAW, CONTROL))
        against = original if arm is twin else _baseline(arms, baseline, arm.profile)
        if against is arm:
            against = None
        if len(arm.seconds):
            _timed(cell, arm, columns, raw)
            cell.comparison = paired(arm, against)
            _compared(cell, against, repeated)
        elif cell.row["size_bytes"] is not None and against is not None:
            sizes = _known(columns["size_bytes"], against.rows)
            if len(sizes):
                cell.row.update(ratio=cell.row["size_bytes"] / float(sizes[0]), baseline=against.label)
        cells.append(cell)
    return cells


def _baseline(arms: Sequence[ArmSamples], name: str | None, profile: str, *, strict: bool = False) -> ArmSamples | None:
    """Choose the arm to compare with: in the same profile where it was measured in it, else, unless strict, any."""
    candidates = [arm for arm in arms if arm.name == name]
    same = next((arm for arm in candidates if arm.profile == profile), None)
    return same if same is not None or strict else next(iter(candidates), None)


def _row(arm: ArmSamples, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fill in what does not depend on time; a figure that does not apply stays empty."""
    first = arm.rows[0]
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: columns[key][first] for key in KEY_COLUMNS}
    states = columns["status"][arm.rows]
    failed, other = arm.rows[states == "failed"], arm.rows[states != "ok"]
    told = failed if len(failed) else other
    row.update(
        n_res=None if pd.isna(row["n_res"]) else int(row["n_res"]),
        samples=len(arm.good),
        status=arm.status,
        reason=str(columns["reason"][told[0]]) if len(told) else "",
        schema_version=SUMMARY_SCHEMA_VERSION,
    )
    if arm.status != "ok":
        return row
    requested = columns["bytes_requested"]
    row["bytes_requested"] = _median(requested, arm.good)
    sizes = _known(columns["size_bytes"], arm.good)
    # Another layer is written in each round, so only a size that is the same in all of them is the cell's.
    if len(sizes) and len(set(sizes)) == 1 and len(set(_known(requested, arm.good))) == 1:
        size, one = float(sizes[0]), arm.good[0]
        row.update(
            size_bytes=int(size),
            files=int(columns["files"][one]),
            ratio_to_float32=requested[one] / size,
            ratio_to_native=columns["native_bytes"][one] / size,
        )
    return row


def _timed(cell: _Cell, arm: ArmSamples, columns: Mapping[str, np.ndarray], raw: ArmSamples | None) -> None:
    interval = median_interval(arm.seconds)
    requested, read = cell.row["bytes_requested"], _median(columns["bytes_read"], arm.good)
    peaks = _known(columns["peak_rss_bytes"], arm.good)
    cell.row.update(
        median_seconds=interval.median,
        ci_low=interval.low,
        ci_high=interval.high,
        median_open_seconds=_median(columns["open_seconds"], arm.good),
        bytes_per_second=requested / interval.median if requested is not None and interval.median else None,
        percent_of_raw=100 * float(np.median(raw.seconds)) / interval.median if raw and interval.median else None,
        median_bytes_read=read,
        read_amplification=read / requested if read is not None and requested else None,
        median_requests=_median(columns["requests"], arm.good),
        files_opened=_median(columns["files_opened"], arm.good),
        peak_rss_bytes=int(peaks.max()) if len(peaks) else None,
    )


def _known(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    chosen = values[rows]
    return chosen[~np.isnan(chosen)]


def _median(values: np.ndarray, rows: np.ndarray) -> float | None:
    known = _known(values, rows)
    return float(np.median(known)) if len(known) else None


def _compared(cell: _Cell, against: ArmSamples | None, twin: Comparison | None) -> None:
    if twin is not None:
        # The baseline itself is compared with nothing: its cell shows what two copies of it can tell apart.
        cell.row["smallest_detectable_effect"] = smallest_detectable_effect(cell.comparison or twin, twin)
    if cell.comparison is None or against is None:
        return
    ratio, rounds = cell.comparison.ratio, len(cell.comparison.log_ratios)
    cell.row.update(ratio=ratio.median, ratio_low=ratio.low, ratio_high=ratio.high, baseline=against.label)
    if rounds < VERDICT_ROUNDS:
        cell.row["reason"] = f"{rounds} round{'s' if rounds != 1 else ''}: {FEW_ROUNDS}"
