"""Trace of a model that is still computing: a bounded queue passes tensors from its thread to writers."""

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
    """Raised if the capture ended early; `Feed.error` holds the reason."""


@dataclass
class _Item:
    path: str
    array: np.ndarray
    waiting: int  # writers that have not finished with it


class Feed:
    """Bounded queue that passes every tensor of a manifest, in order, from one thread to several writers.

    A tensor counts as held from its push until the last writer has written it. If there is no room, pushing waits: a
    slow disk slows the model down and does not fill memory.

    Parameters
    ----------
    manifest : Manifest
        Tensors to push, in this order.
    writers : int
        Number of writers; each gets every tensor.
    limit : int
        Most bytes to hold; one tensor that is larger passes alone.

    Attributes
    ----------
    error : BaseException or None
        The first error on any side; it ends all sides.
    digests : dict of str to str
        Digest of every tensor as it was pushed, by path.
    held : int
        Bytes held now.
    most_held : int
        Most bytes held at once.
    """

    def __init__(self, manifest: Manifest, writers: int, limit: int) -> None:
        self.error: BaseException | None = None
        self.digests: dict[str, str] = {}
        self.held = self.most_held = 0
        self._expected, self._limit = deque(manifest.tensors), limit
        self._queues: list[deque[_Item]] = [deque() for _ in range(writers)]
        self._changed = threading.Condition()

    def push(self, path: str, array: np.ndarray) -> None:
        """Add the next tensor as soon as there is room for it.

        Parameters
        ----------
        path : str
            Its name; must be the next of the manifest.
        array : ndarray
            Its values, which must not change any more.

        Raises
        ------
        HarnessError
            If the manifest has another tensor next.
        Stopped
            If a writer failed.
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
        """Check that the model has given every tensor.

        Raises
        ------
        HarnessError
            If tensors of the manifest are missing.
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
        """Wait for the next tensor of one writer, and return it.

        Parameters
        ----------
        writer : int
            Number of the writer.

        Returns
        -------
        path : str
            Name of the tensor.
        array : ndarray
            Its values; call `release` when they are written.

        Raises
        ------
        Stopped
            If the capture ended early.
        """
        queue = self._queues[writer]
        with self._changed:
            self._wait(lambda: bool(queue))
            return queue[0].path, queue[0].array

    def release(self, writer: int) -> None:
        """Record that a writer has finished with the tensor that it took."""
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
    """View of one writer on a `Feed`: a trace that can be streamed once, in the order of its manifest.

    Parameters
    ----------
    label : str
        Name in records.
    manifest : Manifest
        Tensors that the feed passes.
    feed : Feed
        Source of the tensors.
    writer : int
        Number of the writer.
    written : callable, optional
        Called with the path of every tensor that this writer has finished.
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
