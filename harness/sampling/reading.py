"""What a worker process is asked to do to read: an access to an archive, of which it takes one sample."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError
from harness.formats.archive import archive_size
from harness.records import EVICTED
from harness.sampling import cache
from harness.sampling.budget import beyond_budget
from harness.sampling.counters import count_opens
from harness.sampling.executor import Settings, Share, T, load_executor
from harness.sampling.outside_files import nothing_elsewhere
from harness.sampling.sample import Reading
from harness.sampling.verify import read_id
from harness.sampling.worker import Children
from harness.workload import ReadAccess

# A fresh reader that reads less than this part of what the first one did has kept data elsewhere. Readers that are open
# in one process at the same time may share caches, as HDF5's do, so how much several read depends on who comes first.
_KEPT_ALONE, _KEPT_TOGETHER = 0.5, 0.05
# Of much that was read, modules that the first one imported are a small part: there a smaller difference tells.
_KEPT_OF_MUCH, _IMPORTED = 0.8, 1 << 20
_NOT_BYTES = 4096  # below this, bytes read are headers of a mapped file and say nothing about its data


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What one sample of a read access found."""

    reading: Reading | None  # None when the sample was rejected.
    # Part of the archive that was in the page cache before the read, as `chill` or `warm` of `harness.sampling.cache`
    # found it.
    resident_fraction: float | None = None
    files_opened: int | None = None  # Counted only in a discarded read.
    rejected: str = ""  # Why the cache was not in the state that was asked for.


@dataclass(frozen=True, kw_only=True)
class ReadTask(Share):
    """Take one sample of an access."""

    # State of the page cache; a discarded read warms it, and counts the files that are opened. ``remote`` has none:
    # "warm", "cold", "lukewarm", "remote", "discard".
    cache: str = "discard"
    settings: Settings = field(default_factory=dict)  # Of the executor.

    @property
    def discarded(self) -> ReadTask | None:
        """The same read, discarded; None where this is one."""
        return None if self.cache == "discard" else dataclasses.replace(self, cache="discard")

    def run(self, children: Children) -> Observed:
        """Bring the cache into its state, take the sample, and check that the archive was really read."""
        self.rehearsed()
        if self.stored is not None:
            return Observed(reading=self._sample(children))
        if self.cache == "discard":
            return self._discarded(children)
        if self.cache in EVICTED:
            resident, rejected = cache.chill(self.archive)
        else:
            resident, rejected = self.warm(lambda: self._sample(children))
        if not rejected:
            reading = self._sample(children)
            rejected = reading.rejected
        if rejected:
            return Observed(reading=None, resident_fraction=resident, rejected=rejected)
        if self.cache in EVICTED and resident is not None and cache.residency(self.archive, every_file=True) == 0:
            raise HarnessError("returned data without reading the archive: none of it is in the page cache afterwards")
        return Observed(reading=reading, resident_fraction=resident)

    def _discarded(self, children: Children) -> Observed:
        """Read without measuring time, count the files that are opened, and look whether the archive was read."""
        executor = load_executor(self.access.executor)
        readers = children.readers(self.access.executor, self.settings)
        with count_opens(self.archive) as opens:
            # By one after the other: opens of one file at the same moment may be seen as one.
            for part in [self] if executor.shared else self.split(self.access.workers):
                reading = readers.read(part, 1)
        if self.access.workers > 1:
            reading = self._sample(children)
        if executor.here(self.settings):
            self._require_read(reading, children)
        return Observed(reading=reading, files_opened=opens.count)

    def _require_read(self, reading: Reading, children: Children) -> None:
        """Refuse data that did not come from the archive, where fewer bytes were read than can hold it.

        What is read of a mapped file is counted nowhere. So the archive is then read once more from the disk, and what
        of it is in memory afterwards has to be enough.
        """
        least = self._least()
        if reading.bytes_read is None or reading.bytes_read >= least or not hasattr(os, "posix_fadvise"):
            return
        resident, stays = cache.chill(self.archive)
        if stays or resident is None:  # on a filesystem in memory nothing can be told
            return
        self._sample(children)
        seen = (cache.residency(self.archive, every_file=True) or 0.0) * archive_size(self.archive)[0]
        if seen < least:
            raise HarnessError(
                f"read {seen:.0f} bytes of the archive where at least {least} hold the requested data: data was kept "
                "from an earlier reader"
            )

    def _least(self) -> int:
        """Estimate the bytes that hold what is asked for: of each tensor its largest read, for reads may overlap."""
        most: dict[str, int] = {}
        for read in self.access.reads:
            most[read.path] = max(most.get(read.path, 0), self.expected[read_id(read)].least)
        return sum(most.values())

    def read_by(self, how: Callable[..., T], **settings: Any) -> T:
        """Read it in this process; a discarded read may read nothing but the archive and code."""
        self.rehearsed()
        elsewhere = (
            nothing_elsewhere(self.archive) if self.cache == "discard" and self.stored is None else nullcontext()
        )
        with elsewhere:
            return super().read_by(how, **settings)

    def _sample(self, children: Children) -> Reading:
        reading = children.readers(self.access.executor, self.settings).read(self, self.access.workers)
        if not reading.problem and load_executor(self.access.executor).here(self.settings):
            return dataclasses.replace(reading, problem=beyond_budget(reading))
        return reading


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
    if first.reading is None or observed.reading is None:
        return ""
    executor = load_executor(access.executor)
    alone = access.workers == 1 or executor.independent
    before, now = first.reading.bytes_read, observed.reading.bytes_read
    if before is None or now is None or before < _NOT_BYTES:
        return ""
    aside = executor.aside * access.workers
    least = (_KEPT_ALONE if alone else _KEPT_TOGETHER) * (before - aside)
    if alone:
        least = max(least, _KEPT_OF_MUCH * (before - aside - _IMPORTED * access.workers))
    if now >= least:
        return ""
    return f"read {now} bytes where the first read of the same plan took {before}: data was kept from an earlier reader"
