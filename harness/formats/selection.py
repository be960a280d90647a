"""Selections of a tensor: their validation, and the blocks in which a complete tensor is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from harness.errors import UsageError
from harness.scratch import is_large, room
from harness.trace.schema import TensorSpec
from harness.trace.stream import BLOCK_BYTES

MOST_BYTES = 256 << 20
"""Most bytes of a block of neighbouring chunks, in an archive with larger chunks than this project writes."""

Selection = tuple[slice, ...]
"""One slice for each axis, with step 1 and without negative ends; a selection keeps every axis."""


def whole(shape: Sequence[int], selection: Selection | None) -> Selection:
    """Return a validated selection without open ends, as every reader uses it.

    Parameters
    ----------
    shape : sequence of int
        Of the tensor.
    selection : tuple of slice or None
        The requested selection; None for the complete tensor. An open end means that of the axis.

    Raises
    ------
    UsageError
        When it is not one slice for each axis, or a slice has a negative end, exceeds its axis, or has a step.
    """
    if selection is None:
        return tuple(slice(0, n) for n in shape)
    if not isinstance(selection, tuple) or len(selection) != len(shape):
        raise UsageError(f"A selection of {len(shape)} axes is a tuple of {len(shape)} slices, got {selection!r}.")
    return tuple(_within(n, part) for n, part in zip(shape, selection, strict=True))


def _within(length: int, part: object) -> slice:
    # Fast path for the slices of plans: a read of a head takes a hundred microseconds, so checks of its slices matter.
    if type(part) is slice and type(part.start) is type(part.stop) is int and part.step is None:
        if 0 <= part.start <= part.stop <= length:
            return part
    elif isinstance(part, slice) and part.step in (None, 1):
        start, stop = 0 if part.start is None else part.start, length if part.stop is None else part.stop
        whole_numbers = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in (start, stop))
        if whole_numbers and 0 <= start <= stop <= length:
            return slice(int(start), int(stop))
    raise UsageError(f"An axis of {length} takes a slice from 0 to {length} with step 1, got {part!r}.")


def lengths(selection: Selection) -> tuple[int, ...]:
    """Return the shape of a selection."""
    return tuple(part.stop - part.start for part in selection)


def run_of(shape: Sequence[int], selection: Selection) -> tuple[int, int] | None:
    """Return start and stop of a selection, in values, if its values are consecutive in C order; else None.

    Parameters
    ----------
    shape : sequence of int
        Of the tensor, which has at least one axis.
    selection : tuple of slice
        From `whole`.
    """
    axis = 0  # the first along which the selection has more than one index
    while axis < len(selection) - 1 and selection[axis].stop - selection[axis].start == 1:
        axis += 1
    if selection[axis + 1 :] != whole(shape[axis + 1 :], None):
        return None
    start = 0
    for length, part in zip(shape[: axis + 1], selection, strict=False):
        start = start * length + part.start
    row = prod(shape[axis + 1 :])
    return start * row, (start + selection[axis].stop - selection[axis].start) * row


def in_blocks(spec: TensorSpec, chunks: tuple[int, ...] | None, *, whole_rows: bool = False) -> Iterator[Selection]:
    """Yield consecutive parts of a tensor, in C order, that end at chunk boundaries.

    Each part then needs the memory of one block, and all parts together decode each chunk once.

    Parameters
    ----------
    spec : TensorSpec
        The tensor, which has at least one axis.
    chunks : tuple of int or None
        Extent of a chunk, which is decoded as one; None if any part can be read directly.
    whole_rows : bool
        Cut no row, however large.

    Yields
    ------
    tuple of slice
        Of `BLOCK_BYTES`, or of one row of chunks if that is larger. Of `MOST_BYTES` or one chunk at most, unless rows
        may not be cut: the chunks of a larger row are decoded once for each part.
    """
    itemsize = np.dtype(spec.dtype).itemsize
    row = itemsize * prod(spec.shape[1:]) if whole_rows else 0
    most = max(MOST_BYTES, row, itemsize * prod(chunks or ()))
    return _parts(spec.shape, chunks or (1,) * len(spec.shape), max(BLOCK_BYTES, row) // itemsize, most // itemsize)


def row_blocks(
    spec: TensorSpec,
    chunks: tuple[int, ...] | None,
    read: Callable[[Selection], np.ndarray],
    *,
    views: bool = False,
) -> Iterator[np.ndarray]:
    """Yield a tensor as consecutive blocks of complete rows, as in a trace, with little of it in memory.

    A row that is too large for memory is read in parts of `in_blocks` into a memory-mapped temporary file.

    Parameters
    ----------
    spec : TensorSpec
        The tensor, which has at least one axis.
    chunks : tuple of int or None
        Extent of a chunk, which is decoded as one; None if any part can be read directly.
    read : callable
        Returns a part of the tensor.
    views : bool
        Whether the arrays that `read` returns take no memory, as views of a memory-mapped file.
    """
    if views or not is_large(np.dtype(spec.dtype).itemsize * prod(spec.shape[1:])):
        for part in in_blocks(spec, chunks, whole_rows=True):
            yield read(part)
        return
    edge = chunks[0] if chunks else 1  # all rows of a chunk, so that it is decoded once
    for start in range(0, spec.shape[0], edge):
        some = replace(spec, shape=(min(edge, spec.shape[0] - start), *spec.shape[1:]))
        block = room(some.shape, spec.dtype)
        for first, *others in in_blocks(some, chunks):
            block[(first, *others)] = read((slice(start + first.start, start + first.stop), *others))
        yield block


def _parts(shape: tuple[int, ...], chunks: tuple[int, ...], size: int, most: int) -> Iterator[Selection]:
    """Cut a tensor along its first axis, and along the next ones too if one row is too large.

    A row is too large above `size` values if a chunk has one row, and above `most` values if it has several.
    """
    if 0 in shape[1:] and shape[0]:  # one part for any number of rows, as none has values
        yield tuple(slice(0, n) for n in shape)
        return
    edge, row = chunks[0], max(1, prod(shape[1:]))
    rows = size // (edge * row) * edge or (min(edge, most // row) if edge > 1 else 0)
    if rows:
        for start in range(0, shape[0], rows):
            yield (slice(start, min(start + rows, shape[0])), *(slice(0, n) for n in shape[1:]))
        return
    for start in range(shape[0]):
        for part in _parts(shape[1:], chunks[1:], size, most):
            yield (slice(start, start + 1), *part)
