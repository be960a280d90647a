"""How small result directories become: each as it was written and in each mode, beside what was published elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from harness.analysis.summary import COLUMNS, SUMMARY_SCHEMA_VERSION
from harness.extensions.result_directories.asked import ACCESS, DIRECTORY_MODES, VANILLA
from harness.extensions.result_directories.record import DIRECTORIES, read_directories
from harness.records import KEY_COLUMNS

SOURCE = "AlphaPulldown, pull request 627"


class Published(NamedTuple):
    """What a published mode of storage saves, on data of its own: sizes and change as they were published."""

    program: str
    before: str
    after: str
    change_percent: int


PUBLISHED = {
    "af2": Published("AlphaFold2", "254M", "148M", -42),
    "af3": Published("AlphaFold3", "628M", "107M", -83),
}
"""Of mode slim of `SOURCE`, on its directory plasmodium_hap2; that mode drops arrays which have no other copy."""

_COUNTS = [
    "size_bytes", "files", "files_restored", "files_given_up", "files_need_unslim", "values_compared", "values_same",
    "values_dropped",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectorySizes:
    """The result directories of a run.

    Attributes
    ----------
    cells : DataFrame
        Rows for ``summary.csv``: one for each directory and mode, with the ratio to the directory as it was written.
    table : DataFrame
        The same with what was restored and read, and after them the published figures.
    kinds : dict of str to str
        What made each directory, by its label.
    """

    cells: pd.DataFrame
    table: pd.DataFrame
    kinds: dict[str, str]


def is_directory(samples: pd.DataFrame) -> pd.Series:
    """Tell the samples of result directories from those of formats."""
    return samples["access"] == ACCESS


def find_directories(folder: Path, samples: pd.DataFrame) -> DirectorySizes | None:
    """Arrange the samples of result directories.

    Parameters
    ----------
    folder : Path
        The run's folder.
    samples : DataFrame
        Of the run.

    Returns
    -------
    DirectorySizes or None
        None for a run without any.

    Raises
    ------
    HarnessError
        When ``directories.json`` is missing or damaged.
    """
    found = samples[is_directory(samples)].to_dict("records")
    if not found:
        return None
    path = folder / DIRECTORIES
    measured = any(row["status"] == "ok" for row in found)
    facts = {each["directory"]: each for each in read_directories(path)} if measured or path.exists() else {}
    written = {row["trace"]: row["size_bytes"] for row in found if row["format"] == VANILLA and row["status"] == "ok"}
    cells = [_cell(row, written.get(row["trace"])) for row in found]
    rows = [_row(cell, facts.get(cell["trace"], {})) for cell in cells] + _published(facts)
    table = pd.DataFrame(rows).astype(dict.fromkeys(_COUNTS, "Int64"))
    if _is_earlier(facts):
        table = table.drop(columns="files_need_unslim")
    return DirectorySizes(
        cells=pd.DataFrame(cells, columns=COLUMNS).astype(dict.fromkeys(("size_bytes", "files"), "Int64")),
        table=table,
        kinds={name: str(each["kind"]) for name, each in facts.items()},
    )


def _is_earlier(facts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether the run is of a version that did not record which files tools cannot read."""
    modes = [mode for found in facts.values() for name, mode in found["modes"].items() if name != VANILLA]
    return not all("files_need_unslim" in mode for mode in modes)


def _cell(row: Mapping[Any, Any], written: float | None) -> dict[str, Any]:
    cell: dict[str, Any] = dict.fromkeys(COLUMNS) | {key: row[key] for key in KEY_COLUMNS}
    good = row["status"] == "ok"
    cell.update(
        n_res=None,
        samples=int(good),
        status=row["status"],
        reason=row["reason"],
        schema_version=SUMMARY_SCHEMA_VERSION,
    )
    if good:
        cell.update(size_bytes=int(row["size_bytes"]), files=int(row["files"]))
    if good and written and row["format"] != VANILLA:
        cell.update(ratio=row["size_bytes"] / written, baseline=VANILLA)
    return cell


def _row(cell: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    found: Mapping[str, Any] = facts.get("modes", {}).get(cell["format"], {}) if cell["status"] == "ok" else {}
    listed = {name: len(found[name]) if name in found else None for name in ("files_given_up", "files_need_unslim")}
    return {
        "directory": cell["trace"],
        "program": facts.get("program"),
        "mode": cell["format"],
        "bound_angstrom": found.get("bound"),
        "size_bytes": cell["size_bytes"],
        "files": cell["files"],
        "change_percent": None if cell["ratio"] is None else round(100 * (cell["ratio"] - 1), 1),
        "files_restored": found.get("files_restored"),
        **listed,
        **{name: found.get(name) for name in ("values_compared", "values_same", "values_dropped")},
        "largest_error_angstrom": found.get("largest_error"),
        **{name: cell[name] for name in ("status", "reason")},
        "source": "this run",
    }


def _published(facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the published figures of the programs that made the run's directories, with no bytes that nobody counted."""
    kinds = dict.fromkeys(found["kind"] for found in facts.values())
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
        for found in (PUBLISHED[kind] for kind in kinds if kind in PUBLISHED)
    ]


def modes_of(table: pd.DataFrame, directory: str) -> dict[str, dict[str, Any]]:
    """Return the rows of one directory of this run, by mode in the order of `DIRECTORY_MODES`."""
    rows = table[(table["directory"] == directory) & (table["source"] == "this run")]
    found = {str(row["mode"]): {str(k): v for k, v in row.items()} for row in rows.to_dict("records")}
    return {mode: found[mode] for mode in DIRECTORY_MODES if mode in found}
