"""The report's section on several workers: how far each format scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.findings import Findings
from harness.records import CONTROL, RAW

_COLUMNS = [
    "Workers", "Format", "Time", "Speed against one worker", "Efficiency", "Of the raw ceiling's speed",
    "Half of the reads within", "95 % within", "99 % within", "Cores at work",
]  # fmt: skip

_FREE = (
    "The interpreter's lock was off, as free-threaded Python has it: threads take turns only where a library has a "
    "lock of its own, as h5py has."
)


def scaling(findings: Findings) -> dict[str, Any] | None:
    """Arrange the section; None for a run without samples by several workers."""
    if findings.scaling is None or findings.scaling.empty:
        return None
    trace, n_res, shown = shown_cells(findings.scaling)
    length = "" if pd.isna(n_res) else f" with {n_res:.0f} residues"
    cores = findings.session.get("cores_usable") or findings.session.get("cores")
    text = [
        f"On {words.pretty_trace(trace)}{length}: the same windows in all, split evenly over the workers, which start "
        "together. Every read is timed by its worker; percentiles are medians over rounds. Cores at work are seconds "
        "of processor time of all threads in a second of reading."
    ]
    if cores and (many := sorted({int(n) for n in shown["workers"] if n > cores})):
        text.append(
            f"The machine had {cores} cores to use: {words.listed([str(n) for n in many])} workers share them, and "
            f"cannot be more than {cores} times as fast as one, except where one alone waits."
        )
    if findings.session.get("interpreter_lock") is False:
        text.append(_FREE)
    rows = [
        [
            words.workers(row), str(row["format"]), words.duration(row["median_seconds"]), _speed(row),
            _percent(row["efficiency"]), _percent(row["raw_fraction"]) if row["format"] != RAW else "–",
            *(words.duration(row[name]) for name in ("latency_p50_seconds", "latency_p95_seconds")),
            words.duration(row["latency_p99_seconds"]), f"{row['cpu_per_second']:.2f}",
        ]
        for row in shown.to_dict("records")
    ]  # fmt: skip
    return {"text": text, "columns": _COLUMNS, "rows": rows}


def main_subject(cells: pd.DataFrame) -> tuple[str, float]:
    """Choose the trace and length to show: most accesses, then the longest sequence; NaN where it has no residues."""
    # A key with NaN can be iterated over but not looked up.
    groups = cells.groupby(["trace", "n_res"], sort=False, dropna=False)
    counts = [
        (part["access"].nunique(), float(part["n_res"].iloc[0]), str(part["trace"].iloc[0])) for _, part in groups
    ]
    _, n_res, trace = max(counts, key=lambda found: (found[0], np.nan_to_num(found[1])))
    return trace, n_res


def shown_cells(cells: pd.DataFrame) -> tuple[str, float, pd.DataFrame]:
    """Choose the cells to show: of the trace and length with most accesses, without the A/A control."""
    trace, n_res = main_subject(cells)
    here = (cells["trace"] == trace) & (cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res)
    shown = cells[here & (cells["format"] != CONTROL)]
    order = {name: place for place, name in enumerate(words.ordered(shown["format"].astype(str)))}
    places = shown.assign(place=shown["format"].map(order))
    places["kind"] = places["executor"].map({name: place for place, name in enumerate(places["executor"].unique())})
    return trace, n_res, shown.loc[places.sort_values(["access", "kind", "workers", "place"], kind="stable").index]


def _speed(row: dict[Any, Any]) -> str:
    if not words.known(row["speedup"]):
        return "–"
    if row["speedup_low"] == row["speedup_high"]:
        return words.times(row["speedup"])
    return f"{words.times(row['speedup'])} ({words.between(row['speedup_low'], row['speedup_high'])})"


def _percent(share: float) -> str:
    return words.percent(share) if words.known(share) else "–"
