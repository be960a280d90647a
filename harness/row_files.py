"""Files of rows: appended as they come, read back with their schema version checked."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import time
from pathlib import Path
from typing import Any, Generic

import numpy as np
import pandas as pd

from harness.documents import DocumentError
from harness.errors import HarnessError
from harness.files import read_bytes
from harness.records import AnyRow, CellKey, Mark, Row, Sample, columns
from harness.rows import check_rows

_SYNC_EVERY = 1.0  # seconds; waiting for the disk after every sample would take longer than many samples do
_TEXT_TOO = ["worker_seconds"]


class RowFile(Generic[AnyRow]):
    """Appends rows to a CSV file; a killed process loses none, a crashed machine those of the last second.

    Parameters
    ----------
    path : Path
        Created with a header when it does not exist. A last line that was cut off by a kill is dropped.
    row : type
        What rows it takes.
    """

    def __init__(self, path: Path, row: type[AnyRow]) -> None:
        self._path = path
        if not path.exists() or not path.read_bytes().endswith(b"\n"):
            self._mend()
        self._require_columns(row)
        self._handle = path.open("a", newline="")
        self._synced = time.monotonic()
        self._writer = csv.DictWriter(self._handle, columns(row))
        if path.stat().st_size == 0:
            self._writer.writeheader()
            self._handle.flush()

    def _mend(self) -> None:
        if self._path.exists():
            text = self._path.read_bytes()
            with self._path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)

    def _require_columns(self, row: type[AnyRow]) -> None:
        """Refuse to put rows under the header of an earlier version."""
        header = self._path.open().readline().strip() if self._path.exists() else ""
        if header and header.split(",") != columns(row):
            raise HarnessError(
                f"{self._path} was begun by another version of the harness, whose rows have other columns: start a "
                "new run."
            )

    def add(self, row: AnyRow) -> None:
        """Append one row."""
        self._writer.writerow({k: "" if v is None else v for k, v in dataclasses.asdict(row).items()})
        self._handle.flush()
        if time.monotonic() - self._synced > _SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._handle.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file, with all of it on disk."""
        self._sync()
        self._handle.close()


class SampleFile(RowFile[Sample]):
    """``samples.csv``, open for more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Sample)


def read_samples(path: Path, *, superseded: bool = False) -> pd.DataFrame:
    """Read ``samples.csv``.

    Parameters
    ----------
    path : Path
        The file.
    superseded : bool
        Give every row as recorded; without it only those that are in force, which is what figures are made of.

    Returns
    -------
    DataFrame
        One row a sample; text columns hold ``""`` where empty, numeric ones NaN.

    Raises
    ------
    HarnessError
        When the file is missing, is not a sample file, or has a schema version this reader does not know.
    """
    rows = read_rows(path, Sample)
    return rows if superseded else in_force(rows)


def in_force(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows that figures are made of: of each cell and round the last attempt, in the order of the file.

    Parameters
    ----------
    rows : DataFrame
        From a file of rows, with those of all attempts.

    Returns
    -------
    DataFrame
        Without those that a later attempt supersedes. Two rows of one attempt are both there, for who looks for them.
    """
    if (rows["attempt"] == 1).all():
        return rows
    last = rows.groupby([*CellKey._fields, "round"], dropna=False)["attempt"].transform("max")
    return rows[rows["attempt"] == last].reset_index(drop=True)


def read_rows(path: Path, row: type[Row]) -> pd.DataFrame:
    """Read every row of a file of rows as recorded; as `read_samples`, with `in_force` for those that count."""
    text = ["run_id", "suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason", "cause"]
    text += [name for name in _TEXT_TOO if name in columns(row)]
    known = next(field.default for field in dataclasses.fields(row) if field.name == "schema_version")
    try:
        frame = pd.read_csv(
            io.BytesIO(read_bytes(path)),
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={c: [""] for c in columns(row) if c not in text},
        )
    except FileNotFoundError as error:
        raise HarnessError(f"There is no {path}; name the folder of a run that 'harness run' has written.") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DocumentError(f"{path} is not {row.called}: {str(error).strip().rstrip('.')}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise DocumentError(f"{path} is not {row.called}: its rows have more fields than its header.")
    versions = sorted({str(v) for v in frame["schema_version"]}) if "schema_version" in frame else ["none"]
    if len(versions) > 1 or set(versions) - {"1", *map(str, row.added), str(known)}:
        reads = f"version {known}" + (" and those before it" if row.added else "")
        raise DocumentError(f"{path} has schema version {', '.join(versions)}; this reader knows {reads}.")
    version = int(versions[0]) if versions else 1  # a file without rows may be of any
    later = {name for number, names in row.added.items() if number > version for name in names}
    if extra := [column for column in frame if column not in columns(row)]:
        raise DocumentError(f"{path} is not {row.called}: it has a column {extra[0]!r}, which no version knows.")
    if lost := [column for column in columns(row) if column not in frame and column not in later]:
        raise DocumentError(f"{path} is not {row.called} of schema version {version}: it has no column {lost[0]!r}.")
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(row)}
    for name in sorted(later - set(frame)):
        frame[name] = np.nan if defaults[name] is None else defaults[name]
    check_rows(frame, row, path)
    return frame


def done(path: Path, row: type[Row] = Sample) -> dict[CellKey, dict[int, Mark]]:
    """List what a file of rows already holds, for ``--resume``.

    Parameters
    ----------
    path : Path
        The file; may be missing.
    row : type
        What rows it holds.

    Returns
    -------
    dict
        For each cell, how each round ended.
    """
    if not path.exists():
        return {}
    found: dict[CellKey, dict[int, Mark]] = {}
    for values in in_force(read_rows(path, row)).to_dict("records"):
        cell: dict[str, Any] = {name: values[name] for name in CellKey._fields}
        cell["n_res"] = None if pd.isna(cell["n_res"]) else int(cell["n_res"])
        cell["workers"] = int(cell["workers"])
        mark = Mark(values["status"], values["cause"], int(values["attempt"]))
        found.setdefault(CellKey(**cell), {})[int(values["round"])] = mark
    return found
