"""The interface of executors, which provide parallel workers, and the share of a sample that a worker reads."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from harness import registry
from harness.errors import UsageError
from harness.formats.base import Format, Profile
from harness.sampling import cache
from harness.sampling.counters import LocalCounter
from harness.sampling.parallel_sample import WorkerPart, shares, take_share
from harness.sampling.sample import Counter, Opener, Reading
from harness.sampling.self_test import FormatOpener, rehearsed
from harness.sampling.verify import Expected
from harness.workload import ReadAccess

Settings = Mapping[str, str]
"""Values of an executor's own options, by name."""

T = TypeVar("T")


class Remote(Protocol):
    """Location of an archive in a store; pickled to the reading processes."""

    def opener(self, backend: Format) -> tuple[Opener, Counter]:
        """Return a function that opens the archive, and a counter of its reads."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """The reads of a sample, or of one worker; pickled, so it names the format."""

    backend: str  # The format.
    profile: Profile  # Settings with which the archive was written.
    archive: Path  # Path of the archive.
    access: ReadAccess  # The reads.
    expected: dict[str, Expected] = field(repr=False)  # Expected results.
    # Whether the archive is warmed by the reads themselves (`harness.sampling.cache.read_little`).
    by_reading: bool = False
    stored: Remote | None = None  # Location of the archive in a store; None to read it from its folder.
    reader: str = ""  # Name of the format's reader; empty for the first. In a store, the route determines the reader.
    cache_bytes: int | None = None  # Budget of decoded chunks of that reader; None for the library's default.

    @property
    def pausable(self) -> bool:
        """Whether the reading process may be stopped while others are measured."""
        return load_executor(self.access.executor).pausable

    def rehearsed(self) -> FormatOpener:
        """Return a function that opens the archive in its folder, after the first use of its reader in this process."""
        return rehearsed(self.backend, self.profile, self.reader, self.cache_bytes)

    def warm(self, read: Callable[[], object]) -> tuple[float | None, str]:
        """Warm the archive (`harness.sampling.cache.warm`); ``read`` performs the access."""
        return cache.warm(self.archive, read if self.by_reading else None)

    def split(self, workers: int) -> list[Share]:
        """Split into consecutive shares, one per worker."""
        parts = shares(self.access.reads, workers)
        return [dataclasses.replace(self, access=dataclasses.replace(self.access, reads=reads)) for reads in parts]

    def read_by(self, how: Callable[..., T], **settings: Any) -> T:
        """Read in this process, after the first use of the reader, with a function such as `take`."""
        local = self.rehearsed()
        opener: Opener = local
        counter: Counter = LocalCounter
        if self.stored is not None:
            opener, counter = self.stored.opener(local.format)
        return how(opener, self.archive, self.access.reads, self.expected, counter=counter, **settings)

    def take(self, wait: Callable[[], object]) -> WorkerPart:
        """Read as one of several workers, starting when ``wait`` returns."""
        return self.read_by(take_share, wait=wait)


class Readers(ABC):
    """The workers of an executor in the measuring process; started once, so that starting is not timed."""

    @abstractmethod
    def read(self, share: Share, workers: int) -> Reading:
        """Take one sample of a share, split over workers that start together.

        Returns
        -------
        Reading
            With a problem if a result was wrong; rejected if its time is not valid.

        Raises
        ------
        HarnessError
            If a worker failed.
        """

    def close(self) -> None:
        """End all workers."""
        return


class Executor(ABC):
    """Provides workers for parallel access; registered in the group ``harness.executors``.

    Attributes
    ----------
    name : str
        Registered name, and the ``executor`` column of records.
    order : int
        Position in tables and plots.
    parallel : bool
        Whether it can be requested for a run.
    unasked : bool
        Whether a run includes it by default.
    options : mapping of str to (str, str)
        Its options of ``harness run``, by name: metavar and help. Values are text, and are recorded in ``run.json``
        under the same name.
    least : int
        The smallest useful number of workers.
    stores : bool
        Whether its workers can read from an object store.
    counted : bool
        Whether bytes that its workers fetch from a disk are counted by the measuring process.
    aside : int
        Bytes that a worker may read for other purposes during a sample.
    pausable : bool
        Whether its workers may be stopped while other contenders are measured.
    rejects : bool
        Whether its `Readers` may reject a sample, for example if a worker died.
    worker : (str, str)
        Singular and plural of its workers.
    readers : str
        Difference from another executor with the same workers, in words.
    shared : bool
        Whether all workers use one open reader.
    independent : bool
        Whether its workers represent several users of an archive; the cost of several readers is based on them.
    alone : str
        The executor whose single worker is the reference for several workers, if it is another one.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    parallel: ClassVar[bool] = True
    unasked: ClassVar[bool] = True
    options: ClassVar[Mapping[str, tuple[str, str]]] = {}
    least: ClassVar[int] = 1
    stores: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    aside: ClassVar[int] = 0
    pausable: ClassVar[bool] = True
    rejects: ClassVar[bool] = False
    worker: ClassVar[tuple[str, str]]
    readers: ClassVar[str] = ""
    shared: ClassVar[bool] = False
    independent: ClassVar[bool] = False
    alone: ClassVar[str] = ""

    def require(self, settings: Settings, most: int) -> None:
        """Refuse a run that its workers cannot support, before anything is written.

        Parameters
        ----------
        settings : mapping
            Values of `options` in the run.
        most : int
            Largest number of workers in the run.

        Raises
        ------
        UsageError
            If it is refused; one sentence, within seconds.
        """
        return

    def here(self, settings: Settings) -> bool:
        """Return whether its workers share the cores of this machine."""
        return True

    @abstractmethod
    def start(self, settings: Settings) -> Readers:
        """Start its workers in the measuring process, possibly when they are first needed."""


def load_executor(name: str) -> Executor:
    """Return a registered executor.

    Raises
    ------
    UsageError
        If there is none of this name, or it cannot be imported.
    """
    found: Executor = registry.load("executors", name)()
    if strange := [option for option in found.options if not option.isidentifier()]:
        raise UsageError(f"The executor {name!r} has an option {strange[0]!r}: letters, digits and '_' are expected.")
    return found


def executors() -> list[Executor]:
    """Return all registered executors that can be imported, in order."""
    return sorted((kind() for kind in registry.usable("executors")), key=lambda executor: executor.order)
