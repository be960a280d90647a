"""Scaling of reads over workers: speed against one worker and against the raw ceiling, and latencies."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import CellSamples
from harness.analysis.statistics import Interval, resampled_medians
from harness.analysis.table import CaseSamples, SampleTable, paired
from harness.records import KEY_COLUMNS
from harness.sampling.executor import load_executor

SCALING_VERSION = 2

LATENCIES = ["latency_p50_seconds", "latency_p95_seconds", "latency_p99_seconds"]

COLUMNS = [
    *KEY_COLUMNS, "samples", "median_seconds", *LATENCIES, "cpu_per_second", "one_worker", "speedup", "speedup_low",
    "speedup_high", "efficiency", "raw_fraction", "raw_fraction_low", "raw_fraction_high", "raw_speedup",
    "schema_version",
]  # fmt: skip


def scaling(table: SampleTable) -> pd.DataFrame | None:
    """Summarise samples by several workers: speedups, fractions of the raw ceiling's speed, and latencies.

    Returns
    -------
    DataFrame or None
        Columns `COLUMNS`, one row per cell. Latencies are medians over rounds of the percentiles of each sample.
        ``cpu_per_second`` is processor seconds of all threads per second of reading: how many cores were at work.
        ``speedup`` is the median time of one worker over that of these workers. For its 95 % interval, both are
        resampled separately, because they are measured at different times. ``efficiency`` is the speedup over the
        number of workers. ``raw_fraction`` is the time of the flat file with as many workers over this one, paired by
        round. ``raw_speedup`` is the speedup of the flat file itself.
        None for a run without such samples, such as one from before latencies were recorded.
    """
    if not table.rows[LATENCIES[0]].notna().any():
        return None
    cases = {case.case: case for case in table.cases if load_executor(case.case.executor).parallel}
    rows: list[dict[str, Any]] = []
    for key, case in cases.items():
        alone = cases.get(key._replace(executor=load_executor(key.executor).alone or key.executor, workers=1))
        others = alone.by_contender if alone else {}
        timed = [cell for cell in case.cells if len(cell.seconds) and len(cell.known(LATENCIES[0]))]
        found = [_row(case, cell, others.get(cell.contender)) for cell in timed]
        gained = next((r["speedup"] for r, cell in zip(found, timed, strict=True) if cell.contender.is_ceiling), None)
        rows += [row | {"raw_speedup": gained} for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(case: CaseSamples, cell: CellSamples, one: CellSamples | None) -> dict[str, Any]:
    share = cell.columns["cpu_seconds"][cell.good] / cell.columns["seconds"][cell.good]
    median = float(np.median(cell.read_seconds))
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | case.case._asdict() | cell.contender._asdict() | {
        "run_id": cell.columns["run_id"][cell.rows[0]], "samples": len(cell.seconds), "median_seconds": median,
        "cpu_per_second": float(np.nanmedian(share)) if not np.isnan(share).all() else np.nan,
        **{name: cell.median(name) for name in LATENCIES}, "schema_version": SCALING_VERSION,
    }  # fmt: skip
    if one is not None and len(one.seconds):
        alone = float(np.median(one.read_seconds))
        drawn = _medians(case, one, "one") / _medians(case, cell, "all")
        speed = Interval(1.0, 1.0, 1.0) if one is cell else Interval.of_draws(drawn)
        row |= speed.columns("speedup") | {"one_worker": alone, "efficiency": alone / median / case.case.workers}
    if (against := paired(case.ceiling, cell, "seconds")) is not None:
        row |= against.ratio.columns("raw_fraction")
    return row


def _medians(case: CaseSamples, cell: CellSamples, what: str) -> np.ndarray:
    """Return medians of resampled rounds, seeded by the cell and `what`, so that those of a speedup are independent."""
    named = cell.contender if cell.contender.reader else cell.contender[:2]  # older runs keep their draws
    seed = zlib.crc32(repr((what, tuple(case.case), *named)).encode())
    return resampled_medians(cell.read_seconds[None], seed)[:, 0]
