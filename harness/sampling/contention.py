"""What threads that read together wait for, looked at apart from the samples: looking takes time of its own."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from harness.formats.base import ReadingLock, blame
from harness.records import Waits
from harness.sampling.reading import AccessTask
from harness.sampling.rehearsal import rehearsed
from harness.sampling.sample import take
from harness.sampling.together import shares
from harness.sampling.verify import Expected, check, read_id
from harness.sampling.worker import Children
from harness.workload import Read

_LOOK_EVERY = 0.0005  # seconds between two looks at a lock


class _Looker(threading.Thread):
    """Tries, again and again, to take a lock without waiting, and counts how often somebody else had it."""

    def __init__(self, lock: ReadingLock) -> None:
        super().__init__(name="looker", daemon=True)
        self._lock, self._ended = lock, threading.Event()
        self.looks = self.held = 0

    def run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            self.looks += 1
            if self._lock.acquire(False):
                self._lock.release()
            else:
                self.held += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


@dataclass(frozen=True, kw_only=True)
class ContentionTask(AccessTask):
    """Read once with several threads, each with a reader of its own, and look at what they do meanwhile."""

    def run(self, children: Children) -> Waits:
        """Read, look, and check what came back."""
        backend = rehearsed(self.backend, self.profile)
        reads, workers = self.access.reads, self.access.workers
        _, rejected = self.warm(lambda: take(backend, self.archive, reads, self.expected))
        if rejected:
            return Waits(status="rejected", reason=rejected)
        named = backend.reading_lock()
        looker = _Looker(named[1]) if named else None
        start = threading.Barrier(workers + 1)
        used: list[int] = []
        found: list[tuple[object, Expected]] = []
        errors: list[Exception] = []

        def work(share: list[Read]) -> None:
            try:
                with blame(backend.name, f"reading {self.archive.name}"), backend.reader(self.archive) as reader:
                    start.wait()
                    before = time.thread_time_ns()
                    results = [(reader.read(read.path, read.selection), read) for read in share]
                    used.append(time.thread_time_ns() - before)
                found.extend((result, self.expected[read_id(read)]) for result, read in results)
            except threading.BrokenBarrierError:
                pass  # another thread failed to open, and its error is the one to report
            except Exception as error:  # noqa: BLE001 - carried to the caller's thread
                errors.append(error)
                start.abort()

        readers = [threading.Thread(target=work, args=(share,)) for share in shares(reads, workers)]
        for reader in readers:
            reader.start()
        before = _thread_times()
        with suppress(threading.BrokenBarrierError):
            start.wait()
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        if looker:
            looker.start()
        for reader in readers:
            reader.join()
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        if looker:
            looker.end()
        if errors:
            raise errors[0]
        problem = next((text for result, want in found if (text := check(result, want))), "")
        if problem:
            return Waits(status="failed", reason=problem)
        others = {key: spent - before.get(key, 0) for key, spent in _thread_times().items()}
        (name, _), most = max(others.items(), key=lambda item: item[1], default=(("", 0), 0))
        return Waits(
            wall_seconds=wall / 1e9,
            cpu_seconds=cpu / 1e9,
            reader_cpu_seconds=sum(used) / 1e9,
            busiest_thread=name if most else "",
            busiest_thread_seconds=most / 1e9,
            lock=named[0] if named else "",
            lock_looks=looker.looks if looker else None,
            lock_held=looker.held if looker else None,
            interpreter_lock=interpreter_lock(),
        )


def _thread_times() -> dict[tuple[str, int], int]:
    """Return the processor time so far, in nanoseconds, of every thread of Python but this one, by name and number."""
    found = {}
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.ident is not None and thread.is_alive():
            clock = time.pthread_getcpuclockid(thread.ident)
            found[thread.name, thread.ident] = time.clock_gettime_ns(clock)
    return found


def interpreter_lock() -> bool:
    """Say whether threads of Python share one interpreter lock; without it, as in free-threaded Python, they need not.

    A library that was not built for it turns the lock on again when it is imported.
    """
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
