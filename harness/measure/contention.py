"""What threads that read together wait for, looked at apart from the samples: looking takes time of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.backends.base import Profile, ReadingLock, blame
from harness.measure import cache, schedule
from harness.measure.config import TWIN, RunConfig
from harness.measure.machine import interpreter_lock
from harness.measure.preparation import Prepared
from harness.measure.recorder import RowLog, cell_key
from harness.measure.rehearsal import rehearsed
from harness.measure.subject import Arm, Subject
from harness.measure.together import shares
from harness.measure.verify import Expected, check, read_id
from harness.measure.worker import Children, Worker, WorkerError
from harness.records import CellKey, Contention, Status
from harness.workload import Access, Read, ReadAccess

CONTENTION_ROUNDS = 3

_WARM = "warm"
_LOOK_EVERY = 0.0005  # seconds between two looks at a lock


@dataclass(frozen=True, kw_only=True)
class Waits:
    """What one look found; as the columns of `harness.records.Contention`."""

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    reader_cpu_seconds: float | None = None
    busiest_thread: str = ""
    busiest_thread_seconds: float | None = None
    lock: str = ""
    lock_looks: int | None = None
    lock_held: int | None = None
    interpreter_lock: bool | None = None
    status: Status = "ok"
    reason: str = ""


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
class ContentionTask:
    """Read once with several threads, each with a reader of its own, and look at what they do meanwhile.

    Attributes
    ----------
    backend : str
        The format.
    profile : Profile
        The settings that the archive was written with.
    archive : Path
        What to read.
    reads : tuple of Read
        What to ask for, split over the threads.
    workers : int
        How many threads.
    expected : dict of str to Expected
        What has to come back.
    """

    backend: str
    profile: Profile
    archive: Path
    reads: tuple[Read, ...]
    workers: int
    expected: dict[str, Expected] = field(repr=False)

    def run(self, children: Children) -> Waits:
        """Read, look, and check what came back."""
        backend = rehearsed(self.backend, self.profile)
        _, rejected = cache.warm(self.archive)
        if rejected:
            return Waits(status="rejected", reason=rejected)
        named = backend.reading_lock()
        looker = _Looker(named[1]) if named else None
        start = threading.Barrier(self.workers + 1)
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

        readers = [threading.Thread(target=work, args=(share,)) for share in shares(self.reads, self.workers)]
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


class ContentionRounds:
    """Looks at the accesses that many threads read, in randomised rounds of their own.

    Parameters
    ----------
    config : RunConfig
        What to do.
    arms : list of Arm
        Of the run; the twin of the baseline is left out.
    explainer : Worker
        A process of its own, not one that takes samples.
    log : RowLog of Contention
        Where rows go.
    step : callable
        Told in a few words what comes next; optionally how many steps that is.
    """

    def __init__(
        self, config: RunConfig, arms: list[Arm], explainer: Worker, log: RowLog[Contention], step: Callable[..., None]
    ) -> None:
        self._config, self._explainer, self._log, self._step = config, explainer, log, step
        self._arms = [arm for arm in arms if arm.label != TWIN]
        self._most = max((n for executor, n in config.options.workers if executor == "threads"), default=0)

    def applies(self, access: Access) -> bool:
        """Say whether an access is one that the most threads read, each with a reader of its own."""
        return (
            isinstance(access, ReadAccess)
            and access.executor == "threads"
            and access.workers == self._most > 1
            and _WARM in self._config.caches
            and self._config.store is None
        )

    def steps(self, access: Access) -> int:
        """Return the number of steps that `measure` will report."""
        return len(self._arms) * CONTENTION_ROUNDS if self.applies(access) else 0

    def complete(self, subject: Subject, suite: str, access: Access) -> bool:
        """Say whether there is nothing left to look at."""
        return not self.applies(access) or all(
            self._log.finished(cell_key(subject, suite, access, arm, _WARM), CONTENTION_ROUNDS) for arm in self._arms
        )

    def measure(
        self, subject: Subject, prepared: Prepared, suite: str, access: ReadAccess, failed: Callable[[CellKey], bool]
    ) -> None:
        """Look at what is missing of an access; parameters as for `BreakdownRounds.measure`."""
        if not self.applies(access):
            return
        tasks: dict[Arm, ContentionTask] = {}
        for arm in self._arms:
            key = cell_key(subject, suite, access, arm, _WARM)
            if arm in prepared.failures or failed(key):
                status, reason = prepared.failures.get(arm, ("skipped", "a sample of this cell failed"))
                self._log.explain(key, CONTENTION_ROUNDS, status=status, reason=reason)
                self._step("skipped", CONTENTION_ROUNDS)
                continue
            tasks[arm] = ContentionTask(
                backend=arm.backend,
                profile=arm.settings,
                archive=prepared.archives[arm],
                reads=access.reads,
                workers=access.workers,
                expected={read_id(read): prepared.expected[read_id(read)] for read in access.reads},
            )
        rng = schedule.generator(self._config.seed, suite, access.name, subject.label, subject.n_res, "contention")
        for number, position, arm in schedule.blocks(list(tasks), CONTENTION_ROUNDS, rng):
            self._step(f"{suite} {access.name} contention {arm.label}")
            key = cell_key(subject, suite, access, arm, _WARM)
            if not self._log.has(key, number):
                self._log.add(key, number, position, **asdict(self._look(tasks[arm])))

    def _look(self, task: ContentionTask) -> Waits:
        try:
            waits: Waits = self._explainer.do(task)
        except WorkerError as error:
            return Waits(status="failed", reason=str(error))
        return waits
