"""How reads scale over workers: speed against one and against the raw ceiling, and latencies."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.arms import ArmSamples, arms_by_place, paired
from harness.analysis.rounds import RESAMPLES, bounds
from harness.records import KEY_COLUMNS, RAW
from harness.sampling.executor import load_executor

SCALING_VERSION = 2  # without looks at what threads wait for, which version 1 has

LATENCIES = ["latency_p50_seconds", "latency_p95_seconds", "latency_p99_seconds"]

COLUMNS = [
    *KEY_COLUMNS, "samples", "median_seconds", *LATENCIES, "cpu_per_second", "one_worker", "speedup", "speedup_low",
    "speedup_high", "efficiency", "raw_fraction", "raw_fraction_low", "raw_fraction_high", "raw_speedup",
    "schema_version",
]  # fmt: skip

Place = tuple[Any, ...]


def scaling(samples: pd.DataFrame) -> pd.DataFrame | None:
    """Summarise what samples by several workers say besides their times.

    Parameters
    ----------
    samples : DataFrame
        From `harness.row_files.read_samples`.

    Returns
    -------
    DataFrame or None
        Columns `COLUMNS`, one row a cell. Latencies are medians over rounds of the percentiles of each sample.
        ``cpu_per_second`` is processor seconds of all threads in a second of reading: how many cores were at work.
        ``speedup`` is the median time of one worker over that of these, both with rounds drawn anew for the 95 %
        interval, for the two are measured at different times; ``efficiency`` is it over the number of workers.
        ``raw_fraction`` is the time of the flat file with as many workers over this one, paired by round;
        ``raw_speedup`` is what the flat file itself gained.
        None for a run without such samples, as one that was made before latencies were recorded.
    """
    if not samples["latency_p50_seconds"].notna().any():
        return None
    timed = samples[samples["latency_p50_seconds"].notna() | (samples["status"] == "failed")]
    timed = timed[timed["executor"] != "main"].reset_index(drop=True)
    places = {_place(timed, arms[0]): arms for arms in arms_by_place(timed)}
    rows = []
    for place, arms in places.items():
        executor = place[-2]
        alone = places.get((*place[:-2], load_executor(executor).alone or executor, 1), ())
        raw = next((arm for arm in arms if arm.name == RAW and len(arm.seconds)), None)
        for arm in arms:
            if len(arm.seconds):
                one = next((a for a in alone if (a.name, a.profile) == (arm.name, arm.profile)), None)
                rows.append(_row(timed, place, arm, one, raw))
    table = pd.DataFrame(rows, columns=COLUMNS)
    raws = table[table["format"] == RAW].set_index(KEY_COLUMNS[1:5] + KEY_COLUMNS[7:])["speedup"].to_dict()
    keys = table[KEY_COLUMNS[1:5] + KEY_COLUMNS[7:]].itertuples(index=False, name=None)
    table["raw_speedup"] = [raws.get(key, np.nan) for key in keys]
    return table.reset_index(drop=True)


def _place(samples: pd.DataFrame, arm: ArmSamples) -> Place:
    return _place_of(samples.iloc[arm.rows[0]])


def _place_of(row: pd.Series) -> Place:
    n_res = None if pd.isna(row["n_res"]) else int(row["n_res"])
    return (row["suite"], row["access"], row["trace"], n_res, row["cache"], row["executor"], int(row["workers"]))


def _row(
    samples: pd.DataFrame, place: Place, arm: ArmSamples, one: ArmSamples | None, raw: ArmSamples | None
) -> dict[str, Any]:
    suite, access, trace, n_res, cache, executor, workers = place
    good = samples.iloc[arm.good]
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "run_id": good["run_id"].iloc[0], "suite": suite, "access": access, "trace": trace,
        "n_res": np.nan if n_res is None else n_res, "format": arm.name, "profile": arm.profile, "cache": cache,
        "executor": executor, "workers": workers, "samples": len(arm.seconds),
        "median_seconds": float(np.median(arm.seconds)),
        "cpu_per_second": float((good["cpu_seconds"] / good["seconds"]).median()),
        **{name: float(good[name].median()) for name in LATENCIES},
        "schema_version": SCALING_VERSION,
    }  # fmt: skip
    if one is not None and len(one.seconds):
        speedup = float(np.median(one.seconds) / np.median(arm.seconds))
        ends = (1.0, 1.0) if one is arm else bounds(_drawn(one, "one", place) / _drawn(arm, "all", place))
        row |= {
            "one_worker": float(np.median(one.seconds)),
            "speedup": speedup,
            "speedup_low": float(ends[0]),
            "speedup_high": float(ends[1]),
            "efficiency": speedup / workers,
        }
    if raw is not None and (against := paired(raw, arm)) is not None:
        ratio = against.ratio
        row |= {"raw_fraction": ratio.median, "raw_fraction_low": ratio.low, "raw_fraction_high": ratio.high}
    return row


def _drawn(arm: ArmSamples, what: str, place: Place) -> np.ndarray:
    """Return medians of rounds drawn anew with replacement, the same for the same cell."""
    rng = np.random.default_rng(zlib.crc32(repr((what, place, arm.name, arm.profile)).encode()))
    picks = rng.integers(len(arm.seconds), size=(RESAMPLES, len(arm.seconds)))
    return np.median(arm.seconds[picks], axis=1)
