"""Byte ranges of one file, which lies on a local disk or in a store that is read by requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import ArchiveError


@dataclass(frozen=True)
class Extent:
    """Consecutive stored bytes."""

    file: Path  # The file that holds them.
    # In bytes, from the start of the file.
    offset: int
    length: int


class ByteSource(Protocol):
    """One file, whose pieces can be read by several threads at once."""

    def tail(self, length: int) -> tuple[np.ndarray, int]:
        """Return the last bytes of the file, or all of it if it is shorter, and its size."""

    def expect(self, extents: list[tuple[int, int]]) -> None:
        """Announce the pieces that will be read next, as offset and end, so that one request can fetch several."""

    def read(self, start: int, stop: int, memory: np.ndarray) -> np.ndarray:
        """Return a piece.

        Parameters
        ----------
        start, stop : int
            Offset of its first byte, and of the byte after its last.
        memory : ndarray of uint8
            May be filled and returned; as long as the piece.

        Raises
        ------
        ArchiveError
            When the file ends before the piece does.
        """


class LocalFile:
    """An open file, by its descriptor, read with `os.preadv` straight into the given memory."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tail(self, length: int) -> tuple[np.ndarray, int]:
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - length)
        return self.read(start, size, np.empty(size - start, np.uint8)), size

    def expect(self, extents: list[tuple[int, int]]) -> None:
        return None

    def read(self, start: int, stop: int, memory: np.ndarray) -> np.ndarray:
        done = os.preadv(self._descriptor, [memory.data], start)
        if done != stop - start:
            raise ArchiveError(f"a shard ends after {start + done} bytes; {stop} were expected.")
        return memory


class FilePart(LocalFile):
    """Consecutive bytes of an open file, read as if they were a separate file."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        super().__init__(descriptor)
        self._start, self._size = start, size

    def tail(self, length: int) -> tuple[np.ndarray, int]:
        start = max(0, self._size - length)
        return self.read(start, self._size, np.empty(self._size - start, np.uint8)), self._size

    def read(self, start: int, stop: int, memory: np.ndarray) -> np.ndarray:
        return super().read(self._start + start, self._start + stop, memory)


@contextmanager
def opened(file: str | os.PathLike[str]) -> Iterator[LocalFile]:
    """Open a file for reading."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield LocalFile(descriptor)
    finally:
        os.close(descriptor)
