"""Summary of samples: one row per cell, with intervals, ratios to the ceiling and to the baseline, and a verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import CellSamples, few
from harness.analysis.noise_floors import Floors
from harness.analysis.statistics import Comparison, median_interval
from harness.analysis.table import CaseSamples, SampleTable, direction, paired
from harness.analysis.verdict import VERDICT_ROUNDS, doubt, judge, smallest_detectable_effect
from harness.errors import UsageError, unknown_name
from harness.records import KEY_COLUMNS

SUMMARY_SCHEMA_VERSION = 5
"""New in 5: decoded_cache."""

BELOW_RAW = "below raw"
"""Value of the column ``flag``: a warm read that took less time than the raw ceiling of the same bytes."""

COLUMNS = [
    *KEY_COLUMNS, "effort", "group", "samples", "median_seconds", "ci_low", "ci_high", "median_read_seconds",
    "median_open_seconds", "bytes_per_second", "percent_of_raw", "ratio", "ratio_low", "ratio_high", "baseline",
    "verdict", "why", "decided_after", "smallest_detectable_effect", "flag", "decoded_cache", "bytes_requested",
    "median_bytes_read", "read_amplification", "median_requests", "files_opened", "peak_rss_bytes", "size_bytes",
    "files", "ratio_to_float32", "ratio_to_native", "status", "reason", "schema_version",
]  # fmt: skip


def summarise(
    table: SampleTable, baseline: str | None, control_of: str | None = None, *, similar: bool = True
) -> pd.DataFrame:
    """Summarise a run: one row per cell, in the order in which cells were first measured.

    Parameters
    ----------
    table : SampleTable
        The samples of the run.
    baseline : str or None
        The format that ratios refer to, in the same profile if it was measured there. None for no ratios.
    control_of : str, optional
        The format that the A/A control repeats: the run's own baseline. By default, `baseline`. The control is always
        compared with it, which gives the noise floor, whatever the other ratios refer to.
    similar : bool
        As for `harness.analysis.noise_floors.Floors`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. ``median_seconds`` is from a closed archive, ``median_read_seconds`` from an open one.
        ``group`` is that of `CellSamples`.
        ``why`` is the reason of an inconclusive verdict, see `harness.analysis.verdict.doubt`; ``decided_after`` is the
        number of rounds after which a contender left. ``flag`` is `BELOW_RAW` or empty. ``decoded_cache`` is empty, for
        `harness.analysis.decoded_cache.with_decoded` to fill. ``read_amplification`` is bytes that the process read for
        each requested byte; it does not include reads of a mapped file.

    Raises
    ------
    UsageError
        If the baseline was not measured.
    """
    measured = sorted({contender.format for contender in table.contenders() if not contender.is_control})
    if baseline is not None and measured and baseline not in measured:
        near = unknown_name("measured format", baseline, measured)
        raise UsageError(f"{near} Measured were: {', '.join(measured)}." if "did you mean" in str(near) else str(near))
    rows, claims = [], []
    floors = Floors(table.cases, control_of or baseline, similar=similar)
    for case in table.cases:
        original = case.original(control_of or baseline)
        repeated = floors.repeated(case)
        for cell in case.cells:
            against = original if cell is case.control else case.baseline(baseline, cell)
            against = None if against is cell else against
            comparison = paired(cell, against)
            rows.append(_row(case, cell, against, comparison, repeated, table.all_rounds))
            if comparison is None or against is None or not cell.contender.competes:
                continue  # the ceiling and the control get no verdict
            way = direction(cell, against, case.control, original) if cell.decided or against.decided else 0
            if way:
                reason = f"decided after {comparison.rounds} rounds"
                word = "slower" if way > 0 else "faster"
                rows[-1] |= {"verdict": word, "decided_after": comparison.rounds, "reason": reason}
            else:
                claims.append((rows[-1], comparison, floors.of(case, cell, against)))
    verdicts = judge([c for _, c, _ in claims], [floor for *_, floor in claims], all_rounds=table.all_rounds)
    for (row, comparison, floor), verdict in zip(claims, verdicts, strict=True):
        row["verdict"] = verdict
        row["why"] = doubt(comparison, floor) if verdict == "inconclusive" else None
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    case: CaseSamples,
    cell: CellSamples,
    against: CellSamples | None,
    comparison: Comparison | None,
    repeated: Comparison | None,
    all_rounds: bool,
) -> dict[str, Any]:
    """Return a row; a figure that does not apply stays empty."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | case.case._asdict() | cell.contender._asdict()
    row |= {
        "run_id": cell.columns["run_id"][cell.rows[0]], "samples": len(cell.good), "status": cell.status,
        "reason": cell.reason, "effort": cell.effort, "group": cell.group, "schema_version": SUMMARY_SCHEMA_VERSION,
    }  # fmt: skip
    if cell.status != "ok":
        return row
    requested = row["bytes_requested"] = cell.median("bytes_requested")
    sizes, asked = cell.known("size_bytes"), cell.known("bytes_requested")
    # Each round writes another layer, so only a size that is equal in all of them is the cell's.
    if len(set(sizes)) == 1 == len(set(asked)):
        size, one = float(sizes[0]), cell.good[0]
        row |= {
            "size_bytes": int(size), "files": int(cell.columns["files"][one]), "ratio_to_float32": asked[0] / size,
            "ratio_to_native": cell.columns["native_bytes"][one] / size,
        }  # fmt: skip
    if not len(cell.seconds):
        if row["size_bytes"] is not None and against is not None and len(theirs := against.known("size_bytes")):
            row |= {"ratio": row["size_bytes"] / float(theirs[0]), "baseline": against.contender.label}
        return row
    interval, read, peaks = median_interval(cell.seconds), cell.median("bytes_read"), cell.known("peak_rss_bytes")
    ceiling = case.ceiling
    row |= {
        "median_seconds": interval.median, "ci_low": interval.low, "ci_high": interval.high,
        "median_read_seconds": float(np.median(cell.read_seconds)) if case.case.cache else None,
        "median_open_seconds": cell.median("open_seconds"), "flag": BELOW_RAW if case.below_raw(cell) else None,
        "bytes_per_second": requested / interval.median if requested is not None else None,
        "percent_of_raw": 100 * float(np.median(ceiling.seconds)) / interval.median if ceiling else None,
        "median_bytes_read": read,
        "read_amplification": read / requested if read is not None and requested else None,
        "median_requests": cell.median("requests"),
        "files_opened": cell.median("files_opened"),
        "peak_rss_bytes": int(peaks.max()) if len(peaks) else None,
    }  # fmt: skip
    if repeated is not None:
        # The baseline itself has no comparison: its cell shows the difference that two copies of it would reveal.
        row["smallest_detectable_effect"] = smallest_detectable_effect(
            comparison or repeated, repeated, all_rounds=all_rounds
        )
    if comparison is not None and against is not None:
        row |= comparison.ratio.columns("ratio") | {"baseline": against.contender.label}
        if comparison.rounds < VERDICT_ROUNDS:
            row["reason"] = few(comparison.rounds)
    return row


def too_few(cells: pd.DataFrame) -> pd.Series:
    """Return which cells have too few rounds for a verdict; cells that few rounds decided have enough."""
    return (cells["samples"] < VERDICT_ROUNDS) & cells["decided_after"].isna()


def before(summary: pd.DataFrame, version: int) -> pd.DataFrame:
    """Return a summary as reports of a version published it: up to version 9, without ``decoded_cache``."""
    if version > 9 or summary.empty:
        return summary
    return summary.drop(columns="decoded_cache").assign(schema_version=4)
