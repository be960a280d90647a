"""Threads on which readers of this project decode and read, as many as the process may use processors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from harness.capacity import capacity

ALONE = 2 << 20
"""Bytes of stored values that one thread has decoded before a second would be at work."""

Task = TypeVar("Task")


def cores() -> int:
    """Return how many threads the budget allows: one for each processor that this process may use.

    No fewer, as in libraries that are given the budget: all readers of a comparison have the same.
    """
    return capacity().cores_usable


class ThreadTeam:
    """Threads, the caller's among them, that live as long as one reader; several callers may use them at once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)  # a thread is not started before it has something to do

    def share(self, tasks: Iterable[Task], work: Callable[[Iterator[Task]], None]) -> None:
        """Run tasks on all threads; return when every one of them is done.

        The caller works too: it does not wait for a thread to wake up, which takes as long as decoding a small chunk.

        Parameters
        ----------
        tasks : iterable
            Each is done once, by whoever comes first.
        work : callable
            Called once on each thread with an iterator of the tasks it gets; keeps what it needs from task to task.

        Raises
        ------
        Exception
            The first that `work` raised; no thread is at work any more then.
        """
        queue = deque(tasks)

        def pending() -> Iterator[Task]:
            with suppress(IndexError):
                while True:
                    yield queue.popleft()

        futures = [self._pool.submit(work, pending()) for _ in range(min(self.threads, len(queue)) - 1)]
        try:
            work(pending())
        finally:
            queue.clear()
            # One that did not start has nothing left to do; the others write into the caller's memory until they end.
            errors = [future.exception() for future in futures if not future.cancel()]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
