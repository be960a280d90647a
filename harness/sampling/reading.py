"""Read tasks of a worker process: take one sample of an access to an archive."""

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

# If a fresh reader reads less than this fraction of the first reader's bytes, data was kept elsewhere. Readers that are
# open in one process at the same time may share caches, as in HDF5, so their total depends on the order of reads.
_KEPT_ALONE, _KEPT_TOGETHER = 0.5, 0.05
# The first reading includes imported modules. They are a small part of large readings, so a smaller difference counts.
_KEPT_OF_MUCH, _IMPORTED = 0.8, 1 << 20
_NOT_BYTES = 4096  # fewer bytes are headers of a mapped file, which do not show how much of its data was read


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Result of one sample of a read access."""

    reading: Reading | None  # None if the sample was rejected.
    # Fraction of the archive in the page cache before the read, from `chill` or `warm` of `harness.sampling.cache`.
    resident_fraction: float | None = None
    files_opened: int | None = None  # Counted only in a discarded read.
    rejected: str = ""  # Why the sample was rejected: its cache state, or `Reading.rejected`; empty if it was not.


@dataclass(frozen=True, kw_only=True)
class ReadTask(Share):
    """Take one sample of an access."""

    # "warm", "cold", "lukewarm", "remote" or "discard". State of the page cache; ``remote`` has none. ``discard`` is
    # for a discarded read, which warms the cache and counts opened files.
    cache: str = "discard"
    settings: Settings = field(default_factory=dict)  # Settings of the executor.

    @property
    def discarded(self) -> ReadTask | None:
        """The same task as a discarded read; None if this is a discarded read."""
        return None if self.cache == "discard" else dataclasses.replace(self, cache="discard")

    def run(self, children: Children) -> Observed:
        """Prepare the cache state, take the sample, and check that the archive was really read."""
        self.rehearsed()
        if self.stored is not None:
            reading = self._sample(children)
            return Observed(reading=None if reading.rejected else reading, rejected=reading.rejected)
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
        """Read without timing, count opened files, and check that the archive was read."""
        executor = load_executor(self.access.executor)
        readers = children.readers(self.access.executor, self.settings)
        with count_opens(self.archive) as opens:
            # One worker after the other, because simultaneous opens of one file may count as one.
            for part in [self] if executor.shared else self.split(self.access.workers):
                reading = readers.read(part, 1)
        if self.access.workers > 1:
            reading = self._sample(children)
        if executor.here(self.settings):
            self._require_read(reading, children)
        return Observed(reading=reading, files_opened=opens.count)

    def _require_read(self, reading: Reading, children: Children) -> None:
        """Check that enough of the archive was read to contain the requested data.

        Reads of a mapped file are not counted. So if too few bytes were counted, the archive is evicted and read again,
        and the resident part must then be large enough.

        Raises
        ------
        HarnessError
            When too little of the archive was read.
        """
        least = self._least()
        if reading.bytes_read is None or reading.bytes_read >= least or not hasattr(os, "posix_fadvise"):
            return
        resident, stays = cache.chill(self.archive)
        if stays or resident is None:  # no check is possible, for example on a filesystem in memory
            return
        self._sample(children)
        seen = (cache.residency(self.archive, every_file=True) or 0.0) * archive_size(self.archive)[0]
        if seen < least:
            raise HarnessError(
                f"read {seen:.0f} bytes of the archive where at least {least} hold the requested data: data was kept "
                "from an earlier reader"
            )

    def _least(self) -> int:
        """Estimate the stored bytes of the requested data: of each tensor its largest read, as reads may overlap."""
        most: dict[str, int] = {}
        for read in self.access.reads:
            most[read.path] = max(most.get(read.path, 0), self.expected[read_id(read)].least)
        return sum(most.values())

    def read_by(self, how: Callable[..., T], **settings: Any) -> T:
        """Read in this process; a discarded read may read no files except the archive and code."""
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
    """Describe a sample that read far fewer bytes than the first one, and so did not read all data from the archive.

    Parameters
    ----------
    first, observed : Observed
        The first sample of an archive and access, and a later one.
    access : ReadAccess
        The access, with its executor.

    Returns
    -------
    str
        The problem; empty if there is none.
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
