"""What a worker process is asked to do to read: an access to an archive, of which it takes one sample."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.sampling import cache
from harness.sampling.accounting import count_opens
from harness.sampling.budget import beyond_budget
from harness.sampling.executor import Settings, Share, load_executor
from harness.sampling.sample import Reading
from harness.sampling.worker import Children
from harness.workload import ReadAccess

# A fresh reader that reads less than this part of what the first one did has kept data elsewhere. Readers that are open
# at the same time may share caches, as HDF5's do, so how much several read depends on who comes first.
_KEPT_ALONE, _KEPT_TOGETHER = 0.5, 0.05
_NOT_BYTES = 4096  # below this, bytes read are headers of a mapped file and say nothing about its data


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
class ReadTask(Share):
    """Take one sample of an access.

    Attributes
    ----------
    cache : {"warm", "cold", "remote", "discard"}
        State of the page cache; a discarded read warms it, and counts the files that are opened. ``remote`` has none.
    settings : mapping
        Of the executor.
    """

    cache: str = "discard"
    settings: Settings = field(default_factory=dict)

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
            with count_opens(self.archive) as opens:
                reading = self._sample(children)
            return Observed(reading=reading, files_opened=opens.count)
        if self.cache == "cold":
            resident, rejected = cache.chill(self.archive)
        else:
            resident, rejected = self.warm(lambda: self._sample(children))
        if not rejected:
            reading = self._sample(children)
            rejected = reading.rejected
        if rejected:
            return Observed(reading=None, resident_fraction=resident, rejected=rejected)
        if self.cache == "cold" and resident is not None and cache.residency(self.archive, every_file=True) == 0:
            raise HarnessError("returned data without reading the archive: none of it is in the page cache afterwards")
        return Observed(reading=reading, resident_fraction=resident)

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
    least = _KEPT_ALONE if access.workers == 1 else _KEPT_TOGETHER
    aside = load_executor(access.executor).aside * access.workers
    before, now = first.reading.bytes_read, observed.reading.bytes_read
    if before is None or now is None or before < _NOT_BYTES or now >= least * (before - aside):
        return ""
    return f"read {now} bytes where the first read of the same plan took {before}: data is kept from reader to reader"
