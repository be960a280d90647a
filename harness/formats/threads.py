"""Threads for the readers of this project to read and decode, one for each processor that the process may use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from harness.capacity import capacity

ALONE = 2 << 20
"""Bytes of stored values that one thread decodes before a second one would start to work."""

Task = TypeVar("Task")


def cores() -> int:
    """Return the number of threads in the budget: one for each processor that this process may use.

    No fewer, because libraries get the same number: all readers of a comparison have equal budgets.
    """
    return capacity().cores_usable


class ThreadTeam:
    """Threads, including the caller's, that live as long as one reader; several callers may use them at once."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)  # starts a thread only when there is work for it

    def share(self, tasks: Iterable[Task], work: Callable[[Iterator[Task]], None]) -> None:
        """Run tasks on all threads; return when all tasks are done.

        The caller works too instead of waiting for a thread to wake up, which takes as long as decoding a small chunk.

        Parameters
        ----------
        tasks : iterable
            Each is done once, by the first free thread.
        work : callable
            Called once on each thread with an iterator over its tasks; may keep state between tasks.

        Raises
        ------
        Exception
            The first exception of `work`; no thread runs any more at that time.
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
            # Futures that did not start have no tasks left; wait for the others, which write into the caller's memory.
            errors = [future.exception() for future in futures if not future.cancel()]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
