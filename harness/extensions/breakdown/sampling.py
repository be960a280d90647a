"""Breakdown of a warm read access: the real reads, then a replay of each, step by step."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.extensions.breakdown.replay import Replay, Replayer, replayer_of
from harness.extensions.breakdown.rows import ReadParts
from harness.formats.base import Format, blame
from harness.sampling.executor import Share
from harness.sampling.sample import HELD_BYTES, Clock, Opener, take, without_collection
from harness.sampling.verify import Expected, asked_bytes, check, read_id
from harness.sampling.worker import Children
from harness.workload import Read

NO_REPLAY = "the format does not say where its bytes lie"

_MORE_THAN_CACHES = 64 << 20  # bytes; more would help only if a processor has larger caches for one core
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as in malloc.h


@dataclass(frozen=True, kw_only=True)
class BreakdownTask(Share):
    """Task that takes the breakdown of a warm access once, in a process that takes no samples."""

    def run(self, children: Children) -> ReadParts:
        """Warm the archive and take the breakdown."""
        _keep_memory()
        opener = self.rehearsed()
        about = (self.archive, self.access.reads, self.expected)
        _, rejected = self.warm(lambda: take(opener, *about))
        if rejected:
            return ReadParts(status="rejected", reason=rejected)
        return dissect(opener.format, *about, opener=opener)


@once
def _keep_memory() -> None:
    """Make this process keep the memory that it frees, in blocks of up to 32 MiB, the maximum of glibc.

    The first touch of fresh memory from the kernel costs more than filling it. Whether a read gets fresh memory depends
    on what was freed before. So this cost would fall on the real reads or on their replay by chance.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)


@once
def _other_memory() -> np.ndarray:
    return np.empty(_MORE_THAN_CACHES, np.uint8)


def _cool_processor() -> None:
    """Overwrite the processor's caches, as another format's sample does before every sample."""
    _other_memory().fill(0)


def dissect(
    backend: Format,
    archive: Path,
    reads: Sequence[Read],
    expected: Mapping[str, Expected],
    *,
    opener: Opener | None = None,
    clock: Clock = time.perf_counter_ns,
) -> ReadParts:
    """Measure an access as a sample does, then replay the steps of each of its reads with a fresh reader.

    The steps have a reader of their own: a lookup after the real read of the same tensor would find its metadata in
    memory, and a lookup before it would save the real read its own.

    Parameters
    ----------
    backend : Format
        The format.
    archive : Path
        The archive to read, in the page cache.
    reads : sequence of Read
        The reads of the access.
    expected : mapping of str to Expected
        From `harness.sampling.verify.expectations`.
    opener : Opener, optional
        Opens the archive, if it is not the format's first reader.
    clock : callable
        Returns nanoseconds.

    Returns
    -------
    ReadParts
        Failed, without a time, if the real read or the replay gave a wrong bit; skipped, with the total and the time to
        open but no parts, if the format has no replay.

    Raises
    ------
    HarnessError
        If the format raised an exception.
    """
    action = f"replaying the reads of {archive.name}"
    opener = opener or backend
    replaying = partial(_replaying, backend, opener, archive)
    with blame(backend.name, action):
        # Discarded: the first use of a codec fills its tables.
        possible = _replayed(replaying, archive, reads[:1], expected, clock) is not None
        with replaying() as replayer:  # a large tensor may have none
            largest = max(reads, key=lambda read: expected[read_id(read)].nbytes)
            possible = possible and replayer is not None and bool(replayer.replay(largest.path, largest.selection))
    _cool_processor()
    reading = take(opener, archive, reads, expected, clock=clock)
    if reading.problem:
        return ReadParts(status="failed", reason=reading.problem)
    requested = asked_bytes(reads, expected)
    parts = ReadParts(total_seconds=reading.seconds, open_seconds=reading.open_seconds, bytes_requested=requested)
    _cool_processor()
    with blame(backend.name, action):
        steps = _replayed(replaying, archive, reads, expected, clock) if possible else None
    if steps is None:
        return dataclasses.replace(parts, status="skipped", reason=NO_REPLAY)
    if steps.problem:
        return ReadParts(status="failed", reason=f"the replay {steps.problem}")
    return dataclasses.replace(
        parts,
        metadata_seconds=steps.taken["metadata"] / 1e9,
        file_read_seconds=steps.taken["file_read"] / 1e9,
        decode_seconds=steps.taken["decode"] / 1e9,
        copy_seconds=steps.taken["copy"] / 1e9,
        rest_seconds=(round(reading.seconds * 1e9) - steps.taken.total()) / 1e9,
        stored_bytes=steps.stored_bytes,
        extents=steps.extents,
        files=len(steps.files),
    )


