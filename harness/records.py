"""The rows that a run writes: appended as they come, read back with their schema version checked."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
import pandas as pd

from harness.documents import Count, DocumentError, Figure, Positive
from harness.errors import Cause, HarnessError, cause_of
from harness.files import read_bytes
from harness.rows import check_rows

SCHEMA_VERSION = 3
"""Since 1: latencies, cpu_seconds, worker_seconds, retries. Since 2: cause, attempt, and `HELD_SINCE`."""

HELD_SINCE = 3
"""The first schema whose reads were taken by readers that hold data sets and arrays open, as their libraries mean it.

Readers of earlier rows opened an HDF5 data set, and so a new chunk cache, for each read, and looked up each Zarr array
anew; their times do not compare formats with equal effort.
"""

BREAKDOWN_VERSION = 2  # since 1: cause, attempt
CONTENTION_VERSION = 2  # since 1: cause, attempt

_SYNC_EVERY = 1.0  # seconds; waiting for the disk after every sample would take longer than many samples do

Status = Literal["ok", "failed", "rejected", "skipped"]

Time = Annotated[float, msgspec.Meta(ge=1e-9, le=1.7976931348623157e308)]
"""Seconds by a clock that counts nanoseconds; what was measured took one at least."""

Times = Annotated[str, msgspec.Meta(pattern=r"(\d[\d.e+-]*( \d[\d.e+-]*)*)?")]
"""Numbers, separated by blanks."""


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


class Mark(NamedTuple):
    """What the row in force of a cell and round says of how it ended; see `in_force`."""

    status: Status
    cause: Cause = ""
    attempt: int = 1

    @property
    def final(self) -> bool:
        """Whether it leaves its cell without a figure for good."""
        return self.status in ("failed", "skipped") and not self.cause


@dataclass(frozen=True)
class NoFigure:
    """Why a cell has no figure: three columns of its row."""

    status: Status
    reason: str
    cause: Cause = ""

    @classmethod
    def of(cls, error: Exception, doing: str = "") -> NoFigure:
        """Tell the failure of something, which `doing` may name."""
        return cls("failed", doing + str(error).rstrip("."), cause_of(error))


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of a run starts with; None is an empty field: a figure that does not apply or could not be had.

    Every row also ends with a status, its reason, and

    - ``cause``: ``machine`` where a failure is none of the format, as on a full disk; such a row is taken again by
      ``--resume``. Empty otherwise.
    - ``attempt``: from 1. A round of an access that was cut off, or in which the machine failed, is taken again for all
      formats; rows of the earlier attempt stay in the file and are superseded, see `in_force`.

    Attributes
    ----------
    called : str
        What a file of such rows is called in messages.
    added : dict of int to tuple of str
        The columns that each version after the first has added; in files of earlier versions they are empty.
    """

    called: ClassVar[str]
    added: ClassVar[dict[int, tuple[str, ...]]] = {}

    run_id: str
    suite: str
    access: str
    trace: str
    n_res: Positive | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: Positive
    round: Count
    position: Count

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

    Of several workers: ``seconds`` runs from the first start to the last end, ``latency_*_seconds`` are the 50th, 95th
    and 99th percentile over every single read of all workers, ``worker_seconds`` the time of each worker's share, in
    the order of shares and separated by blanks, and ``cpu_seconds`` the processor time of all threads of the reading
    processes meanwhile. A Dask worker reads a little of its own, which ``bytes_read`` has too.

    Of a run that reads from an object store, ``bytes_read`` and ``requests`` are those of the store's client: bodies
    that arrived, and every request that was sent; ``retries`` of them were sent again after a fault.
    """

    called = "a sample file"
    added: ClassVar[dict[int, tuple[str, ...]]] = {
        2: (
            "latency_p50_seconds",
            "latency_p95_seconds",
            "latency_p99_seconds",
            "cpu_seconds",
            "worker_seconds",
            "retries",
        ),
        3: ("cause", "attempt"),
    }

    seconds: Time | None = None
    open_seconds: Figure | None = None
    bytes_requested: Count | None = None
    bytes_returned: Count | None = None
    bytes_read: Count | None = None
    files_opened: Count | None = None
    requests: Count | None = None
    resident_fraction: Figure | None = None
    peak_rss_bytes: Count | None = None
    load_average: Figure | None = None
    verified: bool | None = None
    status: Status = "ok"
    reason: str = ""
    size_bytes: Count | None = None
    files: Count | None = None
    native_bytes: Count | None = None
    latency_p50_seconds: Figure | None = None
    latency_p95_seconds: Figure | None = None
    latency_p99_seconds: Figure | None = None
    cpu_seconds: Figure | None = None
    worker_seconds: Times = ""
    retries: Count | None = None
    cause: Cause = ""
    attempt: Positive = 1
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where the time of a warm read access goes, found apart from its samples.

    Times are in seconds and add up over the reads of the access. ``total_seconds`` is taken as a sample's
    ``seconds`` is, but in a process that keeps the memory it has freed, so a sample that gets its memory fresh from
    the kernel takes longer. The parts are taken by replay: ``metadata`` is the library's lookup of the tensor;
    ``file_read`` opens and reads the stored bytes that the read needs; ``decode`` calls the codec on them, on one
    thread; ``copy`` puts the values into a new array of the result's shape. ``rest`` is what is left of the total:
    the library's own work. It is negative where the library does better than the steps one after the other, as by
    working on several threads or by reading straight into the result. ``stored_bytes`` lie in ``extents`` pieces,
    each counted as often as it is read, of ``files`` different files.
    """

    total_seconds: Time | None = None
    open_seconds: Figure | None = None
    metadata_seconds: Figure | None = None
    file_read_seconds: Figure | None = None
    decode_seconds: Figure | None = None
    copy_seconds: Figure | None = None
    rest_seconds: float | None = None
    stored_bytes: Count | None = None
    extents: Count | None = None
    files: Count | None = None
    bytes_requested: Count | None = None
    status: Status = "ok"
    reason: str = ""
    cause: Cause = ""


