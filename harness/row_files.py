"""CSV files of rows: append rows as they are measured, and read them with schema version and every value checked."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
import time
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic

import msgspec
import numpy as np
import pandas as pd

from harness.documents import DocumentError, convert
from harness.errors import HarnessError
from harness.files import read_bytes
from harness.records import AnyRow, CellKey, Mark, Row, Sample, columns

_SYNC_EVERY = 1.0  # seconds; waiting for the disk after every sample would take longer than many samples do
_TEXT = (
    "run_id", "suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason", "cause",
    "worker_seconds", "slim", "reader", "effort",
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class RowFile(Generic[AnyRow]):
    """A CSV file to append rows to; a killed process loses no row, a crashed machine those of the last second.

    Parameters
    ----------
    path : Path
        Created with a header if it does not exist. An incomplete last line, left by a killed process, is removed.
    row : type
        Type of its rows. A file of another version, whose rows have other columns, raises `HarnessError`.
    """

    def __init__(self, path: Path, row: type[AnyRow]) -> None:
        if path.exists() and not (text := path.read_bytes()).endswith(b"\n"):
            os.truncate(path, text.rfind(b"\n") + 1)
        self._handle = path.open("a+", newline="")
        self._handle.seek(0)
        header = self._handle.readline().strip()
        self._synced = time.monotonic()
        self._writer = csv.DictWriter(self._handle, columns(row))
        if header and header.split(",") != columns(row):
            self._handle.close()
            raise HarnessError(
                f"{path} was written by another version of the harness, whose rows have other columns: start a new run."
            )
        if not header:
            self._writer.writeheader()
            self._handle.flush()

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
        """Write everything to disk, and close the file."""
        self._sync()
        self._handle.close()


class SampleFile(RowFile[Sample]):
    """``samples.csv``, open for appending."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Sample)


def read_samples(path: Path, *, superseded: bool = False) -> pd.DataFrame:
    """Read ``samples.csv``.

    Parameters
    ----------
    path : Path
        The file.
    superseded : bool
        Return every row as recorded; by default only the rows in force, from which figures are computed.

    Returns
    -------
    DataFrame
        One row per sample. Empty fields are ``""`` in text columns, and NaN in numeric ones.

    Raises
    ------
    HarnessError
        If the file is missing, is not a sample file, or has a schema version that this reader does not know.
    """
    rows = read_rows(path, Sample)
    return rows if superseded else in_force(rows)


def in_force(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows from which figures are computed: the last attempt of each cell and round, in file order.

    Duplicate rows of one attempt are all kept, so that a check can find them.
    """
    if (rows["attempt"] == 1).all():
        return rows
    last = rows.groupby([*CellKey._fields, "round"], dropna=False)["attempt"].transform("max")
    return rows[rows["attempt"] == last].reset_index(drop=True)


def read_rows(path: Path, row: type[Row]) -> pd.DataFrame:
    """Read every row of a file as recorded; like `read_samples`, with `in_force` to select the rows that count."""
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(row)}
    text = [name for name in _TEXT if name in defaults]
    try:
        frame = pd.read_csv(
            io.BytesIO(read_bytes(path)),
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={name: [""] for name in defaults if name not in text},
        )
    except FileNotFoundError as error:
        raise HarnessError(f"There is no {path}; name the folder of a run that 'harness run' has written.") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DocumentError(f"{path} is not {row.called}: {str(error).strip().rstrip('.')}.") from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise DocumentError(f"{path} is not {row.called}: its rows have more fields than its header.")
    known = defaults["schema_version"]
    versions = sorted({str(v) for v in frame["schema_version"]}) if "schema_version" in frame else ["none"]
    if len(versions) > 1 or set(versions) - {"1", *map(str, row.added), str(known)}:
        reads = f"version {known}" + (" and those before it" if row.added else "")
        raise DocumentError(f"{path} has schema version {', '.join(versions)}; this reader knows {reads}.")
    version = int(versions[0]) if versions else 1  # a file without rows may be of any version
    later = {name for number, names in row.added.items() if number > version for name in names}
    if extra := [column for column in frame if column not in defaults]:
        raise DocumentError(f"{path} is not {row.called}: it has a column {extra[0]!r}, which no version has.")
    if lost := [column for column in defaults if column not in frame and column not in later]:
        raise DocumentError(f"{path} is not {row.called} of schema version {version}: it has no column {lost[0]!r}.")
    for name in sorted(later - set(frame)):
        frame[name] = np.nan if defaults[name] is None else defaults[name]
    _check(frame, row, path)
    return frame


def _check(frame: pd.DataFrame, row: type[Row], path: Path) -> None:
    """Check every value against the type and range of its column, by the same rules as for stored documents."""
    hints = typing.get_type_hints(row, include_extras=True)
    for name in map(str, frame):
        different = frame[name].drop_duplicates()
        values = [value if name in _TEXT else _plain(value) for value in different.tolist()]
        try:
            msgspec.convert(values, list[hints[name]])  # type: ignore[valid-type]
        except msgspec.ValidationError as problem:
            at = int(re.findall(r"\$\[(\d+)\]", str(problem))[0])
            before = frame.iloc[: different.index[at]].select_dtypes(exclude="number")
            # A reason may contain line breaks.
            line = int(different.index[at]) + 2 + sum(str(value).count("\n") for value in before.to_numpy().flat)
            convert(values[at], hints[name], f"{path}, line {line}, column {name}")


def _plain(value: Any) -> Any:
    """Return a value in the type that msgspec checks; one text in a column makes pandas read all its values as text."""
    if isinstance(value, str):
        word = {"": None, "True": True, "False": False}.get(value, value)
        value = float(value) if _NUMBER.fullmatch(value) else word
    if isinstance(value, float) and np.isnan(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def closed(values: Mapping[Any, Any]) -> float | None:
    """Return the seconds of a row from a closed archive, opening included; None if it has no time."""
    seconds, opening = values.get("seconds"), values.get("open_seconds")
    if seconds is None or np.isnan(seconds):
        return None
    return float(seconds) + (0.0 if opening is None or np.isnan(opening) else float(opening))


def done(path: Path, row: type[Row] = Sample) -> dict[CellKey, dict[int, Mark]]:
    """Return the outcome of each round of each cell in a file of rows, for ``--resume``; empty without the file."""
    found: dict[CellKey, dict[int, Mark]] = {}
    if not path.exists():
        return found
    for values in in_force(read_rows(path, row)).to_dict("records"):
        seconds = closed(values) if values["status"] == "ok" else None
        mark = Mark(values["status"], values["cause"], int(values["attempt"]), seconds)
        found.setdefault(CellKey.of(values), {})[int(values["round"])] = mark
    return found
