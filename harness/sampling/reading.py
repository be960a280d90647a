"""What a worker process is asked to do to read: an access to an archive, of which it takes one sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.formats.base import Profile
from harness.sampling import cache
from harness.sampling.accounting import count_opens
from harness.sampling.executor import Remote, Settings, Share, load_executor
from harness.sampling.rehearsal import rehearsed
from harness.sampling.sample import Reading
from harness.sampling.verify import Expected
from harness.sampling.worker import Children
from harness.workload import ReadAccess

# A fresh reader that reads less than this part of what the first one did has kept data elsewhere. Readers that are open
# at the same time may share caches, as HDF5's do, so how much several read depends on who comes first.
_KEPT_ALONE, _KEPT_TOGETHER = 0.5, 0.05
_NOT_BYTES = 4096  # below this, bytes read are headers of a mapped file and say nothing about its data


@dataclass(frozen=True, kw_only=True)
class AccessTask:
    """An access to one archive, as every task that carries one out is given it.

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
    """

    backend: str
    profile: Profile
    archive: Path
    access: ReadAccess
    expected: dict[str, Expected] = field(repr=False)
    by_reading: bool = False

    def warm(self, read: Callable[[], object]) -> tuple[float | None, str]:
        """Warm the archive, as `harness.sampling.cache.warm` does; ``read`` carries the access out."""
        return cache.warm(self.archive, read if self.by_reading else None)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What one sample of a read access found.

    Attributes
    ----------
    reading : Reading or None
        None when the sample was rejected.
    resident_fraction : float or None
        Part of the archive that was in the page cache before the read, as `chill` or `warm` of `harness.sampling.cache`
        found it.
    files_opened : int or None
        Counted only in a discarded read.
    rejected : str
        Why the cache was not in the state that was asked for.
    """

    reading: Reading | None
    resident_fraction: float | None = None
    files_opened: int | None = None
    rejected: str = ""


@dataclass(frozen=True, kw_only=True)
class ReadTask(AccessTask):
    """Take one sample of an access.

    Attributes
    ----------
    cache : {"warm", "cold", "remote", "discard"}
        State of the page cache; a discarded read warms it, and counts the files that are opened. ``remote`` has none.
    stored : Remote or None
        Where the archive is to be read in a store; None to read it from its folder.
    settings : mapping
        Of the executor.
    """

    cache: str
    stored: Remote | None = None
    settings: Settings = field(default_factory=dict)

    def run(self, children: Children) -> Observed:
        """Bring the cache into its state, take the sample, and check that the archive was really read."""
        rehearsed(self.backend, self.profile)
        if self.stored is not None:
            return Observed(reading=self._take(children))
        if self.cache == "discard":
            with count_opens(self.archive) as opens:
                reading = self._take(children)
            return Observed(reading=reading, files_opened=opens.count)
        if self.cache == "cold":
            resident, rejected = cache.chill(self.archive)
        else:
            resident, rejected = self.warm(lambda: self._take(children))
        if rejected:
            return Observed(reading=None, resident_fraction=resident, rejected=rejected)
        reading = self._take(children)
        if reading.rejected:
            return Observed(reading=None, resident_fraction=resident, rejected=reading.rejected)
        if self.cache == "cold" and resident is not None and cache.residency(self.archive, every_file=True) == 0:
            raise HarnessError("returned data without reading the archive: none of it is in the page cache afterwards")
        return Observed(reading=reading, resident_fraction=resident)

    def _take(self, children: Children) -> Reading:
        access = self.access
        share = Share(
            backend=self.backend,
            profile=self.profile,
            archive=self.archive,
            reads=access.reads,
            expected=self.expected,
            stored=self.stored,
            load_once=access.load_once,
        )
        return children.readers(access.executor, self.settings).read(share, access.workers)


def kept_data(first: Observed, observed: Observed, access: ReadAccess) -> str:
    """Say when a fresh reader cannot have read the archive, because the first one of this plan read far more.

    Parameters
    ----------
    first, observed : Observed
        The first sample of an archive and access, and a later one.
    access : ReadAccess
        What was asked for, and of whom.

    Returns
    -------
    str
        What was read; empty when nothing is wrong.
    """
    least = _KEPT_ALONE if access.workers == 1 else _KEPT_TOGETHER
    aside = load_executor(access.executor).aside * access.workers
    if first.reading is None or observed.reading is None:
        return ""
    before, now = first.reading.bytes_read, observed.reading.bytes_read
    if before is None or now is None or before < _NOT_BYTES or now >= least * (before - aside):
        return ""
    return f"read {now} bytes where the first read of the same plan took {before}: data is kept from reader to reader"
