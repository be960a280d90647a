"""The processes that measure, one for each contender: while one has its turn, every thread of the others is stopped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from harness.capacity import capacity
from harness.sampling.worker import Task, Worker, WorkerError

_MEMORY = 0.25
"""Part of memory that processes at rest may hold: archives have to stay in the page cache beside them."""


class Turn(Task, Protocol):
    """What a contender does when it is its turn.

    Where it has an attribute ``discarded``, a process that is new does that before: what is met first is no sample.
    """

    @property
    def pausable(self) -> bool:
        """Whether the process that does it may be stopped afterwards."""


class ContenderProcesses:
    """A measuring process for each contender, started when first needed, at rest but for its turn.

    Every thread of a contender is stopped before another has its turn, by `harness.sampling.worker.Worker.do`. What
    cannot be stopped, as a Dask cluster, is shared by the contenders that ask for it, and is ended before the turn of
    one that can.

    Parameters
    ----------
    patience : float
        Seconds after which a task counts as hung.
    threads : int or None
        The budget of threads of each, as `harness.sampling.worker.Worker` takes it.
    most : int or None
        The most processes that are kept alive; None for as many as hold a quarter of the memory of this machine or
        control group. The one whose turn is longest ago is ended first, and started anew for its next turn.

    Raises
    ------
    UsageError
        When there are not so many processors.
    """

    def __init__(self, patience: float, threads: int | None, most: int | None = None) -> None:
        self._patience, self._threads, self._most = patience, threads, most
        self._workers: OrderedDict[Hashable, Worker] = OrderedDict()  # the last has had its turn last
        self._unpausable = Worker(patience, threads=threads)
        self._new: set[Hashable] = set()  # those that have begun and had no turn
        self._failed: set[Hashable] = set()  # those that failed to begin

    def do(self, key: Hashable, task: Turn) -> Any:
        """Let a contender run a task and return its result; every other one is at rest meanwhile.

        Parameters
        ----------
        key : hashable
            The contender.
        task : Turn
            What to do.

        Raises
        ------
        WorkerError
            When it failed, hung, or took the process down.
        """
        if not task.pausable:
            return self._unpausable.do(task)
        self._unpausable.close()
        worker = self._workers.get(key) or Worker(self._patience, threads=self._threads)
        anew = not worker.running
        if anew:
            self._make_room(key)
        anew |= key in self._new
        self._new.discard(key)
        self._workers[key] = worker
        self._workers.move_to_end(key)
        first = getattr(task, "discarded", None)
        if anew and first is not None:
            worker.do(first)
        return worker.do(task)

    def begin(self, tasks: Mapping[Any, Task]) -> None:
        """Start the processes of contenders that have none, as many at a time as there are processors.

        Starting takes longer than most turns, and nothing of it is timed.

        Parameters
        ----------
        tasks : mapping of hashable to Task
            What each does first, by its contender. What fails is not told here: its turn meets it again.
        """
        self._unpausable.close()
        new = [key for key in tasks if key not in self._failed and not self._runs(key)]
        cores = capacity().cores_usable
        at_once = min(self._threads or cores, cores)
        for some in (new[start : start + at_once] for start in range(0, len(new), at_once)):
            if self._too_many([each.held_bytes for each in self._workers.values() if each.running], len(some)):
                return  # those that are left start when it is their turn
            for key in some:
                self._new.add(key)
                worker = self._workers.setdefault(key, Worker(self._patience, threads=self._threads))
                self._workers.move_to_end(key)
                with self._noting(key):
                    worker.begin(tasks[key])
            for key in some:
                with self._noting(key):
                    self._workers[key].finish()

    @contextmanager
    def _noting(self, key: Hashable) -> Iterator[None]:
        """Note whose beginning fails: it is not tried again, for it may have taken all of its patience."""
        try:
            yield
        except WorkerError:
            self._failed.add(key)

    def _runs(self, key: Hashable) -> bool:
        return key in self._workers and self._workers[key].running

    def _too_many(self, held: Sequence[int], more: int = 1) -> bool:
        """Say whether more processes would be too many, by number or by the memory that those there are hold."""
        if self._most is not None and len(held) + more > self._most:
            return True
        memory = capacity().memory_usable_bytes
        return memory is not None and bool(held) and sum(held) + more * max(held) > _MEMORY * memory

    def end(self, keys: Iterable[Hashable]) -> None:
        """End the processes of some contenders, which start anew for their next turn."""
        keys = list(keys)
        self._new.difference_update(keys)
        _close([worker for key in keys if (worker := self._workers.pop(key, None))])

    def _make_room(self, key: Hashable) -> None:
        """End those whose turn is longest ago, for what a contender without a process will take."""
        others = [worker for each, worker in self._workers.items() if each != key and worker.running]
        held = [worker.held_bytes for worker in others]
        while others and self._too_many(held):
            others.pop(0).close()
            held.pop(0)

    def close(self) -> None:
        """Let all go on and end, and kill what does not."""
        _close([self._unpausable, *self._workers.values()])

    def __enter__(self) -> ContenderProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(workers: Sequence[Worker]) -> None:
    """Let as many end at a time as there are processors: more would show as load of the machine for minutes."""
    at_once = capacity().cores_usable
    for some in (workers[start : start + at_once] for start in range(0, len(workers), at_once)):
        for worker in some:
            worker.release()
        for worker in some:
            worker.close()
