"""Values that lie in a file as they are, read with `os.preadv` straight into the memory of the result."""

from __future__ import annotations

import os

import numpy as np

from harness.errors import ArchiveError
from harness.formats.parts import runs
from harness.formats.selection import Selection, lengths, whole


def fill_from(descriptor: int, offset: int, memory: np.ndarray) -> None:
    """Fill memory, an array of uint8, with consecutive bytes of a file.

    Raises
    ------
    ArchiveError
        When the file ends before.
    """
    view, done = memory.data, 0
    while done < len(view):  # one call reads 2 GiB at most
        got = os.preadv(descriptor, [view[done:]], offset + done)
        if not got:
            raise ArchiveError(f"the file ends at {offset + done}, {len(view) - done} bytes too early.")
        done += got


def read_flat(
    descriptor: int, offset: int, shape: tuple[int, ...], dtype: np.dtype | str, selection: Selection | None
) -> np.ndarray:
    """Read a tensor that is stored in C order, or a part of it, with one call for each contiguous run.

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
    memory, done = out.reshape(-1).view(np.uint8), 0
    for start, length in runs(shape, out.itemsize, wanted):
        fill_from(descriptor, offset + start, memory[done : done + length])
        done += length
    return out
