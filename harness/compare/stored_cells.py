"""The cells of a stored run, what became of them in another one, and their exact figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.analysis.table import CaseKey, CellSamples, SampleTable
from harness.compare.exact import Lost
from harness.compare.question import Cell
from harness.records import Contender
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
    cells : dict of Cell to CellSamples
        What the rows in force say of each.
    """

    cells: dict[Cell, CellSamples]

    @classmethod
    def of(cls, folder: Path) -> StoredCells:
        """Read the cells of the run in a folder."""
        table = SampleTable.of(read_samples(folder / "samples.csv"))
        found = [(case.case, cell) for case in table.cases for cell in case.cells]
        return cls({_cell(case, cell.contender): cell for case, cell in found if not cell.contender.is_control})


def lost_cells(base: StoredCells, head: StoredCells) -> list[Lost]:
    """Name every cell that is ok in base and not in head, or has a time in base and none in head."""
    found = []
    for cell, ours in sorted(base.cells.items(), key=str):
        theirs = head.cells.get(cell)
        if ours.status != "ok":
            continue
        if theirs is None:
            found.append(Lost(cell=cell, state="absent"))
        elif theirs.status != "ok":
            found.append(Lost(cell=cell, state=theirs.status, reason=theirs.reason))
        elif len(ours.seconds) and not len(theirs.seconds):
            found.append(Lost(cell=cell, state="absent", reason="it has no time"))
    return found


def not_in_base(base: StoredCells, head: StoredCells) -> list[str]:
    """Say which cells nothing is said of, because they are not ok in base."""
    bad = [f"{cell} ({found.status})" for cell, found in base.cells.items() if found.status not in ("ok", "skipped")]
    if not bad:
        return []
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return [f"Not compared, because base has no good measurement: {', '.join(bad[:_SHOWN])}{more}."]


def both(base: StoredCells, head: StoredCells) -> list[Cell]:
    """List the cells that are ok in both, without the raw ceiling, which is nobody's format."""
    common = sorted(base.cells.keys() & head.cells.keys(), key=str)
    good = [cell for cell in common if base.cells[cell].status == head.cells[cell].status == "ok"]
    return [cell for cell in good if not base.cells[cell].contender.is_ceiling]


def exact_figures(
    first: Path, second: Path, base: StoredCells, head: StoredCells
) -> dict[tuple[Cell, str, str], list[int]]:
    """Collect the sizes of archives, and what was counted or weighed in cells that are ok in both."""
    exact: dict[tuple[Cell, str, str], list[int]] = {}
    for side, folder in (("base", first), ("head", second)):
        for subject in read_archives(folder / "archives.json"):
            for archive in subject["archives"]:
                if not Contender(archive["format"], archive["profile"]).competes:
                    continue
                label = _label(archive["format"], archive["profile"])
                cell = Cell("size", "archive", label, subject["trace"], subject["n_res"])
                exact[cell, side, "bytes"] = [archive["size_bytes"]]
                exact[cell, side, "files"] = [archive["files"]]
    for cell in both(base, head):
        for side, stored in (("base", base), ("head", head)):
            for column, name in _COUNTED.items():
                if len(values := stored.cells[cell].known(column)):
                    exact.setdefault((cell, side, name), [int(value) for value in values])
    return exact


def _label(name: str, profile: str) -> str:
    return name if profile in ("", "tuned") else f"{name} ({profile})"


def _cell(case: CaseKey, contender: Contender) -> Cell:
    parts = [case.access, case.cache]
    if case.executor != "main":
        parts.append(f"{case.workers} {case.executor}")
    return Cell(case.suite, " ".join(filter(None, parts)), _label(*contender), case.trace, case.n_res)
