"""Measuring processes, one per contender: while one contender has its turn, all threads of the others are stopped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from harness.capacity import capacity
from harness.sampling.worker import Task, Worker, WorkerError

_MEMORY = 0.25
"""Fraction of memory that resting processes may hold; the rest is for archives in the page cache."""


class Turn(Task, Protocol):
    """The task of a contender in its turn.

    If it has an attribute ``discarded``, a new process first runs that task, so that its first use is not a sample.
    """

    @property
    def pausable(self) -> bool:
        """Whether the process that runs it may be stopped afterwards."""


class ContenderProcesses:
    """A measuring process for each contender, started when first needed, and stopped outside its turn.

    `harness.sampling.worker.Worker.do` stops all threads of a contender before the next one has its turn. Tasks that
    are not pausable, such as those with a Dask cluster, run in one process for all contenders. It is ended before the
    turn of a pausable task.

    Parameters
    ----------
    patience : float
        Seconds after which a task counts as hung.
    threads : int or None
        Budget of threads of each process, as for `harness.sampling.worker.Worker`.
    most : int or None
        Maximum number of processes that are kept alive; None for as many as hold a quarter of the memory of this
        machine or control group. The process with the least recent turn is ended first, and restarted for its next
        turn.

    Raises
    ------
    UsageError
        When the budget exceeds the number of processors.
    """

    def __init__(self, patience: float, threads: int | None, most: int | None = None) -> None:
        self._patience, self._threads, self._most = patience, threads, most
        self._workers: OrderedDict[Hashable, Worker] = OrderedDict()  # least recent turn first
        self._unpausable = Worker(patience, threads=threads)
        self._new: set[Hashable] = set()  # started by `begin`, and had no turn yet
        self._failed: set[Hashable] = set()  # failed in `begin`

    def do(self, key: Hashable, task: Turn) -> Any:
        """Run a task in a contender's process and return its result; all other contenders are stopped meanwhile.

        Parameters
        ----------
        key : hashable
            The contender.
        task : Turn
            The task.

        Raises
        ------
        WorkerError
            When the task failed or hung, or its process ended.
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

        Starting takes longer than most turns, and is never timed.

        Parameters
        ----------
        tasks : mapping of hashable to Task
            First task of each contender. Failures are not raised here, because the contender's turn meets them again.
        """
        self._unpausable.close()
        new = [key for key in tasks if key not in self._failed and not self._runs(key)]
        cores = capacity().cores_usable
        at_once = min(self._threads or cores, cores)
        for some in (new[start : start + at_once] for start in range(0, len(new), at_once)):
            if self._too_many([each.held_bytes for each in self._workers.values() if each.running], len(some)):
                return  # the remaining ones start at their turn
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
        """Record a contender that fails to start; `begin` does not retry it, as it may have used up its time limit."""
        try:
            yield
        except WorkerError:
            self._failed.add(key)

    def _runs(self, key: Hashable) -> bool:
        return key in self._workers and self._workers[key].running

    def _too_many(self, held: Sequence[int], more: int = 1) -> bool:
        """Return whether `more` processes exceed the limits; `held` has the memory in bytes of each running one."""
        if self._most is not None and len(held) + more > self._most:
            return True
        memory = capacity().memory_usable_bytes
        return memory is not None and bool(held) and sum(held) + more * max(held) > _MEMORY * memory

    def end(self, keys: Iterable[Hashable]) -> None:
        """End the processes of some contenders; they are restarted for their next turn."""
        keys = list(keys)
        self._new.difference_update(keys)
        _close([worker for key in keys if (worker := self._workers.pop(key, None))])

    def _make_room(self, key: Hashable) -> None:
        """End the processes with the least recent turns, to make room for a new process of a contender."""
        others = [worker for each, worker in self._workers.items() if each != key and worker.running]
        held = [worker.held_bytes for worker in others]
        while others and self._too_many(held):
            others.pop(0).close()
            held.pop(0)

    def close(self) -> None:
        """Resume all processes so that they end, and kill those that do not."""
        _close([self._unpausable, *self._workers.values()])

    def __enter__(self) -> ContenderProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(workers: Sequence[Worker]) -> None:
    """End as many workers at a time as there are processors: more would raise the load average for minutes."""
    at_once = capacity().cores_usable
    for some in (workers[start : start + at_once] for start in range(0, len(workers), at_once)):
        for worker in some:
            worker.release()
        for worker in some:
            worker.close()
