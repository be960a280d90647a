"""Samples in one thread: open a fresh reader, run the reads, stop the timer, then verify the results."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.formats.base import Reader, blame
from harness.formats.selection import Selection
from harness.sampling.counters import LocalCounter, ReadCounts, peak_rss, reset_peak_rss
from harness.sampling.verify import MAPPED, Expected, check_all, mapped, read_id
from harness.workload import Read

Clock = Callable[[], int]
"""Returns nanoseconds; `time.perf_counter_ns`, or a fake in tests."""


class ReadCounter(Protocol):
    """Counts reads of this process since its creation."""

    def counts(self) -> ReadCounts:
        """Return the reads since the creation of the counter."""


Counter = Callable[[], ReadCounter]
"""Creates a counter of this process's reads."""

HELD_BYTES = 64 << 20
"""Results are held until they reach this many bytes; then the clock stops while they are verified and released."""


class Opener(Protocol):
    """The parts of a format that a sample needs: its name, and a function that opens a reader."""

    @property
    def name(self) -> str:
        """The format's name."""

    def reader(self, path: Path) -> Reader:
        """Open a fresh reader of an archive."""


@dataclass(frozen=True, kw_only=True)
class Returned:
    """Results of reads in a process, and the reads and memory that they took."""

    bytes_returned: int = 0  # Bytes of the returned arrays.
    # Bytes and number of the process's read calls, including opening; for a store, of its client's requests.
    bytes_read: int | None = None
    requests: int | None = None
    retries: int | None = None  # Requests to a store that were sent again after a fault.
    peak_rss_bytes: int | None = None  # Peak resident size during the sample; summed over processes.
    problem: str = ""  # What was wrong with a result; empty if every bit was correct.


@dataclass(frozen=True, kw_only=True)
class Reading(Returned):
    """Result of one sample of a read access; latencies and times of workers are empty for the main thread."""

    seconds: float  # Time of the reads; with several workers, from the first start to the last end.
    open_seconds: float  # Time to open a reader; with several workers, the longest.
    # The 50th, 95th and 99th percentile of the time of one read, over the reads of all workers.
    latencies: tuple[float, float, float] | None = None
    # Processor time of all threads of the reading processes during the reads; None if unknown.
    cpu_seconds: float | None = None
    worker_seconds: tuple[float, ...] = ()  # Time of each worker's share.
    rejected: str = ""  # Why the time is not valid although every bit was correct; empty if it is valid.


@dataclass
class Tally:
    """Sums over reads so far: time and processor time in nanoseconds, bytes returned, and the first problem."""

    nanoseconds: int = 0
    cpu: int = 0
    bytes_returned: int = 0
    problem: str = ""


def take(
    backend: Opener,
    archive: Path,
    reads: Sequence[Read],
    expected: Mapping[str, Expected],
    *,
    load_once: bool = False,
    counter: Counter = LocalCounter,
    clock: Clock = time.perf_counter_ns,
) -> Reading:
    """Take one sample in this thread.

    Parameters
    ----------
    backend : Opener
        The format.
    archive : Path
        The archive.
    reads : sequence of Read
        The reads, in order.
    expected : mapping of str to Expected
        From `harness.sampling.verify.expectations`.
    load_once : bool
        Read each complete tensor once, and take selections from memory.
    counter : callable
        Creates a counter of reads.
    clock : callable
        Returns nanoseconds.

    Returns
    -------
    Reading
        With a problem if a result was wrong.

    Raises
    ------
    HarnessError
        When the format raised.
    """
    doing = blame(backend.name, f"reading {archive.name}")
    sought = seek(reads, expected)
    with accounted(counter) as usage, opened(backend, archive, clock) as (reader, opening), doing:
        tally = (_load_once if load_once else _each)(reader, sought, clock)
    return Reading(
        seconds=tally.nanoseconds / 1e9,
        open_seconds=opening / 1e9,
        cpu_seconds=tally.cpu / 1e9,
        bytes_returned=tally.bytes_returned,
        problem=tally.problem,
        **usage,
    )


Sought = Sequence[tuple[str, Selection | None, Expected]]
"""Reads as path, selection and expected result."""


def seek(reads: Sequence[Read], expected: Mapping[str, Expected]) -> Sought:
    """Look up expected results before a reader is opened, so that no other work falls between opening and reading."""
    return [(read.path, read.selection, expected[read_id(read)]) for read in reads]


def _each(reader: Reader, sought: Sought, clock: Clock) -> Tally:
    """Run reads one by one; besides reading, the timed loop only appends to a list and adds two numbers."""
    tally = Tally()
    held: list[tuple[object, Expected]] = []
    bytes_held = 0
    fetch = reader.read
    cpu, start = time.process_time_ns(), clock()
    for path, selection, want in sought:
        held.append((fetch(path, selection), want))
        bytes_held += want.nbytes
        if bytes_held >= HELD_BYTES:
            tally.nanoseconds += clock() - start
            tally.cpu += time.process_time_ns() - cpu
            settle(held, tally)
            bytes_held = 0
            cpu, start = time.process_time_ns(), clock()
    tally.nanoseconds += clock() - start
    tally.cpu += time.process_time_ns() - cpu
    return settle(held, tally)


def _load_once(reader: Reader, sought: Sought, clock: Clock) -> Tally:
    """Read each complete tensor that the reads touch, take its selections from memory, and release it."""
    tally = Tally()
    for name in dict.fromkeys(path for path, _, _ in sought):
        parts = [(selection, want) for path, selection, want in sought if path == name]
        cpu, start = time.process_time_ns(), clock()
        tensor = reader.read(name)
        results = [tensor if selection is None else tensor[selection].copy() for selection, _ in parts]
        tally.nanoseconds += clock() - start
        tally.cpu += time.process_time_ns() - cpu
        if mapped(tensor):  # the selections are copies in memory, but the tensor itself was not loaded
            tally.problem = tally.problem or MAPPED
        settle([(result, want) for result, (_, want) in zip(results, parts, strict=True)], tally)
    return tally


def settle(held: list[tuple[object, Expected]], tally: Tally) -> Tally:
    """Verify results, add them to the tally, and release them; requires that their reader is still open."""
    tally.problem = tally.problem or check_all(held)
    tally.bytes_returned += sum(result.nbytes for result, _ in held if isinstance(result, np.ndarray))
    held.clear()
    return tally


@contextmanager
def opened(backend: Opener, archive: Path, clock: Clock) -> Iterator[tuple[Reader, int]]:
    """Open a fresh reader; yields it with the nanoseconds that opening took."""
    with blame(backend.name, f"opening {archive.name}"):
        start = clock()
        reader = backend.reader(archive)
        nanoseconds = clock() - start
    with reader:
        yield reader, nanoseconds


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector from running inside a timer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def accounted(counter: Counter) -> Iterator[dict[str, Any]]:
    """Count reads and peak memory of the block, without garbage collection.

    Yields a dict that has the fields ``bytes_read``, ``requests``, ``retries`` and ``peak_rss_bytes`` of `Returned`
    after the block.
    """
    found: dict[str, Any] = {}
    reset_peak_rss()
    counting = counter()
    with without_collection():
        yield found
    found.update(dataclasses.asdict(counting.counts()), peak_rss_bytes=peak_rss())
