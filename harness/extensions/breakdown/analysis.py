"""Where the time of reads goes: from the rows of ``breakdown.csv`` to one row a cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from harness.records import KEY_COLUMNS
from harness.report.page.scaling import main_subject


class PartOfRead(NamedTuple):
    """How a part of a read is told: in a table, in a sentence, and drawn."""

    called: str
    doing: str
    colour: str  # Okabe & Ito (2008)
    hatch: str  # tells the parts apart in grey print


PARTS = {
    "metadata_seconds": PartOfRead("metadata", "looking the tensor up", "#E69F00", "...."),
    "file_read_seconds": PartOfRead("file reads", "reading the file", "#0072B2", "////"),
    "decode_seconds": PartOfRead("decode", "decoding", "#D55E00", "\\\\\\\\"),
    "copy_seconds": PartOfRead("copy", "copying into place", "#56B4E9", "xxxx"),
    "rest_seconds": PartOfRead("rest of the library", "the rest of the library", "#F5EE9E", ""),
}
"""The parts of a read's total."""

OPENED = {"open_seconds": PartOfRead("open", "opening", "#bdbdbd", ""), **PARTS}
"""The same after what opening took, which the total leaves out."""

_TIMES = ["total_seconds", *OPENED]
_EXACT = ["stored_bytes", "extents", "files", "bytes_requested"]

COLUMNS = [
    *KEY_COLUMNS, "rounds", *_TIMES, *_EXACT, "stored_fraction", "main_part", "status", "reason", "schema_version",
]  # fmt: skip


_CLEARLY = 0.1  # of the read; a replay is another moment, and equal reads differ by a few percent


def where_time_goes(breakdown: pd.DataFrame) -> pd.DataFrame:
    """Summarise the rows of `harness.extensions.breakdown.rows.read_breakdown`: one row a cell, in their first order.

    Times are those of the round that was disturbed least, the one whose read and replay took least together: what a
    read has to do takes no less for it, and the parts add up to the total. ``stored_fraction`` is the stored bytes that
    a read needs over those it asks for. ``main_part`` is the name of the largest part. A figure that should be the same
    in every round and is not stays empty, and the reason says so. A failed cell has no figures; one whose format has no
    replay has the total and the time to open alone.
    """
    cells = [_cell(group) for _, group in breakdown.groupby(KEY_COLUMNS, sort=False, dropna=False)]
    numeric = dict.fromkeys([*_TIMES, *_EXACT, "stored_fraction"], float)  # NaN where empty, also where all are
    found = pd.DataFrame(cells, columns=COLUMNS).astype(numeric)
    return found.assign(n_res=pd.to_numeric(found["n_res"]))  # NaN also where no trace has residues


def _cell(group: pd.DataFrame) -> dict[str, Any]:
    first = group.iloc[0]
    statuses = set(group["status"])
    # One wrong replay makes all of them doubtful; a rejected round only counts for nothing.
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
    """Return what each round took for the read and its replay together, in seconds."""
    replayed = [name for name in PARTS if name != "rest_seconds"]
    return rounds[["total_seconds", "open_seconds", *replayed]].sum(axis=1)


def below_zero(cells: pd.DataFrame) -> pd.Series:
    """Say in which cells of `where_time_goes` the parts take clearly longer than the read that they are parts of."""
    return cells["rest_seconds"] < -_CLEARLY * cells["total_seconds"]


def drawn_cells(cells: pd.DataFrame) -> tuple[str, float, pd.DataFrame]:
    """Return the trace and length that are drawn, and the cells of them; some have to be measured."""
    trace, n_res = main_subject(cells[cells["total_seconds"].notna()])
    here = cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res
    return trace, n_res, cells[(cells["trace"] == trace) & here]
