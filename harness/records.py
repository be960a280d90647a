"""Rows that a run writes: their columns, and values with a fixed meaning in these columns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

import msgspec

from harness.documents import Count, Figure, Positive
from harness.errors import Cause, cause_of

SCHEMA_VERSION = 4
"""Version 2 added latencies, cpu_seconds, worker_seconds, retries. Version 3 added cause, attempt, and `HELD_SINCE`.
Version 4 added slim, reader, threads and effort, has `cpu_seconds` of one thread too, and its verdicts are on opening
and reading together."""

HELD_SINCE = 3
"""The first schema version whose readers keep datasets and arrays open, as their libraries intend.

Earlier readers opened an HDF5 dataset, and so a new chunk cache, for each read, and looked up each Zarr array again.
Their times do not compare formats with equal effort.
"""


RAW = "raw"
"""In the column ``format``: the raw ceiling, the same bytes in one flat file."""

CONTROL = "a/a"
"""In the column ``format``: the A/A control, the run's baseline measured a second time."""

REMOTE = "remote"
"""In the column ``cache``: reads from a store. The harness caches nothing that was read; the store may."""

LUKEWARM = "lukewarm"
"""In the column ``cache``: evicted from this host's page cache, on a filesystem where others may cache the data."""

EVICTED = frozenset({"cold", LUKEWARM})
"""Cache states for which an archive is evicted, before a sample, from the page cache of the host that reads."""

VERDICT_ROUNDS = 10
"""Least number of rounds of a comparison that may have a verdict."""

Status = Literal["ok", "failed", "rejected", "skipped"]

Time = Annotated[float, msgspec.Meta(ge=1e-9, le=1.7976931348623157e308)]
"""Seconds from a clock that counts nanoseconds; a measured time is at least one nanosecond."""

Times = Annotated[str, msgspec.Meta(pattern=r"\A(\d[\d.e+-]*( \d[\d.e+-]*)*)?\Z")]
"""Numbers, separated by blanks."""


Kind = Literal["format", "ceiling", "control"]
"""Kind of an arm: a compared format, the raw ceiling that the machine sets, or the A/A control of the run's noise."""


def kind_of(label: str) -> Kind:
    """Return the kind of an arm, from the column ``format`` of its rows."""
    return "ceiling" if label == RAW else "control" if label == CONTROL else "format"


Effort = Literal["", "stock", "best", "both"]
"""What a contender represents: only itself (empty), its format as installed, the format at its best, or both."""


class Contender(NamedTuple):
    """A format in one profile, slimmed or not, read by one reader within a budget of threads.

    The raw ceiling and the A/A control make no claim about a format. The last three fields are unknown before schema 4.
    """

    format: str
    profile: str
    slim: str = ""
    reader: str = ""
    threads: int | None = None

    @property
    def is_ceiling(self) -> bool:
        """Whether it is the raw ceiling."""
        return kind_of(self.format) == "ceiling"

    @property
    def is_control(self) -> bool:
        """Whether it is the A/A control."""
        return kind_of(self.format) == "control"

    @property
    def competes(self) -> bool:
        """Whether its results are a claim about a format."""
        return kind_of(self.format) == "format"

    @property
    def label(self) -> str:
        """Format, profile and reader, as the ``baseline`` column shows them."""
        return f"{self.format} ({', '.join(filter(None, (self.profile, self.reader)))})"


class CellKey(NamedTuple):
    """Key of a cell within a run: the values that all its samples share."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: int
    slim: str = ""
    reader: str = ""
    threads: int | None = None

    @classmethod
    def of(cls, values: Mapping[Any, Any]) -> CellKey:
        """Return the key of a table's row, in which unknown values are NaN or None."""
        found = {name: values[name] for name in cls._fields}
        for name in ("n_res", "workers", "threads"):
            none = found[name] is None or math.isnan(found[name])
            found[name] = None if none else int(found[name])
        return cls(**found)

    @property
    def contender(self) -> Contender:
        """The contender that was measured."""
        return Contender(self.format, self.profile, self.slim, self.reader, self.threads)


class Mark(NamedTuple):
    """Outcome of a cell in a round, from the row in force, and its seconds from a closed archive."""

    status: Status
    cause: Cause = ""
    attempt: int = 1
    seconds: float | None = None

    @property
    def final(self) -> bool:
        """Whether its cell remains without a figure, even if the run is continued."""
        return self.status in ("failed", "skipped") and not self.cause


@dataclass(frozen=True)
class NoFigure:
    """The reason why a cell has no figure, as three columns of its row."""

    status: Status
    reason: str
    cause: Cause = ""

    @classmethod
    def of(cls, error: Exception, doing: str = "") -> NoFigure:
        """Return the failure that an error describes; `doing` is put before its message."""
        return cls("failed", doing + str(error).rstrip("."), cause_of(error))


CONTENDER_COLUMNS = ("slim", "reader", "threads")
"""Columns on the contender that every row has since readers are compared."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """First columns of every row of a run; None is an empty field, if a figure does not apply or was not found.

    Every row also ends with a status, its reason, and

    - ``cause``: ``machine`` if the machine failed and not the format, as on a full disk; ``--resume`` measures such a
      row again. Empty otherwise.
    - ``attempt``: counts from 1. If a round of an access was interrupted, or the machine failed in it, it is measured
      again for all formats. Rows of the earlier attempt stay in the file, but are superseded; see `in_force`.

    Attributes
    ----------
    called : str
        Name of a file of such rows in messages.
    file : str
        File name in a run's folder.
    figures : tuple of str
        Columns of which a row with the status ``ok`` has at least one.
    added : dict of int to tuple of str
        Columns that each version after the first added; they are empty in files of earlier versions.
    """

    called: ClassVar[str]
    file: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    added: ClassVar[dict[int, tuple[str, ...]]] = {}

    run_id: str
    suite: str
    access: str
    trace: str
    n_res: Positive | None
    format: str
    profile: str
    slim: str = ""
    reader: str = ""
    threads: Positive | None = None
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

    With several workers, ``seconds`` runs from the first start to the last end. ``latency_*_seconds`` are the 50th,
    95th and 99th percentile over every single read of all workers. ``worker_seconds`` has the time of each worker's
    share, in the order of shares, separated by blanks. ``cpu_seconds`` is the processor time of all threads of the
    reading processes meanwhile. A Dask worker reads a little data of its own, which ``bytes_read`` includes.

    In a run that reads from an object store, ``bytes_read`` and ``requests`` are those of the store's client: bodies
    that arrived, and every request that was sent. ``retries`` of these were sent again after a fault.
    """

    called, file = "a sample file", "samples.csv"
    figures: ClassVar[tuple[str, ...]] = ("seconds", "size_bytes")
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
        4: (*CONTENDER_COLUMNS, "effort"),
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
    effort: Effort = ""
    cause: Cause = ""
    attempt: Positive = 1
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class RaceSample(Sample):
    """One row of ``races.csv``: a round used only to choose a format's best reader and settings."""

    called, file = "a file of races", "races.csv"


AnyRow = TypeVar("AnyRow", bound=Row)

KEY_COLUMNS = [
    "run_id", "suite", "access", "trace", "n_res", "format", "profile", *CONTENDER_COLUMNS, "cache", "executor",
    "workers",
]  # fmt: skip


def columns(row: type[Row]) -> list[str]:
    """List the columns of a file of rows."""
    return [field.name for field in dataclasses.fields(row)]
