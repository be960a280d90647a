"""Who reads in parallel access: the protocol of an executor, and the share of a sample that a worker of it reads."""

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
from harness.sampling.accounting import LocalCounter
from harness.sampling.rehearsal import FormatOpener, rehearsed
from harness.sampling.sample import Counter, Opener, Reading
from harness.sampling.together import WorkerPart, shares, take_share
from harness.sampling.verify import Expected
from harness.workload import ReadAccess

Settings = Mapping[str, str]
"""What was given of an executor's own options, by name."""

T = TypeVar("T")


class Remote(Protocol):
    """Where the archive of a share is instead of a folder; pickled to the processes that read."""

    def opener(self, backend: Format) -> tuple[Opener, Counter]:
        """Return what opens the archive in a format, and what counts its reads."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What is read of an archive in a sample, or by one worker of it; pickled, so it names the format.

    Attributes
    ----------
    backend : str
        The format.
    profile : Profile
        The settings that the archive was written with.
    archive : Path
        What to read.
    access : ReadAccess
        What to ask for.
    expected : dict of str to Expected
        What has to come back.
    by_reading : bool
        Whether the archive is warmed by reading what is asked for, as `harness.sampling.cache.read_little` says.
    stored : Remote or None
        Where the archive is to be read in a store; None to read it from its folder.
    reader : str
        Which of the format's readers reads it; empty for the first. In a store its route says how it is read.
    cache_bytes : int or None
        The budget of decoded chunks of that reader; None for the library's default.
    """

    backend: str
    profile: Profile
    archive: Path
    access: ReadAccess
    expected: dict[str, Expected] = field(repr=False)
    by_reading: bool = False
    stored: Remote | None = None
    reader: str = ""
    cache_bytes: int | None = None

    @property
    def pausable(self) -> bool:
        """Whether the process that reads it may be stopped while others have their turn."""
        return load_executor(self.access.executor).pausable

    def rehearsed(self) -> FormatOpener:
        """Return what opens the archive in its folder, after the first use of its reader in this process."""
        return rehearsed(self.backend, self.profile, self.reader, self.cache_bytes)

    def warm(self, read: Callable[[], object]) -> tuple[float | None, str]:
        """Warm the archive, as `harness.sampling.cache.warm` does; ``read`` carries the access out."""
        return cache.warm(self.archive, read if self.by_reading else None)

    def split(self, workers: int) -> list[Share]:
        """Split into consecutive shares, one for each worker."""
        parts = shares(self.access.reads, workers)
        return [dataclasses.replace(self, access=dataclasses.replace(self.access, reads=reads)) for reads in parts]

    def read_by(self, how: Callable[..., T], **settings: Any) -> T:
        """Read it in this process, after the first use of its reader there, with a function such as `take`."""
        local = self.rehearsed()
        opener: Opener = local
        counter: Counter = LocalCounter
        if self.stored is not None:
            opener, counter = self.stored.opener(local.format)
        return how(opener, self.archive, self.access.reads, self.expected, counter=counter, **settings)

    def take(self, wait: Callable[[], object]) -> WorkerPart:
        """Read it as one worker of several, from when ``wait`` returns on."""
        return self.read_by(take_share, wait=wait)


class Readers(ABC):
    """The workers of an executor, in the process that measures: started once, so that starting is not timed."""

    @abstractmethod
    def read(self, share: Share, workers: int) -> Reading:
        """Take one sample of a share, split over so many workers that begin together.

        Returns
        -------
        Reading
            With a problem where a result was wrong; rejected where its time says nothing.

        Raises
        ------
        HarnessError
            When a worker failed.
        """

    def close(self) -> None:
        """Let all workers end."""
        return


class Executor(ABC):
    """Who reads in parallel access; registered in the group ``harness.executors``.

    Attributes
    ----------
    name : str
        Registered name, and the ``executor`` column of records.
    order : int
        Place among the executors, in tables and plots.
    parallel : bool
        Whether a run can be asked for it.
    unasked : bool
        Whether a run includes it where no executor is named.
    options : mapping of str to (str, str)
        Its own options of ``harness run``, by name: what the value is called, and the help. What is given is text, and
        a field of ``run.json`` under the same name.
    least : int
        The smallest number of workers that makes sense.
    stores : bool
        Whether its workers read archives from an object store too.
    counted : bool
        Whether what its workers fetch from a disk is counted by the process that measures.
    aside : int
        Bytes that a worker may read for itself during a sample.
    pausable : bool
        Whether its workers may be stopped while other contenders have their turn; workers that others wait for may not.
    rejects : bool
        Whether its `Readers` may reject a sample, as when a worker died.
    worker : (str, str)
        One worker and several, in words.
    readers : str
        What tells it from another executor with the same workers, in words.
    shared : bool
        Whether all workers use one open reader.
    independent : bool
        Whether its workers are what several users of an archive are: the cost of several readers is taken from them.
    alone : str
        The executor whose one worker is what several of this one are held against, where that is another.
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
        """Refuse a run that its workers cannot serve, before anything is written.

        Parameters
        ----------
        settings : mapping
            What the run gives of `options`.
        most : int
            The most workers that it asks for.

        Raises
        ------
        UsageError
            In one sentence, within seconds.
        """
        return

    def here(self, settings: Settings) -> bool:
        """Say whether its workers share the cores of this machine."""
        return True

    @abstractmethod
    def start(self, settings: Settings) -> Readers:
        """Start its workers, or what starts them when they are first needed, in the process that measures."""


def load_executor(name: str) -> Executor:
    """Return a registered executor.

    Raises
    ------
    UsageError
        When there is none of this name, or it cannot be imported.
    """
    found: Executor = registry.load("executors", name)()
    if strange := [option for option in found.options if not option.isidentifier()]:
        raise UsageError(f"The executor {name!r} has an option {strange[0]!r}: letters, digits and '_' are expected.")
    return found


def executors() -> list[Executor]:
    """Return all that are registered and can be imported, in their order."""
    return sorted((kind() for kind in registry.usable("executors")), key=lambda executor: executor.order)
