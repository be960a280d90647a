"""Samples by several workers: split the reads into shares, time every read, combine all parts into one reading."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Reader, blame
from harness.sampling.counters import LocalCounter
from harness.sampling.sample import (
    Clock,
    Counter,
    Opener,
    Reading,
    Returned,
    Sought,
    Tally,
    accounted,
    opened,
    seek,
    settle,
)  # fmt: skip
from harness.sampling.verify import Expected
from harness.workload import Read

PERCENTILES = (50, 95, 99)
_SUMS = ("bytes_read", "requests", "retries", "peak_rss_bytes")

Held = list[tuple[object, Expected]]


@dataclass(frozen=True, kw_only=True)
class WorkerPart(Returned):
    """One worker's part of a sample; times in nanoseconds, on a clock that all workers of a machine share."""

    opened: int  # Time to open its reader.
    # Ndarray of int64, shape (reads + 1,). Start of the first read, and the end of each read.
    marks: np.ndarray = field(repr=False)
    # Processor time of its process during the reads; None if several workers share a process.
    cpu: int | None = None


def shares(reads: Sequence[Read], workers: int) -> list[tuple[Read, ...]]:
    """Split reads into consecutive shares that differ in length by at most one."""
    bounds = [len(reads) * k // workers for k in range(workers + 1)]
    return [tuple(reads[start:stop]) for start, stop in itertools.pairwise(bounds)]


def combine(parts: Sequence[WorkerPart]) -> Reading:
    """Combine all workers' parts into one reading, whose time is from the first start to the last end."""
    latencies = np.concatenate([np.diff(part.marks) for part in parts]) / 1e9
    cpu = _total([part.cpu for part in parts])
    sums: dict[str, Any] = {name: _total([getattr(part, name) for part in parts]) for name in _SUMS}
    return Reading(
        seconds=(max(part.marks[-1] for part in parts) - min(part.marks[0] for part in parts)).item() / 1e9,
        open_seconds=max(part.opened for part in parts) / 1e9,
        bytes_returned=sum(part.bytes_returned for part in parts),
        problem=next((part.problem for part in parts if part.problem), ""),
        latencies=_percentiles(latencies) if len(latencies) else None,
        cpu_seconds=None if cpu is None else cpu / 1e9,
        worker_seconds=tuple((part.marks[-1] - part.marks[0]).item() / 1e9 for part in parts),
        **sums,
    )


def _percentiles(seconds: np.ndarray) -> tuple[float, float, float]:
    """Return `PERCENTILES` of times without interpolation, so that each is a measured time."""
    low, middle, high = np.percentile(seconds, PERCENTILES, method="inverted_cdf")
    return float(low), float(middle), float(high)


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def take_threads(
    backend: Opener,
    archive: Path,
    reads: Sequence[Read],
    expected: Mapping[str, Expected],
    workers: int,
    *,
    shared: bool,
    counter: Counter = LocalCounter,
    clock: Clock = time.perf_counter_ns,
) -> Reading:
    """Take one sample with the reads split over threads.

    Parameters
    ----------
    backend, archive, reads, expected, counter, clock
        As for `harness.sampling.sample.take`.
    workers : int
        Number of threads.
    shared : bool
        Whether all threads use one open reader; otherwise each opens its own. All start to read once all are open.

    Returns
    -------
    Reading
        Time from the first start to the last end; the time to open lasts until all threads may read.

    Raises
    ------
    HarnessError
        When the format raised in any thread.
    """
    moments: list[tuple[int, int]] = []  # clock, and processor time of the process, each time all reach the barrier
    barrier = threading.Barrier(workers, action=lambda: moments.append((clock(), time.process_time_ns())))
    common: list[Reader] = []

    def part(number: int, sought: Sought) -> WorkerPart:
        try:
            with ExitStack() as stack:
                barrier.wait()
                if number == 0 or not shared:
                    common.append(reader := stack.enter_context(opened(backend, archive, clock))[0])
                barrier.wait()
                with blame(backend.name, f"reading {archive.name}"):
                    marks, held = _read(common[0] if shared else reader, sought, clock)
                barrier.wait()
                tally = settle(held, Tally())
                barrier.wait()
        except BaseException:
            barrier.abort()
            raise
        # Opening counts until all readers are open, including work that a reader does while it waits.
        return WorkerPart(
            opened=marks[0] - moments[0][0],
            marks=np.array(marks),
            bytes_returned=tally.bytes_returned,
            problem=tally.problem,
        )

    split = [seek(share, expected) for share in shares(reads, workers)]
    with accounted(counter) as usage, ThreadPoolExecutor(workers) as pool:
        parts = [pool.submit(part, number, sought) for number, sought in enumerate(split)]
    errors = [error for each in parts if (error := each.exception())]
    if errors:  # a broken barrier only follows from another error
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    (_, _), (_, start), (_, end), _ = moments
    return dataclasses.replace(combine([each.result() for each in parts]), cpu_seconds=(end - start) / 1e9, **usage)


def take_share(
    backend: Opener,
    archive: Path,
    share: Sequence[Read],
    expected: Mapping[str, Expected],
    wait: Callable[[], object],
    counter: Counter = LocalCounter,
    clock: Clock = time.perf_counter_ns,
) -> WorkerPart:
    """Take one worker process's share of a sample.

    Parameters
    ----------
    backend, archive, share, expected, counter, clock
        As for `harness.sampling.sample.take`. All processes share the system's monotonic clock.
    wait : callable
        Returns when all workers may open the archive and read.
    """
    sought = seek(share, expected)
    doing = blame(backend.name, f"reading {archive.name}")
    wait()  # before opening: work of an open reader during the wait would not be counted
    with accounted(counter) as usage, opened(backend, archive, clock) as (reader, opening), doing:
        cpu = time.process_time_ns()
        marks, held = _read(reader, sought, clock)
        cpu = time.process_time_ns() - cpu
        tally = settle(held, Tally())
    return WorkerPart(
        opened=opening,
        marks=np.array(marks),
        cpu=cpu,
        bytes_returned=tally.bytes_returned,
        problem=tally.problem,
        **usage,
    )


def _read(reader: Reader, sought: Sought, clock: Clock) -> tuple[list[int], Held]:
    """Read a share, and return the clock after every read, and the results, to be checked when all workers are done."""
    held: Held = []
    fetch = reader.read
    marks = [clock()]
    for path, selection, want in sought:
        held.append((fetch(path, selection), want))
        marks.append(clock())
    return marks, held
