"""Report section on result directories: size of each in each mode, next to figures published elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.analysis.plain_values import plain
from harness.analysis.summary import COLUMNS, SUMMARY_SCHEMA_VERSION
from harness.extensions.result_directories.record import DIRECTORIES, read_directories
from harness.extensions.result_directories.run_options import ACCESS, DIRECTORY_MODES, VANILLA
from harness.records import KEY_COLUMNS
from harness.report.section import Block, Items, Section, Table, Text

SOURCE = "AlphaPulldown, pull request 627"


class Published(NamedTuple):
    """Published savings of a storage mode on other data: sizes and change as published."""

    program: str
    before: str
    after: str
    change_percent: int


PUBLISHED = {
    "af2": Published("AlphaFold2", "254M", "148M", -42),
    "af3": Published("AlphaFold3", "628M", "107M", -83),
}
"""Figures of mode slim of `SOURCE` for its directory plasmodium_hap2; that mode drops arrays without another copy."""

_MODES = {
    VANILLA: "As written",
    "slim": "Mode slim",
    "slim-plain-none": "Mode slim, --plain none: tools need unslim first",
    "minimal": "Mode minimal",
}
_FIGURES = {
    "files_restored": "files_restored",
    "files_given_up": "files_given_up",
    "files_need_unslim": "files_need_unslim",
    "values_compared": "values_compared",
    "values_same": "values_same",
    "values_dropped": "values_dropped",
    "largest_error_angstrom": "largest_error",
}
"""Fields of ``directories.json`` by column of ``directories.csv``; a list of files becomes their number."""

_COUNTS = ["size_bytes", "files", *list(_FIGURES)[:-1]]
_TEXT = (
    "A copy of each directory was slimmed by harness slim, counted with its manifest, read as tools read it, and "
    "brought back. Sizes are bytes on disk, exact.",
    f"The published figures are those of {SOURCE}, mode slim, on its directory plasmodium_hap2: other data, and "
    "another rule, for that mode drops arrays that have no other copy. They are no comparison of methods.",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectorySizes:
    """The result directories of a run."""

    # Rows for ``summary.csv``: one for each directory and mode, with the ratio to the directory as it was written.
    cells: pd.DataFrame
    table: pd.DataFrame  # The same with counts of restored files and read values, followed by the published figures.
    kinds: dict[str, str]  # Program of each directory, by its label.


class DirectoriesSection(Section):
    """Section on the sizes of result directories, next to published figures for their programs."""

    name, title = "directories", "Result directories"
    order = 50
    measured: ClassVar = {DIRECTORIES: f"the files of result directories and what was read from them, in {DIRECTORIES}"}
    published: ClassVar = {"directories.csv": ["directory", "mode"]}

    def find(self, folder: Path, findings: Findings) -> DirectorySizes | None:
        """Combine the samples with ``directories.json``; None for a run without result directories."""
        samples = findings.apart
        found = samples[samples["access"] == ACCESS].to_dict("records")
        if not found:
            return None
        path = folder / DIRECTORIES
        good = [row for row in found if row["status"] == "ok"]
        facts = {each["directory"]: each for each in read_directories(path)} if good or path.exists() else {}
        written = {row["trace"]: row["size_bytes"] for row in good if row["format"] == VANILLA}
        cells = [_cell(row, written.get(row["trace"])) for row in found]
        kinds = {name: str(each["kind"]) for name, each in facts.items()}
        table = pd.DataFrame([_row(cell, facts.get(cell["trace"], {})) for cell in cells] + _published(kinds))
        modes = [mode for each in facts.values() for name, mode in each["modes"].items() if name != VANILLA]
        table = table.astype(dict.fromkeys(_COUNTS, "Int64"))
        if not all("files_need_unslim" in mode for mode in modes):
            table = table.drop(columns="files_need_unslim")  # the run's version did not record it
        frame = pd.DataFrame(cells, columns=COLUMNS).astype(dict.fromkeys(("size_bytes", "files"), "Int64"))
        return DirectorySizes(cells=frame, table=table, kinds=kinds)

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
        """Return a sentence on what the figures depend on."""
        return [
            "What slimming a result directory saves depends on its program, its length and what was kept in it: the "
            "figures hold for the directories that were measured."
        ]

    def closing(self, found: DirectorySizes) -> Table:
        """Return a table with one row per result directory, and one column per mode."""
        rows = []
        for name in dict.fromkeys(found.cells["trace"]):
            modes = modes_of(found.table, name)
            rows.append([name, *(_closed(modes[mode]) if mode in modes else "" for mode in DIRECTORY_MODES)])
        caption = "Result directories, in bytes"
        return Table(label=caption, caption=caption, columns=["directory", *DIRECTORY_MODES], rows=rows)

    def blocks(self, found: DirectorySizes, findings: Findings) -> list[Block]:
        """Return text, a table with the published figure next to each directory, and the results of reading."""
        rows, read = [], []
        shown = [mode for mode in _MODES if (found.cells["format"] == mode).any()]
        for name in map(str, dict.fromkeys(found.cells["trace"])):
            modes = modes_of(found.table, name)
            program = next((row["program"] for row in modes.values() if formatting.known(row["program"])), "–")
            other = "none for this program"
            if (kind := found.kinds.get(name, "")) in PUBLISHED:
                figures = PUBLISHED[kind]
                other = f"{figures.change_percent:+.0f} %: {figures.before} to {figures.after}"
            rows.append([name, program, *(_figure(modes[mode]) if mode in modes else "–" for mode in shown), other])
            read += list(_read(name, modes))
        table = Table(
            label="Result directories: bytes in each mode",
            caption="Bytes and files of each directory, and the change against the directory as it was written.",
            columns=["Directory", "Written by", *(_MODES[mode] for mode in shown), "Published, on other data"],
            rows=rows,
        )
        return [*map(Text, _TEXT), table, Items(read)]


section = DirectoriesSection()


def _cell(row: Mapping[Any, Any], written: float | None) -> dict[str, Any]:
    good = row["status"] == "ok"
    cell: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: row[key] for key in (*KEY_COLUMNS, "status", "reason")}
    cell |= {"n_res": None, "samples": int(good), "schema_version": SUMMARY_SCHEMA_VERSION}
    if good:
        cell |= {"size_bytes": int(row["size_bytes"]), "files": int(row["files"])}
    if good and written and row["format"] != VANILLA:
        cell |= {"ratio": row["size_bytes"] / written, "baseline": VANILLA}
    return cell


def _row(cell: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    found: Mapping[str, Any] = facts.get("modes", {}).get(cell["format"], {}) if cell["status"] == "ok" else {}
    figures = {column: found.get(name) for column, name in _FIGURES.items()}
    return {
        "directory": cell["trace"],
        "program": facts.get("program"),
        "mode": cell["format"],
        "bound_angstrom": found.get("bound"),
        "size_bytes": cell["size_bytes"],
        "files": cell["files"],
        "change_percent": None if cell["ratio"] is None else round(100 * (cell["ratio"] - 1), 1),
        **{column: len(value) if isinstance(value, list) else value for column, value in figures.items()},
        **{name: cell[name] for name in ("status", "reason")},
        "source": "this run",
    }


def _published(kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the published figures for the programs of the run's directories, without bytes, as none were counted."""
    return [
        {
            "directory": "plasmodium_hap2",
            "program": found.program,
            "mode": "slim",
            "change_percent": found.change_percent,
            "status": "ok",
            "reason": f"published: {found.before} to {found.after}",
            "source": SOURCE,
        }
        for found in (PUBLISHED[kind] for kind in dict.fromkeys(kinds.values()) if kind in PUBLISHED)
    ]


