"""One sample by several workers: shares that start together, every read timed, one reading made of all parts."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.formats.base import Reader, blame
from harness.sampling.accounting import LocalCounter
from harness.sampling.sample import Clock, Counter, Opener, Reading, Tally, accounted, settle, without_collection
from harness.sampling.verify import Expected, read_id
from harness.workload import Read

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, kw_only=True)
class WorkerPart:
    """What one worker did of a sample; times in nanoseconds, on a clock that all workers of a machine share.

    Attributes
    ----------
    started, ended : int
        When it began to read, and when it had read its share.
    opened : int
        Time to open its reader.
    marks : ndarray of int64, shape (reads + 1,)
        When it began, and when each read had returned.
    cpu : int or None
        Processor time of its process during the reads; None where several workers share a process.
    bytes_returned : int
        Bytes of the arrays that came back.
    bytes_read, requests, retries, peak_rss_bytes : int or None
        As in `Reading`, of its process.
    problem : str
        What was wrong with a result.
    """

    started: int
    ended: int
    opened: int
    marks: np.ndarray = field(repr=False)
    cpu: int | None = None
    bytes_returned: int = 0
    bytes_read: int | None = None
    requests: int | None = None
    retries: int | None = None
    peak_rss_bytes: int | None = None
    problem: str = ""


def shares(reads: Sequence[Read], workers: int) -> list[list[Read]]:
    """Split reads into consecutive shares that differ in length by at most one."""
    bounds = [len(reads) * k // workers for k in range(workers + 1)]
    return [list(reads[start:stop]) for start, stop in itertools.pairwise(bounds)]


def combine(parts: Sequence[WorkerPart]) -> Reading:
    """Make one reading of all workers' parts, its time from the first start to the last end."""
    latencies = np.concatenate([np.diff(part.marks) for part in parts]) / 1e9
    return Reading(
        seconds=(max(part.ended for part in parts) - min(part.started for part in parts)) / 1e9,
        open_seconds=max(part.opened for part in parts) / 1e9,
        bytes_returned=sum(part.bytes_returned for part in parts),
        bytes_read=_total([part.bytes_read for part in parts]),
        requests=_total([part.requests for part in parts]),
        retries=_total([part.retries for part in parts]),
        peak_rss_bytes=_total([part.peak_rss_bytes for part in parts]),
        problem=next((part.problem for part in parts if part.problem), ""),
        latencies=_percentiles(latencies) if len(latencies) else None,
        cpu_seconds=None if (cpu := _total([part.cpu for part in parts])) is None else cpu / 1e9,
        worker_seconds=tuple((part.ended - part.started) / 1e9 for part in parts),
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
    begun: list[int] = []
    barrier = threading.Barrier(workers, action=lambda: begun.append(time.process_time_ns()))
    common: list[Reader] = []
    found: dict[int, tuple[WorkerPart, list[tuple[object, Expected]]]] = {}
    ends: list[int] = []
    errors: list[BaseException] = []

    def work(number: int, share: list[Read]) -> None:
        try:
            with blame(backend.name, f"opening {archive.name}"):
                start = clock()
                reader = common[0] if shared else backend.reader(archive)
                opened = clock() - start
            try:
                barrier.wait()
                with blame(backend.name, f"reading {archive.name}"):
                    marks, held = _read(reader, share, expected, clock)
                ends.append(time.process_time_ns())
                opened = shared_open if shared else opened
                found[number] = (
                    WorkerPart(started=marks[0], ended=marks[-1], opened=opened, marks=np.array(marks)),
                    held,
                )
            finally:
                if not shared:
                    reader.close()
        except threading.BrokenBarrierError:
            pass  # another thread failed, and its error is the one to report
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread
            errors.append(error)
            barrier.abort()

    with accounted(counter) as account, without_collection():
        start = clock()
        if shared:
            with blame(backend.name, f"opening {archive.name}"):
                common.append(backend.reader(archive))
        shared_open = clock() - start
        threads = [
            threading.Thread(target=work, args=(number, share)) for number, share in enumerate(shares(reads, workers))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for reader in common:
            reader.close()
    if errors:
        raise errors[0]
    tally = Tally()
    for _, held in found.values():
        settle(held, tally)
    whole = combine([found[number][0] for number in range(workers)])
    process = account(0, 0, tally.bytes_returned, tally.problem)
    return dataclasses.replace(
        process,
        seconds=whole.seconds,
        open_seconds=whole.open_seconds,
        latencies=whole.latencies,
        cpu_seconds=(max(ends) - begun[0]) / 1e9,
        worker_seconds=whole.worker_seconds,
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
        As for `take`; the system's monotonic clock is one that all processes share.
    wait : callable
        Returns when all workers may start.

    Returns
    -------
    WorkerPart
        Of this share.
    """
    with accounted(counter) as account, without_collection():
        with blame(backend.name, f"opening {archive.name}"):
            start = clock()
            reader = backend.reader(archive)
            opened = clock() - start
        with reader, blame(backend.name, f"reading {archive.name}"):
            wait()
            cpu = time.process_time_ns()
            marks, held = _read(reader, share, expected, clock)
            cpu = time.process_time_ns() - cpu
    tally = Tally()
    settle(held, tally)
    process = account(0, 0, tally.bytes_returned, tally.problem)
    return WorkerPart(
        started=marks[0],
        ended=marks[-1],
        opened=opened,
        marks=np.array(marks),
        cpu=cpu,
        bytes_returned=process.bytes_returned,
        bytes_read=process.bytes_read,
        requests=process.requests,
        retries=process.retries,
        peak_rss_bytes=process.peak_rss_bytes,
        problem=process.problem,
    )


def _read(
    reader: Reader, reads: Sequence[Read], expected: Mapping[str, Expected], clock: Clock
) -> tuple[list[int], list[tuple[object, Expected]]]:
    """Read a share and look at the clock after every read; results are kept, and checked when all workers are done."""
    sought = [(read.path, read.selection, expected[read_id(read)]) for read in reads]
    held: list[tuple[object, Expected]] = []
    fetch = reader.read
    marks = [clock()]
    for path, selection, want in sought:
        held.append((fetch(path, selection), want))
        marks.append(clock())
    return marks, held
