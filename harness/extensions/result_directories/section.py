"""The section on result directories in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.findings import Findings, plain
from harness.extensions.result_directories.analysis import PUBLISHED, SOURCE, DirectorySizes, find_directories, modes_of
from harness.extensions.result_directories.asked import DIRECTORY_MODES, VANILLA
from harness.extensions.result_directories.record import DIRECTORIES
from harness.report.section import Block, Items, Section, Table, Text

_COLUMNS = {
    VANILLA: "As written",
    "slim": "Mode slim",
    "slim-plain-none": "Mode slim, --plain none: tools need unslim first",
    "minimal": "Mode minimal",
}


class DirectoriesSection(Section):
    """How small result directories became, beside the published figures for their programs."""

    name, title = "directories", "Result directories"
    order = 50
    measured: ClassVar = {DIRECTORIES: f"the files of result directories and what was read from them, in {DIRECTORIES}"}
    published: ClassVar = {"directories.csv": ["directory", "mode"]}

    def find(self, folder: Path, findings: Findings) -> DirectorySizes | None:
        """Arrange the samples with ``directories.json``; None for a run without any."""
        return find_directories(folder, findings.apart)

    def document(self, found: DirectorySizes) -> dict[str, Any]:
        """Return the table."""
        return {"directories": plain(found.table)}

    def tables(self, found: DirectorySizes) -> dict[str, pd.DataFrame]:
        """Return ``directories.csv``."""
        return {"directories.csv": found.table}

    def cells(self, found: DirectorySizes) -> pd.DataFrame:
        """Return a row for each directory and mode."""
        return found.cells

    def limits(self, found: DirectorySizes, findings: Findings) -> list[str]:
        """Say what the figures depend on."""
        return [
            "What slimming a result directory saves depends on its program, its length and what was kept in it: the "
            "figures hold for the directories that were measured."
        ]

    def closing(self, found: DirectorySizes) -> Table:
        """Return one row a result directory, one column a mode."""
        rows = []
        for name in dict.fromkeys(found.cells["trace"]):
            modes = modes_of(found.table, name)
            rows.append([name, *(_closed(modes[mode]) if mode in modes else "" for mode in DIRECTORY_MODES)])
        caption = "Result directories, in bytes"
        return Table(label=caption, caption=caption, columns=["directory", *DIRECTORY_MODES], rows=rows)

    def blocks(self, found: DirectorySizes, findings: Findings) -> list[Block]:
        """Show a row for each directory, beside the published figure for its program."""
        rows, read = [], []
        shown = [mode for mode in _COLUMNS if (found.cells["format"] == mode).any()]
        for name in dict.fromkeys(found.cells["trace"]):
            modes = modes_of(found.table, str(name))
            program = next((row["program"] for row in modes.values() if words.known(row["program"])), "–")
            cells = [_figure(modes[mode]) if mode in modes else "–" for mode in shown]
            rows.append([str(name), program, *cells, _published(found.kinds.get(str(name), ""))])
            read += list(_read(str(name), modes))
        table = Table(
            label="Result directories: bytes in each mode",
            caption="Bytes and files of each directory, and the change against the directory as it was written.",
            columns=["Directory", "Written by", *(_COLUMNS[mode] for mode in shown), "Published, on other data"],
            rows=rows,
        )
        return [*map(Text, _text()), table, Items(read)]


section = DirectoriesSection()


def _closed(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    change = "" if pd.isna(row["change_percent"]) else f" ({row['change_percent']:+.1f} %)"
    return f"{int(row['size_bytes']):,}{change}"


def _figure(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    change = f"{_signed(row['change_percent'], 1)}: " if words.known(row["change_percent"]) else ""
    files = int(row["files"])
    return f"{change}{int(row['size_bytes']):,} bytes, {files} file{'s' if files != 1 else ''}"


def _signed(percent: float, digits: int) -> str:
    return f"{percent:+.{digits}f} %"


def _published(kind: str) -> str:
    if kind not in PUBLISHED:
        return "none for this program"
    found = PUBLISHED[kind]
    return f"{_signed(found.change_percent, 0)}: {found.before} to {found.after}"


def _read(name: str, modes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for mode, row in modes.items():
        if mode == VANILLA or row["status"] != "ok":
            continue
        restored, given_up = int(row["files_restored"]), int(row["files_given_up"])
        text = (
            f"{name}, mode {mode}"
            + (f" within {row['bound_angstrom']:g} Å" if words.known(row["bound_angstrom"]) else "")
            + f": of {int(row['values_compared'])} values that tools read, {int(row['values_same'])} are the same bit "
            "for bit, each from the same file as before"
        )
        if row["largest_error_angstrom"]:
            text += f"; the largest error of the others is {row['largest_error_angstrom']:.3g} Å"
        if row["values_dropped"]:
            text += f"; {int(row['values_dropped'])} more were dropped, to be had again only by a new run"
        text += f"; {restored} files came back byte for byte"
        if words.known(row.get("files_need_unslim")):
            text += f"; tools need unslim first for {int(row['files_need_unslim'])} files"
        yield text + (f", {given_up} do not come back." if given_up else ".")


def _text() -> list[str]:
    return [
        "A copy of each directory was slimmed by harness slim, counted with its manifest, read as tools read it, and "
        "brought back. Sizes are bytes on disk, exact.",
        f"The published figures are those of {SOURCE}, mode slim, on its directory plasmodium_hap2: other data, and "
        "another rule, for that mode drops arrays that have no other copy. They are no comparison of methods.",
    ]
