"""Reads of large members of an NPZ archive in consecutive blocks, so that no complete member is in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import prod
from typing import IO

import numpy as np
from numpy.lib import format as npy

from harness.errors import ArchiveError
from harness.formats.selection import Selection, lengths, run_of, whole

_PIECE = 1 << 20  # bytes decoded at a time


class _Member:
    """A member that is decoded from its start; `take` returns the requested values and drops the others."""

    def __init__(self, name: str, member: IO[bytes]) -> None:
        self.name, self.done = name, 0
        self._member = member
        npy.read_magic(member)
        self.shape, _, self.dtype = npy.read_array_header_1_0(member)

    def take(self, start: int, stop: int) -> np.ndarray:
        """Decode up to value `stop` in C order, and return the values from `start`, which must not be decoded yet."""
        for _ in self._pieces((start - self.done) * self.dtype.itemsize):
            pass
        out = np.empty(stop - start, self.dtype)
        target, done = out.view(np.uint8).data, 0
        for piece in self._pieces(out.nbytes):
            target[done : done + len(piece)] = piece
            done += len(piece)
        self.done = stop
        if stop == prod(self.shape):
            self._member.read(1)  # at the end of the member, zipfile compares the checksum
        return out

    def _pieces(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._member.read(min(left, _PIECE))
            if not piece:
                raise ArchiveError(f"{self.name}: its member of the zip file ends before its last row.")
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self._member.close()


class Forward:
    """Reads consecutive blocks of large members, decoding each member once; a thread continues after its last block.

    This is the project's own decoder, for tensors that every format reads in blocks. Any other part is left to the
    library. `opened` takes the name of a member, and returns a file of its decoded bytes.
    """

    def __init__(self, opened: Callable[[str], IO[bytes]]) -> None:
        self._opened = opened
        self._members: dict[int, _Member] = {}
        self._ended: dict[int, tuple[str, int]] = {}

    def read(self, name: str, selection: Selection) -> np.ndarray | None:
        """Return a block that begins a member or follows this thread's last block; None for any other part."""
        member, thread = self._member(name), threading.get_ident()
        selection = whole(member.shape, selection)
        run, last = run_of(member.shape, selection), self._ended.pop(thread, None)
        if run is None:
            return None
        start, stop = run
        self._ended[thread] = name, stop
        if start and last != (name, start):
            return None
        if member.done > start:
            member = self._member(name, again=True)
        return member.take(start, stop).reshape(lengths(selection))

    def _member(self, name: str, *, again: bool = False) -> _Member:
        thread = threading.get_ident()
        member = self._members.get(thread)
        if member is None or member.name != name or again:
            if member is not None:
                member.close()
            member = self._members[thread] = _Member(name, self._opened(name))
        return member

    def close(self) -> None:
        for member in self._members.values():
            member.close()