@dataclass(frozen=True, kw_only=True)
class Breakdown(Parts, Row):
    """One row of ``breakdown.csv``."""

    called = "a breakdown file"
    added: ClassVar[dict[int, tuple[str, ...]]] = {2: ("cause", "attempt")}

    attempt: Positive = 1
    schema_version: int = BREAKDOWN_VERSION


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What threads that read together wait for, found apart from the samples.

    Times are in seconds. ``wall_seconds`` runs from the common start to the last end, ``cpu_seconds`` is the processor
    time of the whole process meanwhile, ``reader_cpu_seconds`` that of the reading threads, and
    ``busiest_thread_seconds`` that of ``busiest_thread``, the busiest of all other threads of Python: a library that
    does its work on one thread of its own shows there. ``lock_held`` of ``lock_looks`` looks, taken every half
    millisecond, found the lock taken that the format's library holds while it reads; both are empty for a library
    that has no such lock.
    """

    wall_seconds: Time | None = None
    cpu_seconds: Figure | None = None
    reader_cpu_seconds: Figure | None = None
    busiest_thread: str = ""
    busiest_thread_seconds: Figure | None = None
    lock: str = ""
    lock_looks: Count | None = None
    lock_held: Count | None = None
    interpreter_lock: bool | None = None
    status: Status = "ok"
    reason: str = ""
    cause: Cause = ""


@dataclass(frozen=True, kw_only=True)
class Contention(Waits, Row):
    """One row of ``contention.csv``."""

    called = "a contention file"
    added: ClassVar[dict[int, tuple[str, ...]]] = {2: ("cause", "attempt")}

    attempt: Positive = 1
    schema_version: int = CONTENTION_VERSION


AnyRow = TypeVar("AnyRow", bound=Row)

KEY_COLUMNS = ["run_id", *CellKey._fields]


def columns(row: type[Row]) -> list[str]:
    """List the columns of a file of rows."""
    return [field.name for field in dataclasses.fields(row)]


COLUMNS = columns(Sample)
BREAKDOWN_COLUMNS = columns(Breakdown)
_TEXT_TOO = ["worker_seconds", "lock", "busiest_thread"]


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


class BreakdownFile(RowFile[Breakdown]):
    """``breakdown.csv``, open for more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Breakdown)


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
    rows = _read_rows(path, Sample)
    return rows if superseded else in_force(rows)


def read_breakdown(path: Path, *, superseded: bool = False) -> pd.DataFrame:
    """Read ``breakdown.csv``; as `read_samples`, one row for each cell and round of `Breakdown`."""
    rows = _read_rows(path, Breakdown)
    return rows if superseded else in_force(rows)


def read_contention(path: Path, *, superseded: bool = False) -> pd.DataFrame:
    """Read ``contention.csv``; as `read_samples`, one row for each cell and round of `Contention`."""
    rows = _read_rows(path, Contention)
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


def _read_rows(path: Path, row: type[Row]) -> pd.DataFrame:
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
    for values in in_force(_read_rows(path, row)).to_dict("records"):
        cell: dict[str, Any] = {name: values[name] for name in CellKey._fields}
        cell["n_res"] = None if pd.isna(cell["n_res"]) else int(cell["n_res"])
        cell["workers"] = int(cell["workers"])
        mark = Mark(values["status"], values["cause"], int(values["attempt"]))
        found.setdefault(CellKey(**cell), {})[int(values["round"])] = mark
    return found
