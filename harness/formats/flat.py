"""Read uncompressed values from a file with `os.preadv`, straight into the memory of the result."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from harness.errors import ArchiveError
from harness.formats.parts import planes
from harness.formats.selection import Selection, lengths, whole
from harness.formats.threads import ThreadTeam
from harness.limits import in_words

SHARED = 32 << 20
"""Bytes from which a run is divided over the threads of a budget.

A result of this size needs new memory for each read, and mapping its pages takes longer than copying. On two quiet
cores two threads took 0.71 times as long for 64 MiB and 0.56 times for 1 GiB. Below 64 MiB repetitions disagreed: 0.68
and 1.35 times for 16 MiB, 1.5 times for 32 MiB (``python -m benchmarks.flat_threads``).
"""

_GAP = 16 << 10  # bytes that take less time to copy from the page cache than a second call
_MOST = 1 << 20  # most bytes of one call that reads several runs


def fill_from(descriptor: int, offset: int, memory: np.ndarray) -> None:
    """Fill memory, an array of uint8, with consecutive bytes of a file.

    Raises
    ------
    ArchiveError
        When the file ends too early.
    """
    view, done = memory.data, 0
    while done < len(view):  # one call reads 2 GiB at most
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if not got:
            raise ArchiveError(f"the file ends at {offset + done}, {len(view) - done} bytes too early.")
        done += got


def fill_together(descriptor: int, offset: int, memory: np.ndarray, crew: ThreadTeam) -> None:
    """Fill memory as `fill_from` does, with one consecutive part for each thread."""
    part = -(-len(memory) // crew.threads)

    def fill(starts: Iterable[int]) -> None:
        for start in starts:
            fill_from(descriptor, offset + start, memory[start : start + part])

    crew.share(range(0, len(memory), part), fill)


def threads_of_flat(crew: ThreadTeam) -> str:
    """Return in words how many threads `read_flat` uses, for `harness.formats.describing.Opened`."""
    return f"{crew.threads} for runs of {in_words(SHARED)} and more, else 1"


def read_flat(
    descriptor: int,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype | str,
    selection: Selection | None,
    crew: ThreadTeam,
) -> np.ndarray:
    """Read a tensor that is stored in C order, or a part of it.

    Each contiguous run is read straight into the result with one call; runs close to each other share one call.

    Parameters
    ----------
    descriptor : int
        Of the file.
    offset : int
        Of its first value, in bytes.
    shape, dtype
        Of the tensor.
    selection : tuple of slice or None
        The part; all of it when None.
    crew : ThreadTeam
        The threads that read runs of at least `SHARED` bytes.

    Returns
    -------
    ndarray
        Of the selection's shape.

    Raises
    ------
    ArchiveError
        When the file ends before the values do.
    """
    wanted = whole(shape, selection)
    out = np.empty(lengths(wanted), dtype)
    memory, done, scratch = out.reshape(-1).view(np.uint8), 0, np.empty(0, np.uint8)
    for start, rows, step, length in planes(shape, out.itemsize, wanted):
        most = max(1, _MOST // step) if step - length <= _GAP else 1
        for row in range(0, rows, most):
            count = min(most, rows - row)
            target = memory[done : done + count * length]
            if count == 1:
                if len(target) < SHARED:
                    fill_from(descriptor, offset + start + row * step, target)
                else:
                    fill_together(descriptor, offset + start + row * step, target, crew)
            else:
                if scratch.size < (size := (count - 1) * step + length):
                    scratch = np.empty(size, np.uint8)
                fill_from(descriptor, offset + start + row * step, scratch[:size])
                target.reshape(count, length)[...] = np.ndarray((count, length), np.uint8, scratch, 0, (step, 1))
            done += len(target)
    return out
