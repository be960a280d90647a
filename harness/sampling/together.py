"""One sample by several workers: shares that start together, every read timed, one reading made of all parts."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Reader, blame
from harness.sampling.accounting import LocalCounter
from harness.sampling.sample import Clock, Counter, Opener, Reading, Returned, Tally, accounted, opened, settle
from harness.sampling.verify import Expected, read_id
from harness.workload import Read

PERCENTILES = (50, 95, 99)
_SUMS = ("bytes_read", "requests", "retries", "peak_rss_bytes")

Held = list[tuple[object, Expected]]


@dataclass(frozen=True, kw_only=True)
class WorkerPart(Returned):
    """What one worker did of a sample; times in nanoseconds, on a clock that all workers of a machine share.

    Attributes
    ----------
    opened : int
        Time to open its reader.
    marks : ndarray of int64, shape (reads + 1,)
        When it began, and when each read had returned.
    cpu : int or None
        Processor time of its process during the reads; None where several workers share a process.
    """

    opened: int
    marks: np.ndarray = field(repr=False)
    cpu: int | None = None


def shares(reads: Sequence[Read], workers: int) -> list[tuple[Read, ...]]:
    """Split reads into consecutive shares that differ in length by at most one."""
    bounds = [len(reads) * k // workers for k in range(workers + 1)]
    return [tuple(reads[start:stop]) for start, stop in itertools.pairwise(bounds)]


def combine(parts: Sequence[WorkerPart]) -> Reading:
    """Make one reading of all workers' parts, its time from the first start to the last end."""
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
        Whether all use one open reader; otherwise each opens its own, before the common start.

    Returns
    -------
    Reading
        Seconds from the first start to the last end.

    Raises
    ------
    HarnessError
        When the format raised in any thread.
    """
    begun: list[int] = []  # processor time of the process, as are the ends
    ends: list[int] = []
    barrier = threading.Barrier(workers, action=lambda: begun.append(time.process_time_ns()))

    def part(share: Sequence[Read], common: tuple[Reader, int] | None) -> tuple[WorkerPart, Held]:
        try:
            with nullcontext(common) if common else opened(backend, archive, clock) as (reader, opening):
                barrier.wait()
                with blame(backend.name, f"reading {archive.name}"):
                    marks, held = _read(reader, share, expected, clock)
                ends.append(time.process_time_ns())
        except BaseException:
            barrier.abort()
            raise
        return WorkerPart(opened=opening, marks=np.array(marks)), held

    with accounted(counter) as usage, ExitStack() as stack:
        common = stack.enter_context(opened(backend, archive, clock)) if shared else None
        with ThreadPoolExecutor(workers) as pool:
            parts = [pool.submit(part, share, common) for share in shares(reads, workers)]
    errors = [error for each in parts if (error := each.exception())]
    if errors:  # one that found the barrier broken only echoes another
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    tally = Tally()
    for each in parts:
        settle(each.result()[1], tally)
    return dataclasses.replace(
        combine([each.result()[0] for each in parts]),
        bytes_returned=tally.bytes_returned,
        problem=tally.problem,
        cpu_seconds=(max(ends) - begun[0]) / 1e9,
        **usage,
    )


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
        Returns when all workers may start.
    """
    doing = blame(backend.name, f"reading {archive.name}")
    with accounted(counter) as usage, opened(backend, archive, clock) as (reader, opening), doing:
        wait()
        cpu = time.process_time_ns()
        marks, held = _read(reader, share, expected, clock)
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


def _read(
    reader: Reader, reads: Sequence[Read], expected: Mapping[str, Expected], clock: Clock
) -> tuple[list[int], Held]:
    """Read a share and look at the clock after every read; results are kept, and checked when all workers are done."""
    sought = [(read.path, read.selection, expected[read_id(read)]) for read in reads]
    held: Held = []
    fetch = reader.read
    marks = [clock()]
    for path, selection, want in sought:
        held.append((fetch(path, selection), want))
        marks.append(clock())
    return marks, held