@contextmanager
def _replaying(backend: Format, opener: Opener, archive: Path) -> Iterator[Replayer | None]:
    """Open an archive to replay its reads; yield None if its format has no replayer."""
    with opener.reader(archive) as reader:
        replayer = replayer_of(backend, archive, reader)
        with nullcontext() if replayer is None else closing(replayer):
            yield replayer


class _Steps:
    """Time and findings of the reads that were replayed so far.

    Attributes
    ----------
    taken : Counter
        Nanoseconds by step.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.taken: Counter[str] = Counter()
        self.stored_bytes, self.extents, self.files = 0, 0, set[Path]()
        self.problem = ""
        self._held: list[tuple[np.ndarray, Expected]] = []

    def time(self, step: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and add its time to a step."""
        start = self._clock()
        found = function(*arguments)
        self.taken[step] += self._clock() - start
        return found

    def hold(self, result: np.ndarray, want: Expected) -> None:
        """Keep a result as long as a sample does, so that both find memory in the same state."""
        self._held.append((result, want))
        if sum(want.nbytes for _, want in self._held) >= HELD_BYTES:
            self.settle()

    def settle(self) -> None:
        """Check the kept results and release them."""
        for result, want in self._held:
            self.problem = self.problem or check(result, want)
        self._held.clear()


def _replayed(
    replaying: Callable[[], AbstractContextManager[Replayer | None]],
    archive: Path,
    reads: Sequence[Read],
    expected: Mapping[str, Expected],
    clock: Clock,
) -> _Steps | None:
    """Replay reads with a fresh reader; return None if the format cannot."""
    steps = _Steps(clock)
    with replaying() as replayer, _kept_open(archive) as kept, without_collection():
        if replayer is None:
            return None
        for read in reads:
            steps.time("metadata", replayer.locate, read.path)
            replay = replayer.replay(read.path, read.selection)
            if replay is None:
                return None
            steps.hold(_replay(replay, steps, kept), expected[read_id(read)])
        steps.settle()
    return steps


def _replay(replay: Replay, steps: _Steps, kept: Mapping[Path, int]) -> np.ndarray:
    """Time the steps of one read, and return its result."""
    extents = replay.extents
    groups = [
        (kept.get(file), file, [(extent.length, extent.offset) for extent in group])
        for file, group in itertools.groupby(extents, key=lambda extent: extent.file)
    ]
    stored = steps.time("file_read", _fetch, groups)
    steps.stored_bytes += sum(extent.length for extent in extents)
    steps.extents += len(extents)
    steps.files.update(extent.file for extent in extents)
    if any(len(data) != extent.length for data, extent in zip(stored, extents, strict=True)):
        steps.problem = steps.problem or "names bytes that lie behind the end of a file"
    state = replay.load(stored)
    del stored
    pieces = steps.time("decode", replay.decode, state)
    del state
    result: np.ndarray = steps.time("copy", replay.place, pieces)
    return result


_Group = tuple[int | None, Path, list[tuple[int, int]]]


def _fetch(groups: Sequence[_Group]) -> list[bytes]:
    """Read (length, offset) pairs file by file; open the files that are not kept open."""
    stored = []
    for kept, file, spans in groups:
        descriptor = os.open(file, os.O_RDONLY) if kept is None else kept
        try:
            for length, offset in spans:
                data = os.pread(descriptor, length, offset)
                stored.append(data if len(data) == length else _rest_of(descriptor, data, length, offset))
        finally:
            if kept is None:
                os.close(descriptor)
    return stored


def _rest_of(descriptor: int, data: bytes, length: int, offset: int) -> bytes:
    """Read the bytes that one call did not return: Linux moves at most 2 GiB at a time."""
    found = bytearray(data)
    while len(found) < length and (more := os.pread(descriptor, length - len(found), offset + len(found))):
        found += more
    return bytes(found)


@contextmanager
def _kept_open(archive: Path) -> Iterator[dict[Path, int]]:
    """Keep a single-file archive open, as its format does in an open reader; yield no descriptors for a folder."""
    if archive.is_dir():
        yield {}
        return
    descriptor = os.open(archive, os.O_RDONLY)
    try:
        yield {archive: descriptor}
    finally:
        os.close(descriptor)
