"""The rows that a run writes: their columns, and the names that stand in them."""

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
"""Since 1: latencies, cpu_seconds, worker_seconds, retries. Since 2: cause, attempt, and `HELD_SINCE`. Since 3: slim,
reader, threads and effort; `cpu_seconds` of one thread too; words are of opening and reading together."""

HELD_SINCE = 3
"""The first schema whose reads were taken by readers that hold data sets and arrays open, as their libraries mean it.

Readers of earlier rows opened an HDF5 data set, and so a new chunk cache, for each read, and looked up each Zarr array
anew; their times do not compare formats with equal effort.
"""


RAW = "raw"
"""In the column ``format``: the raw ceiling, the same bytes in one flat file."""

CONTROL = "a/a"
"""In the column ``format``: the A/A control, the run's baseline measured a second time."""

REMOTE = "remote"
"""In the column ``cache``: reads from a store. Nothing of ours keeps what was read; the store may."""

LUKEWARM = "lukewarm"
"""In the column ``cache``: dropped from this host's page cache, on a filesystem where others may keep the data too."""

EVICTED = frozenset({"cold", LUKEWARM})
"""Cache states before which an archive is dropped from the page cache of the host that reads."""

VERDICT_ROUNDS = 10
"""Rounds from which on a comparison may be called a verdict."""

Status = Literal["ok", "failed", "rejected", "skipped"]

Time = Annotated[float, msgspec.Meta(ge=1e-9, le=1.7976931348623157e308)]
"""Seconds by a clock that counts nanoseconds; what was measured took one at least."""

Times = Annotated[str, msgspec.Meta(pattern=r"\A(\d[\d.e+-]*( \d[\d.e+-]*)*)?\Z")]
"""Numbers, separated by blanks."""


Kind = Literal["format", "ceiling", "control"]
"""What an arm is: what is compared, the bound that the machine sets, or the measure of the run's own noise."""


def kind_of(label: str) -> Kind:
    """Return the kind of an arm, from the column ``format`` of its rows."""
    return "ceiling" if label == RAW else "control" if label == CONTROL else "format"


Effort = Literal["", "stock", "best", "both"]
"""Whether a contender stands for its format as installed, for the format at its best, for both, or for itself alone."""


class Contender(NamedTuple):
    """A format in one profile, slimmed or not, by one reader, within a budget of threads.

    The raw ceiling and the A/A control are no claims about a format. Before schema 4 the last three are unknown.
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
        """Whether it says something about a format."""
        return kind_of(self.format) == "format"

    @property
    def label(self) -> str:
        """Format, profile and reader, as the ``baseline`` column shows them."""
        return f"{self.format} ({', '.join(filter(None, (self.profile, self.reader)))})"


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
    slim: str = ""
    reader: str = ""
    threads: int | None = None

    @classmethod
    def of(cls, values: Mapping[Any, Any]) -> CellKey:
        """Take the key from a row of a table, in which what is not known has NaN or None."""
        found = {name: values[name] for name in cls._fields}
        for name in ("n_res", "workers", "threads"):
            none = found[name] is None or math.isnan(found[name])
            found[name] = None if none else int(found[name])
        return cls(**found)

    @property
    def contender(self) -> Contender:
        """Whose it is."""
        return Contender(self.format, self.profile, self.slim, self.reader, self.threads)


class Mark(NamedTuple):
    """What the row in force of a cell and round says of how it ended, and how long it took from a closed archive."""

    status: Status
    cause: Cause = ""
    attempt: int = 1
    seconds: float | None = None

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


CONTENDER_COLUMNS = ("slim", "reader", "threads")
"""What every row says of its contender since readers are compared."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of a run starts with; None is an empty field, of a figure that does not apply or was not found.

    Every row also ends with a status, its reason, and

    - ``cause``: ``machine`` where a failure is none of the format, as on a full disk; such a row is taken again by
      ``--resume``. Empty otherwise.
    - ``attempt``: from 1. A round of an access that was cut off, or in which the machine failed, is taken again for all
      formats; rows of the earlier attempt stay in the file and are superseded, see `in_force`.

    Attributes
    ----------
    called : str
        What a file of such rows is called in messages.
    file : str
        The name of such a file in a run's folder.
    figures : tuple of str
        The columns of which a row that is ok has one.
    added : dict of int to tuple of str
        The columns that each version after the first has added; in files of earlier versions they are empty.
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

    Of several workers: ``seconds`` runs from the first start to the last end, ``latency_*_seconds`` are the 50th, 95th
    and 99th percentile over every single read of all workers, ``worker_seconds`` the time of each worker's share, in
    the order of shares and separated by blanks, and ``cpu_seconds`` the processor time of all threads of the reading
    processes meanwhile. A Dask worker reads a little of its own, which ``bytes_read`` has too.

    Of a run that reads from an object store, ``bytes_read`` and ``requests`` are those of the store's client: bodies
    that arrived, and every request that was sent; ``retries`` of them were sent again after a fault.
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
    """One row of ``races.csv``: a round that chose a format's best reader and settings, and counts for nothing else."""

    called, file = "a file of races", "races.csv"


AnyRow = TypeVar("AnyRow", bound=Row)

KEY_COLUMNS = [
    "run_id", "suite", "access", "trace", "n_res", "format", "profile", *CONTENDER_COLUMNS, "cache", "executor",
    "workers",
]  # fmt: skip


def columns(row: type[Row]) -> list[str]:
    """List the columns of a file of rows."""
    return [field.name for field in dataclasses.fields(row)]
