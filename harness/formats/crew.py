"""A few threads that share tasks out among themselves and the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from harness.capacity import capacity

Task = TypeVar("Task")

MOST_THREADS = 4
"""Beyond these, decoding waits for memory and not for a core."""


def cores() -> int:
    """Return how many threads are of use: one for each core that this process may use, at most `MOST_THREADS`."""
    return min(MOST_THREADS, capacity().cores_usable)


class Crew:
    """Threads that live as long as one reader; several callers may use them at once.

    Parameters
    ----------
    threads : int
        Including the caller's own.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers = threads - 1
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None

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
            while True:
                try:
                    yield queue.popleft()
                except IndexError:
                    return

        helpers = min(self._helpers, len(queue) - 1)
        futures = [self._pool.submit(work, pending()) for _ in range(helpers)] if self._pool else []
        try:
            work(pending())
        except BaseException:
            queue.clear()
            raise
        finally:
            # One that did not start has nothing left to do; the others write into the caller's memory until they end.
            started = [future for future in futures if not future.cancel()]
            errors = [error for future in started if (error := future.exception()) is not None]
        for error in errors:
            raise error

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
