"""One sample by several workers: shares that start together, every read timed, one reading made of all parts."""

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
    """What one worker did of a sample; times in nanoseconds, on a clock that all workers of a machine share."""

    opened: int  # Time to open its reader.
    # Ndarray of int64, shape (reads + 1,). When it began, and when each read had returned.
    marks: np.ndarray = field(repr=False)
    # Processor time of its process during the reads; None where several workers share a process.
    cpu: int | None = None


def shares(reads: Sequence[Read], workers: int) -> list[tuple[Read, ...]]:
    """Split reads into consecutive shares that differ in length by at most one."""
    bounds = [len(reads) * k // workers for k in range(workers + 1)]
    return [tuple(reads[start:stop]) for start, stop in itertools.pairwise(bounds)]


def combine(parts: Sequence[WorkerPart]) -> Reading:
    """Make one reading of all workers' parts, the time of reads from the first start to the last end."""
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
    """Return a time that really was measured for each of `PERCENTILES`: the smallest that so many do not exceed."""
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
    """Take one sample with the reads split over threads; parameters as for `harness.sampling.sample.take`.

    Parameters
    ----------
    backend, archive, reads, expected, counter, clock
        As for `take`.
    workers : int
        Number of threads.
    shared : bool
        Whether all use one open reader; otherwise each opens its own. They begin to read when all are open.

    Returns
    -------
    Reading
        Seconds from the first start to the last end; opening lasts until all may read.

    Raises
    ------
    HarnessError
        When the format raised in any thread.
    """
    moments: list[tuple[int, int]] = []  # time, and processor time of the process, whenever all have come so far
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
        # What a reader does while others are still opened is time that all wait.
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
    if errors:  # one that found the barrier broken only echoes another
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
        As for `harness.sampling.sample.take`; the system's monotonic clock is one that all processes share.
    wait : callable
        Returns when all workers may open the archive and read.
    """
    sought = seek(share, expected)
    doing = blame(backend.name, f"reading {archive.name}")
    wait()  # before opening: what a reader did while it waited would be counted nowhere
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
    """Read a share and look at the clock after every read; results are kept, and checked when all workers are done."""
    held: Held = []
    fetch = reader.read
    marks = [clock()]
    for path, selection, want in sought:
        held.append((fetch(path, selection), want))
        marks.append(clock())
    return marks, held