def modes_of(table: pd.DataFrame, directory: str) -> dict[str, dict[str, Any]]:
    """Return the rows of one directory of this run, by mode in the order of `DIRECTORY_MODES`."""
    rows = table[(table["directory"] == directory) & (table["source"] == "this run")]
    found = {str(row["mode"]): {str(k): v for k, v in row.items()} for row in rows.to_dict("records")}
    return {mode: found[mode] for mode in DIRECTORY_MODES if mode in found}


def _closed(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return str(row["status"])
    change = "" if pd.isna(row["change_percent"]) else f" ({row['change_percent']:+.1f} %)"
    return f"{int(row['size_bytes']):,}{change}"


def _figure(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    change = f"{row['change_percent']:+.1f} %: " if formatting.known(row["change_percent"]) else ""
    files = int(row["files"])
    return f"{change}{int(row['size_bytes']):,} bytes, {files} file{'s' if files != 1 else ''}"


def _read(name: str, modes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for mode, row in modes.items():
        if mode == VANILLA or row["status"] != "ok":
            continue
        within = f" within {row['bound_angstrom']:g} Å" if formatting.known(row["bound_angstrom"]) else ""
        text = (
            f"{name}, mode {mode}{within}: of {int(row['values_compared'])} values that tools read, "
            f"{int(row['values_same'])} are the same bit for bit, each from the same file as before"
        )
        if row["largest_error_angstrom"]:
            text += f"; the largest error of the others is {row['largest_error_angstrom']:.3g} Å"
        if row["values_dropped"]:
            text += f"; {int(row['values_dropped'])} more were dropped, and only a new prediction restores them"
        text += f"; {int(row['files_restored'])} files were restored byte for byte"
        if formatting.known(row.get("files_need_unslim")):
            text += f"; tools need unslim first for {int(row['files_need_unslim'])} files"
        given_up = int(row["files_given_up"])
        yield text + (f", {given_up} cannot be restored." if given_up else ".")
