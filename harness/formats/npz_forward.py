"""Parts of large members of an NPZ archive, of which none is ever whole in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import prod
from typing import IO

import numpy as np
from numpy.lib import format as npy

from harness.errors import ArchiveError
from harness.formats.selection import Selection, lengths, whole

_PIECE = 1 << 20  # bytes decoded at a time


class _Member:
    """A member that is decoded from its start, of which some values are kept."""

    def __init__(self, name: str, member: IO[bytes]) -> None:
        self.name, self.done = name, 0
        self._member = member
        npy.read_magic(member)
        self.shape, _, self.dtype = npy.read_array_header_1_0(member)

    def take(self, start: int, stop: int) -> np.ndarray:
        """Decode up to a value, in C order, and return those before it; `start` is not before the present one."""
        for _ in self._pieces((start - self.done) * self.dtype.itemsize):
            pass
        out = np.empty(stop - start, self.dtype)
        target, done = out.view(np.uint8).data, 0
        for piece in self._pieces(out.nbytes):
            target[done : done + len(piece)] = piece
            done += len(piece)
        self.done = stop
        if stop == prod(self.shape):
            self._member.read(1)  # its end, behind which zipfile compares the checksum
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
    """Parts of large members, decoded up to where they end; each thread goes on where its last part ended.

    `opened` takes the name of a member to its decoded bytes.
    """

    def __init__(self, opened: Callable[[str], IO[bytes]]) -> None:
        self._opened = opened
        self._members: dict[int, _Member] = {}

    def read(self, name: str, selection: Selection) -> np.ndarray:
        """Return a part, of which only whole rows, or whole parts of one row, are held beside it."""
        member = self._member(name)
        selection = whole(member.shape, selection)
        if 0 in lengths(selection):
            return np.empty(lengths(selection), member.dtype)
        axis = 0  # the first along which there is more than one step: what lies beyond it is decoded whole
        while axis < len(selection) - 1 and selection[axis].stop - selection[axis].start == 1:
            axis += 1
        shape, steps = member.shape, selection[axis].stop - selection[axis].start
        row = prod(shape[axis + 1 :])
        start = int(np.ravel_multi_index([part.start for part in selection[: axis + 1]], shape[: axis + 1])) * row
        if member.done > start:
            member = self._member(name, again=True)
        kept = member.take(start, start + steps * row).reshape((1,) * axis + (steps, *shape[axis + 1 :]))
        part = (*(slice(None) for _ in range(axis + 1)), *selection[axis + 1 :])
        return kept if kept[part].shape == kept.shape else kept[part].copy()

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
