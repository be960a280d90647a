"""What a worker process is asked to do: write an archive, or take one sample of a read access."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from harness.backends.archive import archive_size, remove, verify_archive, write_archive
from harness.backends.archive_trace import ArchiveTrace
from harness.backends.base import Backend, Profile, UnsupportedProfile, load_backend
from harness.backends.seal import read_seal
from harness.errors import HarnessError
from harness.measure import cache
from harness.measure.accounting import count_opens, peak_rss, reset_peak_rss
from harness.measure.rehearsal import rehearsed
from harness.measure.sample import Clock, Reading, take
from harness.measure.together import combine, shares, take_threads
from harness.measure.verify import Expected, is_bfloat16
from harness.measure.worker import Children, Share, opener
from harness.stores.place import Place
from harness.stores.stored import Stored
from harness.trace.schema import Manifest, tensor
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, Trace, TraceView
from harness.workload import ReadAccess


class Stopwatch:
    """Adds up the time spent inside its ``with`` blocks.

    Parameters
    ----------
    clock : callable
        Returns nanoseconds.
    """

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._clock = clock
        self._nanoseconds = self._start = 0

    @property
    def seconds(self) -> float:
        """Time so far, in seconds."""
        return self._nanoseconds / 1e9

    def __enter__(self) -> Stopwatch:
        self._start = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nanoseconds += self._clock() - self._start


@dataclass(frozen=True, kw_only=True)
class Written:
    """What writing an archive found.

    Attributes
    ----------
    manifest : Manifest
        With the digest of every tensor as it came from the source.
    seconds : float
        Time inside the format's writer.
    sync_seconds : float
        Time until the bytes were on disk.
    size_bytes, files : int
        Size of the archive.
    memory_bytes, native_bytes : int
        Bytes of its tensors as arrays, and with 2 bytes for each value of a tensor that is exactly bfloat16.
    peak_rss_bytes : int or None
        Peak resident size while writing.
    sha256 : str
        The archive's seal: SHA-256 over every byte of it, in hexadecimal.
    problem : str
        What `verify_archive` found wrong; empty when nothing.
    """

    manifest: Manifest
    seconds: float
    sync_seconds: float
    size_bytes: int
    files: int
    memory_bytes: int
    native_bytes: int
    peak_rss_bytes: int | None
    sha256: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class WriteTask:
    """Write an archive, read it back, and report.

    Attributes
    ----------
    backend : str
        The format.
    profile : Profile
        Its settings.
    source : str, MemoryTrace or Path
        A trace as ``NAME[:key=value,...]`` or itself, or a raw archive that holds one.
    n_res : int or None
        Sequence length, for a trace that is made in any length.
    tensors : tuple of (str, str) or None
        Names to write and where their values come from; None for all as they are.
    bfloat16 : frozenset of str
        The source tensors known to be exactly bfloat16.
    destination : Path
        The archive.
    keep : bool
        Whether the archive stays.
    """

    backend: str
    profile: Profile
    source: str | MemoryTrace | Path
    n_res: int | None = None
    tensors: tuple[tuple[str, str], ...] | None = None
    bfloat16: frozenset[str] = frozenset()
    destination: Path
    keep: bool

    def run(self, children: Children) -> Written:
        """Write, sync, check; the time of each call of the writer is added up, nothing else is timed."""
        backend = rehearsed(self.backend, self.profile)
        trace = _trace(self.source, self.n_res)
        names = dict(self.tensors) if self.tensors is not None else {s.path: s.path for s in trace.manifest.tensors}
        trace = _view(trace, names)
        writing, syncing = Stopwatch(), Stopwatch()
        reset_peak_rss()
        manifest = write_archive(
            trace, backend, self.destination, self.profile, stopwatch=writing, sync_stopwatch=syncing
        )
        found = written(
            self.destination,
            backend,
            manifest,
            seconds=writing.seconds,
            sync_seconds=syncing.seconds,
            bfloat16={path for path, source in names.items() if source in self.bfloat16},
        )
        if not self.keep:
            remove(self.destination)
        return found


def written(
    archive: Path,
    backend: Backend,
    manifest: Manifest,
    *,
    seconds: float,
    sync_seconds: float,
    bfloat16: Collection[str],
    problems: Sequence[str] = (),
) -> Written:
    """Report an archive that has just been written: read back, measured, and what memory that took until now.

    Parameters
    ----------
    archive : Path
        Complete and sealed.
    backend : Backend
        Its format.
    manifest : Manifest
        As written.
    seconds, sync_seconds : float
        Time of writing, and of getting it onto the disk.
    bfloat16 : collection of str
        The tensors known to be exactly bfloat16.
    problems : sequence of str
        What is already known to be wrong with it.
    """
    peak = peak_rss()
    problems = [*problems, *verify_archive(archive, backend)]
    size, files = archive_size(archive)
    return Written(
        manifest=manifest,
        seconds=seconds,
        sync_seconds=sync_seconds,
        size_bytes=size,
        files=files,
        memory_bytes=manifest.nbytes,
        native_bytes=native_bytes(manifest, bfloat16),
        peak_rss_bytes=peak,
        sha256=read_seal(backend.seal_file(archive)),
        problem=problems[0] if problems else "",
    )


def native_bytes(manifest: Manifest, bfloat16: Collection[str]) -> int:
    """Return the bytes of a trace with 2 bytes for each value of the tensors that are exactly bfloat16."""
    return sum(spec.nbytes // 2 if spec.path in bfloat16 else spec.nbytes for spec in manifest.tensors)


def _trace(source: str | MemoryTrace | Path, n_res: int | None) -> Trace:
    if isinstance(source, Path):
        return ArchiveTrace(source)
    return open_trace(source, n_res) if isinstance(source, str) else source


def _view(trace: Trace, names: Mapping[str, str]) -> Trace:
    specs = {}
    for name, source in names.items():
        found = trace.manifest[source]
        specs[found if name == source else tensor(name, found.shape, found.dtype)] = source
    return TraceView(trace, specs)


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """Find the tensors of a raw archive that are exactly bfloat16."""

    archive: Path

    def run(self, children: Children) -> frozenset[str]:
        """Return their paths."""
        trace = ArchiveTrace(self.archive)
        floats = [spec.path for spec in trace.manifest.tensors if spec.dtype == np.dtype(np.float32).name]
        return frozenset(path for path in floats if is_bfloat16(trace.blocks(path)))


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What one sample of a read access found.

    Attributes
    ----------
    reading : Reading or None
        None when the sample was rejected.
    resident_fraction : float or None
        Part of the archive that was in the page cache before the read, as `chill` or `warm` of `harness.measure.cache`
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
class ReadTask:
    """Take one sample of a read access.

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
    cache : {"warm", "cold", "remote", "discard"}
        State of the page cache; a discarded read warms it, and counts the files that are opened. ``remote`` has none.
    by_reading : bool
        Whether the archive is warmed by reading what is asked for, as `harness.measure.cache.read_little` says.
    stored : Stored or None
        Where the archive is to be read in a store; None to read it from its folder.
    scheduler : str or None
        For the executor ``dask``, as for `harness.measure.dask_pool.DaskPool`.
    """

    backend: str
    profile: Profile
    archive: Path
    access: ReadAccess
    expected: dict[str, Expected] = field(repr=False)
    cache: str
    by_reading: bool = False
    stored: Stored | None = None
    scheduler: str | None = None

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
            resident, rejected = cache.warm(self.archive, (lambda: self._take(children)) if self.by_reading else None)
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
        if access.executor == "processes":
            return self._take_processes(children)
        if access.executor == "dask":
            pool = children.dask(self.scheduler)
            return pool.read(self.backend, self.profile, self.archive, access.reads, self.expected, access.workers)
        backend, counter = opener(self.backend, self.profile, self.stored)
        about = (backend, self.archive, access.reads, self.expected)
        if access.executor == "main":
            return take(*about, load_once=access.load_once, counter=counter)
        return take_threads(*about, access.workers, shared=access.executor == "threads-shared", counter=counter)

    def _take_processes(self, children: Children) -> Reading:
        parts = children.read(
            [
                Share(
                    backend=self.backend,
                    profile=self.profile,
                    archive=self.archive,
                    reads=tuple(reads),
                    expected=self.expected,
                    stored=self.stored,
                )
                for reads in shares(self.access.reads, self.access.workers)
            ]
        )
        return combine(parts)


@dataclass(frozen=True, kw_only=True)
class UploadTask:
    """Bring an archive into a store."""

    archive: Path
    stored: Stored

    def run(self, children: Children) -> None:
        """Upload."""
        from harness.stores.upload import upload

        upload(self.stored.place, self.archive, self.stored.key)


@dataclass(frozen=True, kw_only=True)
class UploadBesideTask:
    """Bring into a store what a route needs beside an archive; says why where the archive cannot be read by it."""

    backend: str
    archive: Path
    stored: Stored

    def run(self, children: Children) -> str:
        """Find out what it is and upload it."""
        from harness.stores.upload import upload_beside

        try:
            data = load_backend(self.backend).routed(self.stored.route).beside(self.archive)
        except UnsupportedProfile as error:
            return str(error)
        if data is not None:
            upload_beside(self.stored.place, data, self.stored.key)
        return ""


@dataclass(frozen=True, kw_only=True)
class RemoveTask:
    """Take objects out of a store."""

    place: Place
    keys: list[str]

    def run(self, children: Children) -> None:
        """Remove them."""
        from harness.stores.upload import remove_objects

        remove_objects(self.place, self.keys)
