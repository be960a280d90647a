"""Which part of a tensor a read asks for."""

from __future__ import annotations

from collections.abc import Sequence

Selection = tuple[slice, ...]
"""One slice with explicit start and stop, and step 1, for each axis; a selection keeps every axis."""


def whole(shape: Sequence[int], selection: Selection | None) -> Selection:
    """Return the selection, or the one that takes all of `shape` where there is none; a scalar has only that."""
    return tuple(slice(0, n) for n in shape) if selection is None or not shape else selection


def lengths(selection: Selection) -> tuple[int, ...]:
    """Return the shape of what a selection takes."""
    return tuple(part.stop - part.start for part in selection)
