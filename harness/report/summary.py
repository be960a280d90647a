"""From samples to cells: one row a cell, with intervals, ratios to the ceiling and to the baseline, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.measure.config import RAW, TWIN, VERDICT_ROUNDS
from harness.records import KEY_COLUMNS, SCHEMA_VERSION
from harness.report.statistics import (
    Comparison,
    compare,
    discoveries,
    median_interval,
    noise_floor,
    sign_flip_p,
    word,
)

COLUMNS = [
    *KEY_COLUMNS, "samples", "median_seconds", "ci_low", "ci_high", "median_open_seconds", "bytes_per_second",
    "percent_of_raw", "ratio", "ratio_low", "ratio_high", "baseline", "verdict", "smallest_detectable_effect",
    "median_bytes_read", "median_requests", "files_opened", "peak_rss_bytes", "size_bytes", "files",
    "ratio_to_float32", "ratio_to_native", "status", "reason", "schema_version",
]  # fmt: skip

_PLACE = ["suite", "access", "trace", "n_res", "cache", "executor", "workers"]  # what the arms of one cell share


@dataclass
class _Cell:
    """A summary row that waits for the verdicts of the whole run."""

    row: dict[str, Any]
    comparison: Comparison | None = None
    floor: float = 0.0


def summarise(samples: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Summarise a run.

    Parameters
    ----------
    samples : DataFrame
        From `harness.records.read_samples`.
    baseline : str
        The format that ratios refer to, within the same profile.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a cell, in the order in which cells were first measured.
    """
    cells: list[_Cell] = []
    for _, place in samples.groupby(_PLACE, sort=False, dropna=False):
        cells += _place(place, baseline)
    judged = [c for c in cells if c.comparison is not None and c.row["format"] not in (baseline, RAW, TWIN)]
    # The ceiling and the twin are not claims about a format, so they take no part in the control of false discoveries.
    p_values = np.array([sign_flip_p(c.comparison.log_ratios, c.floor) for c in judged if c.comparison is not None])
    for cell, discovered in zip(judged, discoveries(p_values) if judged else [], strict=True):
        if cell.comparison is not None:
            cell.row["verdict"] = word(cell.comparison, cell.floor, bool(discovered))
    rows = [cell.row for cell in cells]
    return pd.DataFrame(rows, columns=COLUMNS)


def _place(place: pd.DataFrame, baseline: str) -> list[_Cell]:
    """Summarise the arms that were measured in the same rounds of one access."""
    times = {arm: _times(group) for arm, group in place.groupby(["format", "profile"], sort=False)}
    raw = next((t for (name, _), t in times.items() if name == RAW), None)
    cells = []
    for (name, profile), group in place.groupby(["format", "profile"], sort=False):
        against = _baseline(times, baseline, str(profile))
        cell = _Cell(_row(group))
        own = times[name, profile]
        if own is not None:
            _timed(cell, own, group, raw)
            if against is not None and times[against] is not None and (name, profile) != against:
                cell.comparison = _paired(own, times[against])
            cell.floor = _floor(times, baseline)
            _compared(cell, against)
        elif cell.row["size_bytes"] is not None and against is not None and (name, profile) != against:
            sizes = place[(place["format"] == against[0]) & (place["profile"] == against[1])]["size_bytes"].dropna()
            if len(sizes):
                cell.row.update(ratio=cell.row["size_bytes"] / float(sizes.iloc[0]), baseline=_name(against))
        cells.append(cell)
    return cells


def _baseline(times: dict[Any, pd.Series | None], baseline: str, profile: str) -> tuple[str, str] | None:
    """Choose the baseline's arm: in the same profile where it was measured in it, else in the first."""
    arms = [arm for arm in times if arm[0] == baseline]
    return next((arm for arm in arms if arm[1] == profile), arms[0] if arms else None)


def _name(arm: tuple[str, str]) -> str:
    return f"{arm[0]} ({arm[1]})"


