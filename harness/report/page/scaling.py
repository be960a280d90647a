"""Report section on several workers: how far each format scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import of_kind
from harness.analysis.findings import Findings
from harness.records import kind_of
from harness.report.page.sentences import sentences
from harness.report.section import Block, Picture, Table, Text

_DRAWN = (
    "Speed against one worker over the number of workers, for each format and executor. Below it the time within which "
    "99 % of reads ended. The table below has the same figures."
)


def scaling(findings: Findings) -> list[Block]:
    """Return the blocks on how reads scale; none for a run without samples by several workers."""
    if findings.scaling is None or findings.scaling.empty:
        return []
    trace, n_res, shown = shown_cells(findings.scaling)
    cores = findings.session.get("cores_usable") or findings.session.get("cores")
    said = {
        "trace": formatting.pretty_trace(trace),
        "residues": "" if pd.isna(n_res) else f"{n_res:.0f}",
        "cores": cores,
        "many": [str(n) for n in sorted({int(n) for n in shown["workers"]}) if cores and n > cores],
        "free": findings.session.get("interpreter_lock") is False,
    }
    rows = [_row(row) for row in shown.to_dict("records")]
    table = Table(
        label="Several workers, in figures",
        caption="Warm; 95 % intervals over rounds in brackets. scaling.csv has every trace.",
        columns=list(rows[0]),
        rows=[list(row.values()) for row in rows],
        figures=True,
        folded="In figures",
    )
    return [*map(Text, sentences("scaling", said)), Picture("scaling", "Scaling over workers", _DRAWN), table]


def _row(row: dict[Any, Any]) -> dict[str, str]:
    speed = "–"
    if formatting.known(row["speedup"]):
        one = row["speedup_low"] == row["speedup_high"]
        interval = "" if one else f" ({formatting.between(row['speedup_low'], row['speedup_high'])})"
        speed = f"{formatting.times(row['speedup'])}{interval}"
    return {
        "Workers": formatting.workers(row),
        "Format": str(row["format"]),
        "Time": formatting.duration(row["median_seconds"]),
        "Speed against one worker": speed,
        "Efficiency": _percent(row["efficiency"]),
        "Of the raw ceiling's speed": _percent(row["raw_fraction"]) if kind_of(row["format"]) != "ceiling" else "–",
        "Half of the reads within": formatting.duration(row["latency_p50_seconds"]),
        "95 % within": formatting.duration(row["latency_p95_seconds"]),
        "99 % within": formatting.duration(row["latency_p99_seconds"]),
        "Cores at work": f"{row['cpu_per_second']:.2f}",
    }


def _percent(share: float) -> str:
    return formatting.percent(share) if formatting.known(share) else "–"


def main_subject(cells: pd.DataFrame) -> tuple[str, float]:
    """Return the trace and length to show: most accesses, then the longest sequence; NaN for one without residues."""
    groups = cells.groupby(["trace", "n_res"], sort=False, dropna=False)
    accesses = groups["access"].nunique().reset_index()
    best = max(accesses.to_dict("records"), key=lambda row: (row["access"], np.nan_to_num(row["n_res"])))
    return str(best["trace"]), float(best["n_res"])


def shown_cells(cells: pd.DataFrame) -> tuple[str, float, pd.DataFrame]:
    """Return the trace and length with most accesses, and their cells without the A/A control, sorted for display."""
    trace, n_res = main_subject(cells)
    here = (cells["trace"] == trace) & (cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res)
    shown = cells[here & ~of_kind(cells, "control")]
    order = {name: place for place, name in enumerate(formatting.ordered(shown["format"].astype(str)))}
    kinds = {name: place for place, name in enumerate(shown["executor"].unique())}
    places = shown.assign(place=shown["format"].map(order), kind=shown["executor"].map(kinds))
    return trace, n_res, shown.loc[places.sort_values(["access", "kind", "workers", "place"], kind="stable").index]
