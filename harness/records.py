"""The rows that a run writes: appended as they come, read back with their schema version checked."""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import pandas as pd

from harness.errors import HarnessError

SCHEMA_VERSION = 1
STORE_SCHEMA_VERSION = 2  # since 1: retries
BREAKDOWN_VERSION = 1

_SYNC_EVERY = 1.0  # seconds; waiting for the disk after every sample would take longer than many samples do

Status = Literal["ok", "failed", "rejected", "skipped"]


class CellKey(NamedTuple):
    """What all samples of a cell share, apart from the run."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of a run starts with; None is an empty field: a figure that does not apply or could not be had.

    Attributes
    ----------
    called : str
        What a file of such rows is called in messages.
    """

    called: ClassVar[str]

    run_id: str
    suite: str
    access: str
    trace: str
    n_res: int | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: int
    round: int
    position: int

    @property
    def key(self) -> CellKey:
        """The cell this row belongs to."""
        return CellKey(*(getattr(self, name) for name in CellKey._fields))


@dataclass(frozen=True, kw_only=True)
class Sample(Row):
    """One row of ``samples.csv``.

    Times are in seconds, sizes in bytes. ``bytes_read`` and ``requests`` are the process's read calls (``rchar`` and
    ``syscr`` of ``/proc/self/io``), which a mapped file does not show; ``files_opened`` is counted by inotify in the
    discarded read of the same plan. ``native_bytes`` counts 2 bytes for each value of a float32 tensor whose values
    are all exactly representable in bfloat16.
    """

    called = "a sample file"

    seconds: float | None = None
    open_seconds: float | None = None
    bytes_requested: int | None = None
    bytes_returned: int | None = None
    bytes_read: int | None = None
    files_opened: int | None = None
    requests: int | None = None
    resident_fraction: float | None = None
    peak_rss_bytes: int | None = None
    load_average: float | None = None
    verified: bool | None = None
    status: Status = "ok"
    reason: str = ""
    size_bytes: int | None = None
    files: int | None = None
    native_bytes: int | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Breakdown(Row):
    """One row of ``breakdown.csv``: where the time of a warm read access goes, found apart from its samples.

    Times are in seconds and add up over the reads of the access. ``total_seconds`` is taken as a sample's
    ``seconds`` is, but in a process that keeps the memory it has freed, so a sample that gets its memory fresh from
    the kernel takes longer. The parts are taken by replay: ``metadata`` is the library's lookup of the tensor;
    ``file_read`` opens and reads the stored bytes that the read needs; ``decode`` calls the codec on them, on one
    thread; ``copy`` puts the values into a new array of the result's shape. ``rest`` is what is left of the total:
    the library's own work. It is negative where the library does better than the steps one after the other, as by
    working on several threads or by reading straight into the result. ``stored_bytes`` lie in ``extents`` pieces,
    each counted as often as it is read, of ``files`` different files.
    """

    called = "a breakdown file"

    total_seconds: float | None = None
    open_seconds: float | None = None
    metadata_seconds: float | None = None
    file_read_seconds: float | None = None
    decode_seconds: float | None = None
    copy_seconds: float | None = None
    rest_seconds: float | None = None
    stored_bytes: int | None = None
    extents: int | None = None
    files: int | None = None
    bytes_requested: int | None = None
    status: Status = "ok"
    reason: str = ""
    schema_version: int = BREAKDOWN_VERSION


@dataclass(frozen=True, kw_only=True)
class StoreSample(Sample):
    """One row of the ``samples.csv`` of a run that reads from an object store.

    ``bytes_read`` and ``requests`` are those of the store's client: bodies that arrived, and every request
    that was sent. ``retries`` of them were sent again after a fault.
    """

    retries: int | None = None
    schema_version: int = STORE_SCHEMA_VERSION


AnyRow = TypeVar("AnyRow", bound=Row)

KEY_COLUMNS = ["run_id", *CellKey._fields]


def columns(row: type[Row]) -> list[str]:
    """List the columns of a file of rows."""
    return [field.name for field in dataclasses.fields(row)]


COLUMNS = columns(Sample)
BREAKDOWN_COLUMNS = columns(Breakdown)


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
    """``samples.csv``, open for more.

    Parameters
    ----------
    path : Path
        As for `RowFile`.
    row : type
        `StoreSample` for a run that reads from a store.
    """

    def __init__(self, path: Path, row: type[Sample] = Sample) -> None:
        super().__init__(path, row)


class BreakdownFile(RowFile[Breakdown]):
    """``breakdown.csv``, open for more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Breakdown)


def read_samples(path: Path) -> pd.DataFrame:
    """Read ``samples.csv``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DataFrame
        One row a sample; text columns hold ``""`` where empty, numeric ones NaN.

    Raises
    ------
    HarnessError
        When the file is missing, is not a sample file, or has a schema version this reader does not know.
    """
    return _read_rows(path, Sample)


def read_breakdown(path: Path) -> pd.DataFrame:
    """Read ``breakdown.csv``; as `read_samples`, one row for each cell and round of `Breakdown`."""
    return _read_rows(path, Breakdown)


def _read_rows(path: Path, row: type[Row]) -> pd.DataFrame:
    text = ["run_id", "suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason"]
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={c: [""] for c in {*columns(row), *columns(StoreSample)} if c not in text},
        )
    except FileNotFoundError as error:
        raise HarnessError(f"There is no {path}; name the folder of a run that 'harness run' has written.") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise HarnessError(f"{path} is not {row.called}: {error}.") from error
    versions = sorted({str(v) for v in frame["schema_version"]}) if "schema_version" in frame else ["none"]
    kinds = {_version(kind): kind for kind in ((row, StoreSample) if row is Sample else (row,))}
    if versions and (len(versions) > 1 or versions[0] not in kinds):
        known = " and ".join(kinds)
        raise HarnessError(f"{path} has schema version {', '.join(versions)}; this reader knows version {known}.")
    kind = kinds[versions[0]] if versions else row
    if lost := [column for column in columns(kind) if column not in frame]:
        raise HarnessError(
            f"{path} is not {row.called} of schema version {_version(kind)}: it has no column {lost[0]!r}."
        )
    return frame


def _version(row: type[Row]) -> str:
    return str(next(field.default for field in dataclasses.fields(row) if field.name == "schema_version"))


def done(path: Path, row: type[Row] = Sample) -> dict[CellKey, dict[int, Status]]:
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
        For each cell, the status of each round.
    """
    if not path.exists():
        return {}
    found: dict[CellKey, dict[int, Status]] = {}
    for values in _read_rows(path, row).to_dict("records"):
        cell: dict[str, Any] = {name: values[name] for name in CellKey._fields}
        cell["n_res"] = None if pd.isna(cell["n_res"]) else int(cell["n_res"])
        cell["workers"] = int(cell["workers"])
        found.setdefault(CellKey(**cell), {})[int(values["round"])] = values["status"]
    return found
