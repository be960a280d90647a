"""The cells of a stored run, what became of them in another one, and their exact figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.analysis.arms import ArmSamples, arms_by_place
from harness.compare.exact import Lost
from harness.compare.question import Cell
from harness.records import CONTROL, RAW
from harness.row_files import read_samples
from harness.run.archives import read_archives

_COUNTED = {name: name for name in ("bytes_read", "requests", "files_opened")} | {
    "size_bytes": "bytes",
    "files": "files",
}
"""Columns of samples that are compared exactly, by the name that the comparison gives them."""

_SHOWN = 6  # cells that a note names


@dataclass(frozen=True, eq=False)
class StoredCells:
    """The cells of a run, of formats and of the raw ceiling.

    Attributes
    ----------
    samples : DataFrame
        All rows in force.
    arms : dict of Cell to ArmSamples
        What the rows say of each cell.
    """

    samples: pd.DataFrame
    arms: dict[Cell, ArmSamples]

    @classmethod
    def of(cls, folder: Path) -> StoredCells:
        """Read the cells of the run in a folder."""
        samples = read_samples(folder / "samples.csv")
        arms = [arm for place in arms_by_place(samples) for arm in place if arm.name != CONTROL]
        return cls(samples, {_cell(samples, arm): arm for arm in arms})

    def reason(self, cell: Cell) -> str:
        """Return why a cell is not ok."""
        rows = self.samples.iloc[self.arms[cell].rows]
        told = rows["reason"][rows["status"] == self.arms[cell].status]
        return str(told.iloc[0]) if len(told) else ""

    def known(self, cell: Cell, name: str) -> np.ndarray:
        """Return the values of a column that samples which count have: shape (samples,)."""
        return self.samples[name].iloc[self.arms[cell].good].dropna().to_numpy(float)


def lost_cells(base: StoredCells, head: StoredCells) -> list[Lost]:
    """Name every cell that is ok in base and not in head, or has a time in base and none in head."""
    found = []
    for cell, ours in sorted(base.arms.items(), key=str):
        theirs = head.arms.get(cell)
        if ours.status != "ok":
            continue
        if theirs is None:
            found.append(Lost(cell=cell, state="absent"))
        elif theirs.status != "ok":
            found.append(Lost(cell=cell, state=theirs.status, reason=head.reason(cell)))
        elif len(ours.seconds) and not len(theirs.seconds):
            found.append(Lost(cell=cell, state="absent", reason="it has no time"))
    return found


def not_in_base(base: StoredCells, head: StoredCells) -> list[str]:
    """Say which cells nothing is said of, because they are not ok in base."""
    bad = [f"{cell} ({arm.status})" for cell, arm in base.arms.items() if arm.status not in ("ok", "skipped")]
    if not bad:
        return []
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return [f"Not compared, because base has no good measurement: {', '.join(bad[:_SHOWN])}{more}."]


def both(base: StoredCells, head: StoredCells) -> list[Cell]:
    """List the cells that are ok in both, without the raw ceiling, which is nobody's format."""
    common = [cell for cell in sorted(base.arms.keys() & head.arms.keys(), key=str) if base.arms[cell].name != RAW]
    return [cell for cell in common if base.arms[cell].status == head.arms[cell].status == "ok"]


def exact_figures(
    first: Path, second: Path, base: StoredCells, head: StoredCells
) -> dict[tuple[Cell, str, str], list[int]]:
    """Collect the sizes of archives, and what was counted or weighed in cells that are ok in both."""
    exact: dict[tuple[Cell, str, str], list[int]] = {}
    for side, folder in (("base", first), ("head", second)):
        for subject in read_archives(folder / "archives.json"):
            for archive in subject["archives"]:
                if archive["format"] in (RAW, CONTROL):
                    continue
                label = _label(archive["format"], archive["profile"])
                cell = Cell("size", "archive", label, subject["trace"], subject["n_res"])
                exact[cell, side, "bytes"] = [archive["size_bytes"]]
                exact[cell, side, "files"] = [archive["files"]]
    for cell in both(base, head):
        for side, cells in (("base", base), ("head", head)):
            for column, name in _COUNTED.items():
                if len(values := cells.known(cell, column)):
                    exact.setdefault((cell, side, name), [int(value) for value in values])
    return exact


def _label(name: str, profile: str) -> str:
    return name if profile in ("", "tuned") else f"{name} ({profile})"


def _cell(samples: pd.DataFrame, arm: ArmSamples) -> Cell:
    row = samples.iloc[arm.rows[0]]
    parts = [row["access"], row["cache"] if isinstance(row["cache"], str) else ""]
    if row["executor"] != "main":
        parts.append(f"{row['workers']} {row['executor']}")
    n_res = None if pd.isna(row["n_res"]) else int(row["n_res"])
    return Cell(row["suite"], " ".join(filter(None, parts)), _label(arm.name, arm.profile), row["trace"], n_res)
