"""Read a selection from a shard: read neighbouring chunks at once, decode on threads straight into the result.

zarr-python spends about 0.4 ms of its event loop on every chunk, more than most chunks take to decode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np

from harness.formats.base import Selection
from harness.formats.extents import ByteSource
from harness.formats.parts import ChunkPart, parts
from harness.formats.shard import MISSING, read_index, unsealed
from harness.formats.sharded import ShardedArray
from harness.formats.threads import ALONE, ThreadTeam
from harness.slimming.narrowing import Narrowing

_RUN = 1 << 20  # bytes: large enough that a request costs nothing, small enough for the cache and for bounded memory
_GAP = 16 << 10  # bytes that take less time to copy from the page cache than a second request
_Piece = tuple[int, int, ChunkPart]
"""Offset and length of a chunk to be read, and the part of it that is selected."""


def find_chunks(source: ByteSource, array: ShardedArray) -> np.ndarray:
    """Return offset and length of each chunk in a file, of shape ``(*array.grid, 2)``; see `read_index`."""
    if array.shape:
        return read_index(source, array.grid)
    return np.array([0, source.tail(0)[1]], np.uint64)


def gather(
    source: ByteSource,
    array: ShardedArray,
    index: np.ndarray,
    wanted: Selection,
    narrowing: Narrowing,
    crew: ThreadTeam,
    out: np.ndarray,
) -> None:
    """Read and widen a selection of a file.

    Memory in addition to the result is bounded: each thread holds one run of encoded chunks and one decoded chunk.

    Parameters
    ----------
    source : ByteSource
        The file.
    array : ShardedArray
        The array that the file belongs to.
    index : ndarray of uint64
        From `find_chunks`.
    wanted : tuple of slice
        One for each axis, within the file.
    narrowing : Narrowing
        How the values were narrowed.
    crew : ThreadTeam
        The threads.
    out : ndarray
        Receives the values; of the selection's shape and the narrowing's original dtype.

    Raises
    ------
    ArchiveError
        When a chunk is damaged.
    """
    held: list[_Piece] = []
    for part in parts(array.chunks, wanted):
        start, length = index[part.chunk].tolist()
        if start == MISSING:
            out[part.target] = 0
        else:
            held.append((start, length, part))
    fill = partial(_fill, source, array, narrowing, out)
    most = max(1, len(held) // (2 * crew.threads))
    runs = list(_runs(sorted(held, key=lambda piece: piece[0]), most))
    source.expect([_ends(run) for run in runs])
    if len(held) * array.dtype.itemsize * prod(array.chunks) <= ALONE:
        fill(runs)
    else:
        crew.share(runs, fill)


def _ends(run: list[_Piece]) -> tuple[int, int]:
    return run[0][0], run[-1][0] + run[-1][1]


def _runs(pieces: Iterable[_Piece], most: int) -> Iterator[list[_Piece]]:
    """Group chunks that are close to each other in the file, so that they are read at once."""
    run: list[_Piece] = []
    for start, length, part in pieces:
        if run:
            first, end = _ends(run)
            if start - end > _GAP or start + length - first > _RUN or len(run) >= most:
                yield run
                run = []
        run.append((start, length, part))
    if run:
        yield run


def _fill(
    source: ByteSource, array: ShardedArray, narrowing: Narrowing, out: np.ndarray, runs: Iterable[list[_Piece]]
) -> None:
    """Read runs, decode their chunks, and copy the selected parts into the result."""
    # Both are reused for the next run: fresh memory costs a page fault every 4 KiB.
    memory, scratch = np.empty(0, np.uint8), None
    for run in runs:
        first, last = _ends(run)
        if memory.size < last - first:
            memory = np.empty(last - first, np.uint8)
        data = source.read(first, last, memory[: last - first])
        for start, length, part in run:
            encoded = data[start - first : start - first + length]
            if array.checked:
                encoded = unsealed(encoded)
            target = _view(out, part.target)
            if narrowing.as_it_is and target.shape == array.chunks and target.flags.c_contiguous:
                array.decode(encoded, target.reshape(-1))
                continue
            if scratch is None:
                scratch = np.empty(array.chunks, array.dtype)
            array.decode(encoded, scratch.reshape(-1))
            narrowing.put(_view(scratch, part.source), target)


def _view(array: np.ndarray, selection: Selection) -> np.ndarray:
    """Return a part of an array as a view, even if the array has no axes and plain indexing would return a value."""
    key: Any = (*selection, ...)
    return array[key]
