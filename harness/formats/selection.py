"""Which part of a tensor a read asks for, and the parts in which a whole one is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from harness.trace.schema import TensorSpec
from harness.trace.stream import BLOCK_BYTES

MOST_BYTES = 256 << 20
"""Of a block of chunks that lie beside each other, in an archive with larger ones than are written here."""

Selection = tuple[slice, ...]
"""One slice with explicit start and stop, and step 1, for each axis; a selection keeps every axis."""


def whole(shape: Sequence[int], selection: Selection | None) -> Selection:
    """Return the selection, or the one that takes all of `shape` where there is none; a scalar has only that."""
    return tuple(slice(0, n) for n in shape) if selection is None or not shape else selection


def lengths(selection: Selection) -> tuple[int, ...]:
    """Return the shape of what a selection takes."""
    return tuple(part.stop - part.start for part in selection)


def in_blocks(spec: TensorSpec, chunks: tuple[int, ...] | None, *, whole_rows: bool = False) -> Iterator[Selection]:
    """Cut a tensor into consecutive parts, in C order, that end where its chunks do.

    A part then costs memory of a block, and all parts together decode each chunk once.

    Parameters
    ----------
    spec : TensorSpec
        The tensor; it has axes.
    chunks : tuple of int or None
        What is decoded as one; None where any part can be read without more.
    whole_rows : bool
        Cut no row, however large.

    Yields
    ------
    tuple of slice
        Of `BLOCK_BYTES`, or of one row of chunks where that has more. Of `MOST_BYTES` or one chunk at most, unless rows
        may not be cut: chunks that have more beside each other are decoded once for each part.
    """
    itemsize = np.dtype(spec.dtype).itemsize
    row = itemsize * prod(spec.shape[1:]) if whole_rows else 0
    most = max(MOST_BYTES, row, itemsize * prod(chunks or ()))
    return _parts(spec.shape, chunks or (1,) * len(spec.shape), max(BLOCK_BYTES, row) // itemsize, most // itemsize)


def _parts(shape: tuple[int, ...], chunks: tuple[int, ...], size: int, most: int) -> Iterator[Selection]:
    """Cut a tensor along its first axis, and where a row of one chunk has more than `size` values along the next."""
    edge, row = chunks[0], max(1, prod(shape[1:]))
    rows = size // (edge * row) * edge or (min(edge, most // row) if edge > 1 else 0)
    if rows:
        for start in range(0, shape[0], rows):
            yield (slice(start, min(start + rows, shape[0])), *(slice(0, n) for n in shape[1:]))
        return
    for start in range(shape[0]):
        for part in _parts(shape[1:], chunks[1:], size, most):
            yield (slice(start, start + 1), *part)
