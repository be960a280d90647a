"""NumPy's basic indexing as one read of the smallest contiguous block, and an index of that block."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from harness.formats.selection import Selection


def plan(shape: tuple[int, ...], key: Any) -> tuple[Selection, tuple[Any, ...]]:
    """Divide an index into a block to read and an index of that block.

    Parameters
    ----------
    shape : tuple of int
        Shape of the tensor.
    key : object
        Integers, slices, ``...`` and None, one of them or a tuple.

    Returns
    -------
    selection : tuple of slice
        One slice for each axis, for a reader.
    taken : tuple
        Index of the block that gives the selection.

    Raises
    ------
    IndexError
        If the index is out of bounds, has too many parts, or is of another type.
    """
    given = key if isinstance(key, tuple) else (key,)
    dots = sum(part is Ellipsis for part in given)
    rest = len(shape) - sum(part is not None and part is not Ellipsis for part in given)
    if dots > 1:
        raise IndexError("An index has one '...' at most.")
    if rest < 0:
        raise IndexError(f"A tensor of {len(shape)} axes takes as many indices at most, got {len(shape) - rest}.")
    if rest and not dots:
        given = (*given, ...)
    selection: list[slice] = []
    taken: list[Any] = []
    for part in given:
        if part is Ellipsis:
            selection += (slice(0, length) for length in shape[len(selection) : len(selection) + rest])
        elif part is not None:
            block, part = _along(len(selection), shape[len(selection)], part)
            selection.append(block)
        taken.append(part)
    return tuple(selection), tuple(taken)


def _along(axis: int, length: int, part: Any) -> tuple[slice, int | slice]:
    """Return the range to read along an axis, and the index into that range."""
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        count = len(range(start, stop, step))
        last = start + (count - 1) * step
        return slice(min(start, last), max(start, last) + 1) if count else slice(0, 0), slice(None, None, step)
    try:
        if isinstance(part, bool | np.bool_):
            raise TypeError
        index = operator.index(part)
    except TypeError:
        raise IndexError(
            f"A tensor of a trace is indexed with integers, slices, '...' and None, not with {type(part).__name__}: "
            "read a part of it first, and index that."
        ) from None
    if not -length <= index < length:
        raise IndexError(f"Index {index} is beyond axis {axis}, which has {length}.")
    index %= length
    return slice(index, index + 1), 0
