"""Array-like inputs, checked and read as blocks of rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.api.arrays import TraceArray
from harness.errors import UsageError
from harness.foreign.foreign_array import chunks_of
from harness.formats.selection import Selection, in_blocks
from harness.trace.schema import Role, TensorSpec


def sliceable(path: str, array: Any) -> Any:
    """Return an array that has a shape and a NumPy dtype and can be sliced.

    Raises
    ------
    UsageError
        If its shape is unknown, its values are masked, or NumPy makes no array of it.
    """
    has_all = isinstance(getattr(array, "dtype", None), np.dtype) and hasattr(array, "shape")
    if not has_all or not hasattr(array, "__getitem__"):
        return _in_memory(path, array)
    # An HDF5 dataset without values has no shape. In Dask, a selection by values has an axis of unknown length, NaN.
    if not isinstance(array.shape, tuple) or not all(isinstance(n, int | np.integer) for n in array.shape):
        raise UsageError(
            f"{path} has the shape {array.shape}, and each axis needs a length: of an array of Dask, call "
            "compute_chunk_sizes() first."
        )
    return array


def blocks_of(path: str, rows: Any) -> Iterator[np.ndarray]:
    """Yield an array that `sliceable` returned as blocks in memory, in C order, that end at its chunk borders.

    Each chunk is decoded once, unless a row of chunks has more than `harness.formats.selection.MOST_BYTES`.

    Raises
    ------
    UsageError
        If values are masked, or have another type than announced.
    """
    if isinstance(rows, TraceArray):
        yield from rows.blocks()
        return
    if not rows.shape:
        yield _in_memory(path, rows[()])
        return

    def read(part: Selection) -> np.ndarray:
        whole_rows = all(one.stop - one.start == n for one, n in zip(part[1:], rows.shape[1:], strict=True))
        block = _in_memory(path, rows[part[0] if whole_rows else part])
        if block.dtype != rows.dtype:
            raise UsageError(f"{path} gave {block.dtype} where its dtype is {rows.dtype}.")
        return block

    shape = tuple(rows.shape)
    spec = TensorSpec(path=path, shape=shape, dtype=rows.dtype.name, axes=("",) * len(shape), role=Role.ARRAY)
    yield from map(read, in_blocks(spec, _chunks(rows)))


def _chunks(rows: Any) -> tuple[int, ...] | None:
    """Return the shape of the largest chunk; Dask lists the lengths of all chunks along each axis."""
    found = [max(one, default=1) if isinstance(one, tuple) else one for one in chunks_of(rows) or ()]
    return tuple(max(1, length) for length in found) or None


def _in_memory(path: str, array: Any) -> np.ndarray:
    try:
        # Computed here, because Dask's own conversion to NumPy drops the mask.
        given = array.compute() if hasattr(array, "__dask_graph__") else array
        found = np.asanyarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises them, also for tensors on another device
        first = (str(error).strip().splitlines() or [""])[0].removesuffix(".")
        raise UsageError(
            f"{path}: NumPy makes no array of this {type(array).__name__} ({first}). Give rows of one length, and "
            "x.detach().cpu().float().numpy() of a tensor x of torch."
        ) from error
    if _is_masked(given) or _is_masked(found):
        raise UsageError(f"{path} is masked, and no format stores a mask: fill it first, as with array.filled(0).")
    return np.asarray(found)


def _is_masked(array: Any) -> bool:
    """Return whether a value is masked; NumPy makes a plain array of a list of masked ones."""
    if isinstance(array, list | tuple):
        return any(map(_is_masked, array))
    return isinstance(array, np.ma.MaskedArray) and bool(np.ma.is_masked(array))
