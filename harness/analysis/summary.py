"""From samples to cells: one row a cell, with intervals, ratios to the ceiling and to the baseline, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.statistics import Comparison, median_interval
from harness.analysis.table import CaseSamples, CellSamples, SampleTable, few, paired
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge, noise_floor, smallest_detectable_effect
from harness.errors import UsageError, unknown_name
from harness.records import CONTROL, KEY_COLUMNS

SUMMARY_SCHEMA_VERSION = 2  # since 1: bytes_requested, read_amplification; what the smallest detectable effect means

COLUMNS = [
    *KEY_COLUMNS, "samples", "median_seconds", "ci_low", "ci_high", "median_open_seconds", "bytes_per_second",
    "percent_of_raw", "ratio", "ratio_low", "ratio_high", "baseline", "verdict", "smallest_detectable_effect",
    "bytes_requested", "median_bytes_read", "read_amplification", "median_requests", "files_opened", "peak_rss_bytes",
    "size_bytes", "files", "ratio_to_float32", "ratio_to_native", "status", "reason", "schema_version",
]  # fmt: skip


@dataclass
class _Waiting:
    """A summary row that waits for the verdicts of the whole run; the ceiling and the control get none."""

    row: dict[str, Any]
    floor: Floor
    comparison: Comparison | None


def summarise(table: SampleTable, baseline: str | None, control_of: str | None = None) -> pd.DataFrame:
    """Summarise a run.

    Parameters
    ----------
    table : SampleTable
        Its samples.
    baseline : str or None
        The format that ratios refer to, within the same profile where it was measured in it. None for no ratios.
    control_of : str, optional
        The format that the A/A control repeats: the run's own baseline. By default, `baseline`. The control is always
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
    _check_measured(table, baseline)
    found = [one for case in table.cases for one in _case(case, baseline, control_of or baseline)]
    claims = [(one, one.comparison) for one in found if one.comparison is not None]
    verdicts = judge([comparison for _, comparison in claims], [one.floor for one, _ in claims])
    for (one, _), verdict in zip(claims, verdicts, strict=True):
        one.row["verdict"] = verdict
    return pd.DataFrame([one.row for one in found], columns=COLUMNS)


def _check_measured(table: SampleTable, baseline: str | None) -> None:
    measured = sorted({name for name, _ in table.contenders()} - {CONTROL})
    if baseline is None or baseline in measured or not measured:
        return
    near = unknown_name("measured format", baseline, measured)
    raise UsageError(f"{near} Measured were: {', '.join(measured)}." if "did you mean" in str(near) else str(near))


def _case(case: CaseSamples, baseline: str | None, control_of: str | None) -> list[_Waiting]:
    """Summarise the contenders that were measured in the same rounds of one access."""
    original = case.original(control_of)
    repeated = paired(case.control, original)
    found = []
    for cell in case.cells:
        against = original if cell is case.control else case.baseline(baseline, cell.contender.profile)
        against = None if against is cell else against
        comparison = paired(cell, against)
        row = _row(case, cell)
        if len(cell.seconds):
            row |= _timed(cell, row["bytes_requested"], case.ceiling) | _compared(comparison, against, repeated)
        elif row["size_bytes"] is not None and against is not None and len(sizes := against.known("size_bytes")):
            row.update(ratio=row["size_bytes"] / float(sizes[0]), baseline=against.contender.label)
        found.append(_Waiting(row, noise_floor(repeated), comparison if cell.contender.competes else None))
    return found


def _row(case: CaseSamples, cell: CellSamples) -> dict[str, Any]:
    """Fill in what does not depend on time; a figure that does not apply stays empty."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | case.case._asdict() | cell.contender._asdict()
    row |= {
        "run_id": cell.columns["run_id"][cell.rows[0]], "samples": len(cell.good), "status": cell.status,
        "reason": cell.reason, "schema_version": SUMMARY_SCHEMA_VERSION,
    }  # fmt: skip
    if cell.status != "ok":
        return row
    row["bytes_requested"] = _median(cell, "bytes_requested")
    sizes, requested = cell.known("size_bytes"), cell.known("bytes_requested")
    # Another layer is written in each round, so only a size that is the same in all of them is the cell's.
    if len(set(sizes)) == 1 == len(set(requested)):
        size, one = float(sizes[0]), cell.good[0]
        row |= {
            "size_bytes": int(size), "files": int(cell.columns["files"][one]), "ratio_to_float32": requested[0] / size,
            "ratio_to_native": cell.columns["native_bytes"][one] / size,
        }  # fmt: skip
    return row


def _timed(cell: CellSamples, requested: float | None, ceiling: CellSamples | None) -> dict[str, Any]:
    interval = median_interval(cell.seconds)
    read, peaks = _median(cell, "bytes_read"), cell.known("peak_rss_bytes")
    return {
        "median_seconds": interval.median,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "median_open_seconds": _median(cell, "open_seconds"),
        "bytes_per_second": requested / interval.median if requested is not None else None,
        "percent_of_raw": 100 * float(np.median(ceiling.seconds)) / interval.median if ceiling else None,
        "median_bytes_read": read,
        "read_amplification": read / requested if read is not None and requested else None,
        "median_requests": _median(cell, "requests"),
        "files_opened": _median(cell, "files_opened"),
        "peak_rss_bytes": int(peaks.max()) if len(peaks) else None,
    }


def _median(cell: CellSamples, column: str) -> float | None:
    known = cell.known(column)
    return float(np.median(known)) if len(known) else None


def _compared(
    comparison: Comparison | None, against: CellSamples | None, repeated: Comparison | None
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if repeated is not None:
        # The baseline itself is compared with nothing: its cell shows what two copies of it can tell apart.
        row["smallest_detectable_effect"] = smallest_detectable_effect(comparison or repeated, repeated)
    if comparison is None or against is None:
        return row
    ratio = comparison.ratio
    row |= {"ratio": ratio.median, "ratio_low": ratio.low, "ratio_high": ratio.high}
    row["baseline"] = against.contender.label
    if comparison.rounds < VERDICT_ROUNDS:
        row["reason"] = few(comparison.rounds)
    return row
