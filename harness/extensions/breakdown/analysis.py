"""Where the time of reads goes: summary of ``breakdown.csv``, one row per cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from harness.records import KEY_COLUMNS
from harness.report.page.scaling import main_subject


class PartOfRead(NamedTuple):
    """Names and drawing style of a part of a read."""

    called: str
    doing: str
    colour: str  # Okabe & Ito (2008)
    hatch: str  # distinguishes the parts in greyscale print


PARTS = {
    "metadata_seconds": PartOfRead("metadata", "looking the tensor up", "#E69F00", "...."),
    "file_read_seconds": PartOfRead("file reads", "reading the file", "#0072B2", "////"),
    "decode_seconds": PartOfRead("decode", "decoding", "#D55E00", "\\\\\\\\"),
    "copy_seconds": PartOfRead("copy", "copying into place", "#56B4E9", "xxxx"),
    "rest_seconds": PartOfRead("rest of the library", "the rest of the library", "#F5EE9E", ""),
}
"""The parts of a read's total."""

OPENED = {"open_seconds": PartOfRead("open", "opening", "#bdbdbd", ""), **PARTS}
"""The same parts, preceded by the time to open, which the total excludes."""

_TIMES = ["total_seconds", *OPENED]
_EXACT = ["stored_bytes", "extents", "files", "bytes_requested"]

COLUMNS = [
    *KEY_COLUMNS, "rounds", *_TIMES, *_EXACT, "stored_fraction", "main_part", "status", "reason", "schema_version",
]  # fmt: skip


_CLEARLY = 0.1  # of the read; a replay runs at another moment, and equal reads differ by a few percent


def where_time_goes(breakdown: pd.DataFrame) -> pd.DataFrame:
    """Summarise the rows of `harness.extensions.breakdown.rows.read_breakdown`: one row per cell, in their first order.

    Times come from the least disturbed round: the one with the least time for its read and replay together. This does
    not understate the work of a read, and the parts add up to the total. ``stored_fraction`` is the stored bytes
    that a read needs divided by the bytes that it requests. ``main_part`` is the name of the largest part. A figure
    that should be the same in every round and is not stays empty, and the reason states so. A failed cell has no
    figures; a cell whose format has no replay has only the total and the time to open.
    """
    cells = [_cell(group) for _, group in breakdown.groupby(KEY_COLUMNS, sort=False, dropna=False)]
    numeric = dict.fromkeys([*_TIMES, *_EXACT, "stored_fraction"], float)  # NaN if empty, also if all are
    found = pd.DataFrame(cells, columns=COLUMNS).astype(numeric)
    return found.assign(n_res=pd.to_numeric(found["n_res"]))  # NaN also if no trace has residues


def _cell(group: pd.DataFrame) -> dict[str, Any]:
    first = group.iloc[0]
    statuses = set(group["status"])
    # One wrong replay makes all rounds doubtful; a rejected round merely does not count.
    status = next((s for s in ("failed", "ok", "skipped", "rejected") if s in statuses), "skipped")
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: first[key] for key in KEY_COLUMNS}
    counted = group[group["status"] == status]
    told = group[group["status"] != "ok"]
    reasons = [str(told.iloc[0]["reason"])] if len(told) else []
    row.update(
        n_res=None if pd.isna(first["n_res"]) else int(first["n_res"]),
        rounds=int(counted["total_seconds"].notna().sum()) if status != "failed" else 0,
        status=status,
        schema_version=1,
    )
    if status != "failed":
        quiet = counted.iloc[int(_taken(counted).to_numpy().argmin())]
        row.update({name: None if pd.isna(quiet[name]) else float(quiet[name]) for name in _TIMES})
        for name in _EXACT:
            values = sorted({int(value) for value in counted[name].dropna()})
            row[name] = values[0] if len(values) == 1 else None
            if len(values) > 1:
                reasons.append(f"{name} differs between rounds: {values[0]} to {values[-1]}")
        if row["stored_bytes"] is not None and row["bytes_requested"]:
            row["stored_fraction"] = row["stored_bytes"] / row["bytes_requested"]
        parts = {name: row[name] for name in PARTS if row[name] is not None}
        row["main_part"] = PARTS[max(parts, key=lambda name: parts[name])].called if parts else ""
    row["reason"] = "; ".join(reasons)
    return row


def _taken(rounds: pd.DataFrame) -> pd.Series:
    """Return the time of each round for its read and replay together, in seconds."""
    replayed = [name for name in PARTS if name != "rest_seconds"]
    return rounds[["total_seconds", "open_seconds", *replayed]].sum(axis=1)


def below_zero(cells: pd.DataFrame) -> pd.Series:
    """Return a mask of the cells of `where_time_goes` whose parts take clearly longer than the read."""
    return cells["rest_seconds"] < -_CLEARLY * cells["total_seconds"]


def drawn_cells(cells: pd.DataFrame) -> tuple[str, float, pd.DataFrame]:
    """Return the trace, the length and the cells to draw; at least one cell must be measured."""
    trace, n_res = main_subject(cells[cells["total_seconds"].notna()])
    here = cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res
    return trace, n_res, cells[(cells["trace"] == trace) & here]
