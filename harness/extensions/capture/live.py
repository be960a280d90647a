"""A trace that a model is still computing: tensors go from its thread to writers through a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError
from harness.trace.manifest import Manifest
from harness.trace.stream import Trace, check_array, digest, shown_label, split


class Stopped(HarnessError):
    """The capture ended early, for a reason that `Feed.error` holds."""


@dataclass
class _Item:
    path: str
    array: np.ndarray
    waiting: int  # writers that have not finished with it


class Feed:
    """Hands every tensor of a manifest, in its order, from one thread to several writers, and holds only a few.

    A tensor counts as held from when it is pushed until the last writer has written it. When there is no room, pushing
    waits: a slow disk slows the model and does not fill memory.

    Parameters
    ----------
    manifest : Manifest
        What will be pushed, in this order.
    writers : int
        Number of writers; each gets every tensor.
    limit : int
        Bytes held at most; one tensor that is larger passes alone.

    Attributes
    ----------
    error : BaseException or None
        The first error on any side; it ends all of them.
    digests : dict of str to str
        Digest of every tensor as it was pushed, by path.
    held : int
        Bytes that are held now.
    most_held : int
        The most bytes that were held at once.
    """

    def __init__(self, manifest: Manifest, writers: int, limit: int) -> None:
        self.error: BaseException | None = None
        self.digests: dict[str, str] = {}
        self.held = self.most_held = 0
        self._expected, self._limit = deque(manifest.tensors), limit
        self._queues: list[deque[_Item]] = [deque() for _ in range(writers)]
        self._changed = threading.Condition()

    def push(self, path: str, array: np.ndarray) -> None:
        """Add the next tensor, once there is room for it.

        Parameters
        ----------
        path : str
            Its name; has to be the next of the manifest.
        array : ndarray
            Its values, which nobody may change any more.

        Raises
        ------
        HarnessError
            When the manifest says another tensor comes next.
        Stopped
            When a writer failed.
        """
        spec = self._expected.popleft() if self._expected else None
        if spec is None or spec.path != path:
            raise HarnessError(
                f"The model gave {path} where {spec.path if spec else 'nothing more'} was expected: it does not run "
                "its blocks once a pass and in order, so its tensors cannot be named."
            )
        array = check_array(spec, array)
        self.digests[path] = digest(array)
        with self._changed:
            self._wait(lambda: not self.held or self.held + array.nbytes <= self._limit)
            item = _Item(path, array, len(self._queues))
            for queue in self._queues:
                queue.append(item)
            self.held += array.nbytes
            self.most_held = max(self.most_held, self.held)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that the model has run to its end.

        Raises
        ------
        HarnessError
            When tensors of the manifest are missing.
        """
        if self._expected:
            missing = len(self._expected) - 1
            raise HarnessError(f"The model ended without {self._expected[0].path} and {missing} more tensors.")

    def fail(self, error: BaseException) -> None:
        """End the capture on every side; only the first error is kept."""
        with self._changed:
            self.error = self.error or error
            for queue in self._queues:
                queue.clear()
            self._changed.notify_all()

    def take(self, writer: int) -> tuple[str, np.ndarray]:
        """Wait for the next tensor of one writer.

        Parameters
        ----------
        writer : int
            Number of the writer.

        Returns
        -------
        path : str
            Name of the tensor.
        array : ndarray
            Its values; to be given back with `release`.

        Raises
        ------
        Stopped
            When the capture ended early.
        """
        queue = self._queues[writer]
        with self._changed:
            self._wait(lambda: bool(queue))
            return queue[0].path, queue[0].array

    def release(self, writer: int) -> None:
        """Say that a writer has finished with the tensor that it took."""
        with self._changed:
            if self.error is not None:
                return
            item = self._queues[writer].popleft()
            item.waiting -= 1
            if not item.waiting:
                self.held -= item.array.nbytes
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self.error is not None or ready())
        if self.error is not None:
            raise Stopped("The capture was stopped.") from self.error


class LiveTrace(Trace):
    """What one writer sees of a `Feed`: a trace that can be streamed once, in the order of its manifest.

    Parameters
    ----------
    label : str
        Name in records.
    manifest : Manifest
        What the feed will bring.
    feed : Feed
        Where tensors come from.
    writer : int
        Number of the writer.
    written : callable, optional
        Called with the path of every tensor that this writer has finished with.
    """

    def __init__(
        self, label: str, manifest: Manifest, feed: Feed, writer: int, written: Callable[[str], None] | None = None
    ) -> None:
        self.label = shown_label(label, manifest)
        self.manifest = manifest
        self._feed, self._writer, self._written = feed, writer, written

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        found, array = self._feed.take(self._writer)
        if found != path:
            raise HarnessError(f"A live trace gives each tensor once, in order: {found} is next, not {path}.")
        yield from split(array)
        del array
        self._feed.release(self._writer)
        if self._written is not None:
            self._written(path)
