"""Files of slimmed Zarr in a store: few concurrent requests, and no request for bytes that are held."""

from __future__ import annotations

import threading
from bisect import bisect_right
from concurrent.futures import Future
from itertools import pairwise

import numpy as np

from harness.errors import ArchiveError
from harness.extensions.object_store.address import BLOCK, KEPT_FILE
from harness.extensions.object_store.client import Client

_INDEX = 64 << 10  # fewest bytes requested at the end of a file: they contain the index, or all of a small file
_GAP = 256 << 10  # bytes that are transferred in the time that a request waits for its answer
_REQUEST = 4 << 20  # most bytes of one request, so that several share the bandwidth and decoding starts early


class StoredFile:
    """One object that several threads read in pieces.

    Parameters
    ----------
    client : Client
        Client of the archive.
    name : str
        Name of the object.
    at_once : bool
        Whether the first request fetches the complete object.
    """

    def __init__(self, client: Client, name: str, *, at_once: bool) -> None:
        self._client, self._name, self._at_once = client, name, at_once
        self._held: list[tuple[int, int, Future[memoryview]]] = []  # by offset; they never overlap
        self._size: int | None = None
        self._lock = threading.Lock()

    def tail(self, length: int) -> tuple[np.ndarray, int]:
        with self._lock:
            if self._size is None:
                self._first(length)
            assert self._size is not None
            start = max(0, self._size - length)
            self._ask(self._missing(start, self._size))
        if start == self._size:
            return np.empty(0, np.uint8), self._size
        return self.read(start, self._size, np.empty(self._size - start, np.uint8)), self._size

    def _first(self, length: int) -> None:
        """Send the first request, whose answer states the size."""
        if self._at_once or not length:
            data = self._client.whole(self._name)
            self._size = len(data)
        else:
            data, self._size = self._client.tail(self._name, max(length, _INDEX))
        done: Future[memoryview] = Future()
        done.set_result(data)
        self._hold(self._size - len(data), self._size, done)

    def expect(self, extents: list[tuple[int, int]]) -> None:
        with self._lock:
            assert self._size is not None
            if self._size <= KEPT_FILE:
                blocks = [
                    (start // BLOCK * BLOCK, min(-(-stop // BLOCK) * BLOCK, self._size)) for start, stop in extents
                ]
            else:
                self._held = [held for held in self._held if held[1] == self._size]  # keep only the index
                blocks = extents
            self._ask([piece for start, stop in joined(blocks) for piece in self._missing(start, stop)])

    def _missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of a piece that are not held, by start and stop."""
        found = []
        for first, last, _ in self._held:
            if first < stop and last > start:
                if first > start:
                    found.append((start, first))
                start = max(start, last)
        return [*found, (start, stop)] if start < stop else found

    def _ask(self, pieces: list[tuple[int, int]]) -> None:
        for start, stop in pieces:
            for first in range(start, stop, _REQUEST):
                last = min(first + _REQUEST, stop)
                self._hold(first, last, self._client.fetch(self._name, first, last - first))

    def _hold(self, start: int, stop: int, data: Future[memoryview]) -> None:
        self._held.insert(bisect_right([first for first, _, _ in self._held], start), (start, stop, data))

    def read(self, start: int, stop: int, memory: np.ndarray) -> np.ndarray:
        with self._lock:
            parts = [held for held in self._held if held[0] < stop and held[1] > start]
        if not parts or parts[0][0] > start or parts[-1][1] < stop or any(a[1] != b[0] for a, b in pairwise(parts)):
            raise ArchiveError(f"{self._name} ends after {self._size} bytes; {stop} were expected.")
        for first, last, data in parts:
            piece = np.frombuffer(data.result(), np.uint8)
            if first <= start and last >= stop:
                return piece[start - first : stop - first]
            low, high = max(first, start), min(last, stop)
            memory[low - start : high - start] = piece[low - first : high - first]
        return memory

    @property
    def held_bytes(self) -> int:
        """Bytes that are held, including those of pending requests."""
        with self._lock:
            return sum(last - first for first, last, _ in self._held)


def joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join pieces, given by start and stop, that overlap or whose gap is cheaper to read than a further request."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(pieces):
        if found and start - found[-1][1] <= _GAP:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return found