def _times(group: pd.DataFrame) -> pd.Series | None:
    """Return seconds by round; None when a sample failed or none counts."""
    if (group["status"] == "failed").any():
        return None
    good = group[(group["status"] == "ok") & group["seconds"].notna()]
    return good.set_index("round")["seconds"].sort_index() if len(good) else None


def _paired(own: pd.Series, other: pd.Series | None) -> Comparison | None:
    if other is None:
        return None
    rounds = own.index.intersection(other.index)
    return compare(own[rounds].to_numpy(float), other[rounds].to_numpy(float)) if len(rounds) else None


def _floor(times: dict[Any, pd.Series | None], baseline: str) -> float:
    """Return the noise floor of this access from its A/A arm."""
    for (name, profile), twin in times.items():
        original = times.get((baseline, profile))
        if name == TWIN and twin is not None and original is not None:
            return noise_floor(_paired(twin, original))
    return 0.0


def _row(group: pd.DataFrame) -> dict[str, Any]:
    """Fill in what does not depend on time; a figure that does not apply stays empty."""
    first = group.iloc[0]
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: first[key] for key in KEY_COLUMNS}
    failed = group[group["status"] == "failed"]
    good = group[group["status"] == "ok"]
    status = "failed" if len(failed) else "ok" if len(good) else str(first["status"])
    told = failed if len(failed) else group[group["status"] != "ok"]
    row.update(
        n_res=None if pd.isna(first["n_res"]) else int(first["n_res"]),
        samples=len(good),
        status=status,
        reason=str(told.iloc[0]["reason"]) if len(told) else "",
        schema_version=SCHEMA_VERSION,
    )
    if status == "ok" and good["size_bytes"].notna().any():
        size = float(good["size_bytes"].iloc[0])
        # Another layer is written in each round, so only a size that is the same in all of them is the cell's.
        if good["size_bytes"].nunique() == 1 and good["bytes_requested"].nunique() == 1:
            row.update(
                size_bytes=int(size),
                files=int(good["files"].iloc[0]),
                ratio_to_float32=good["bytes_requested"].iloc[0] / size,
                ratio_to_native=good["native_bytes"].iloc[0] / size,
            )
    return row


def _timed(cell: _Cell, own: pd.Series, group: pd.DataFrame, raw: pd.Series | None) -> None:
    good = group[group["status"] == "ok"]
    interval = median_interval(own.to_numpy(float))
    cell.row.update(
        median_seconds=interval.median,
        ci_low=interval.low,
        ci_high=interval.high,
        median_open_seconds=_median(good["open_seconds"]),
        bytes_per_second=float(good["bytes_requested"].median()) / interval.median if interval.median else None,
        percent_of_raw=100 * float(raw.median()) / interval.median if raw is not None and interval.median else None,
        median_bytes_read=_median(good["bytes_read"]),
        median_requests=_median(good["requests"]),
        files_opened=_median(good["files_opened"]),
        peak_rss_bytes=None if good["peak_rss_bytes"].isna().all() else int(good["peak_rss_bytes"].max()),
    )


def _median(values: pd.Series) -> float | None:
    return None if values.isna().all() else float(values.median())


def _compared(cell: _Cell, against: tuple[str, str] | None) -> None:
    if cell.floor and cell.row["samples"] > 1:
        cell.row["smallest_detectable_effect"] = float(np.exp(cell.floor) - 1)
    if cell.comparison is None or against is None:
        return
    ratio = cell.comparison.ratio
    cell.row.update(ratio=ratio.median, ratio_low=ratio.low, ratio_high=ratio.high, baseline=_name(against))
    if len(cell.comparison.log_ratios) < VERDICT_ROUNDS:
        rounds = len(cell.comparison.log_ratios)
        cell.row["reason"] = f"{rounds} round{'s' if rounds != 1 else ''}: a verdict needs {VERDICT_ROUNDS}"
