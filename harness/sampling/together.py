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


class _Crew:
    """Threads that open, begin together and read: what each found, or what the first that failed raised."""

    def __init__(
        self, backend: Opener, archive: Path, expected: Mapping[str, Expected], workers: int, clock: Clock
    ) -> None:
        self._backend, self._archive, self._expected, self._clock = backend, archive, expected, clock
        self.begun: list[int] = []  # processor time of the process, as are the ends
        self.ends: list[int] = []
        self._barrier = threading.Barrier(workers, action=lambda: self.begun.append(time.process_time_ns()))
        self.found: dict[int, tuple[WorkerPart, list[tuple[object, Expected]]]] = {}
        self.errors: list[BaseException] = []

    def opened(self) -> tuple[Reader, int]:
        """Open a reader; returns how long that took too."""
        with blame(self._backend.name, f"opening {self._archive.name}"):
            start = self._clock()
            return self._backend.reader(self._archive), self._clock() - start

    def read(self, number: int, share: list[Read], common: tuple[Reader, int] | None) -> None:
        try:
            reader, opened = common or self.opened()
            try:
                self._barrier.wait()
                with blame(self._backend.name, f"reading {self._archive.name}"):
                    marks, held = _read(reader, share, self._expected, self._clock)
                self.ends.append(time.process_time_ns())
                part = WorkerPart(started=marks[0], ended=marks[-1], opened=opened, marks=np.array(marks))
                self.found[number] = part, held
            finally:
                if common is None:
                    reader.close()
        except threading.BrokenBarrierError:
            pass  # another thread failed, and its error is the one to report
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread
            self.errors.append(error)
            self._barrier.abort()


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
    crew = _Crew(backend, archive, expected, workers, clock)
    with accounted(counter) as account, without_collection():
        common = crew.opened() if shared else None
        threads = [
            threading.Thread(target=crew.read, args=(number, share, common))
            for number, share in enumerate(shares(reads, workers))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if common:
            common[0].close()
    if crew.errors:
        raise crew.errors[0]
    tally = Tally()
    for _, held in crew.found.values():
        settle(held, tally)
    whole = combine([crew.found[number][0] for number in range(workers)])
    process = account(0, 0, tally.bytes_returned, tally.problem)
    return dataclasses.replace(
        process,
        seconds=whole.seconds,
        open_seconds=whole.open_seconds,
        latencies=whole.latencies,
        cpu_seconds=(max(crew.ends) - crew.begun[0]) / 1e9,
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
