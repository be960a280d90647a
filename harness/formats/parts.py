"""Places where the values of a selection are stored: chunks of a grid, or contiguous runs of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from harness.formats.selection import Selection, lengths


@dataclass(frozen=True)
class ChunkPart:
    """The part of a selection that lies in one chunk."""

    chunk: tuple[int, ...]  # Index of the chunk in the grid.
    # Place of the values in the chunk, and in the result.
    source: Selection
    target: Selection


def parts(chunks: Sequence[int], selection: Selection) -> list[ChunkPart]:
    """List the chunks that a selection touches.

    Parameters
    ----------
    chunks : sequence of int
        Extent of a chunk along each axis, in values; the grid starts at the origin.
    selection : tuple of slice
        One for each axis.

    Returns
    -------
    list of ChunkPart
        In C order of the grid; empty if the selection is. A scalar is one chunk.
    """
    if 0 in lengths(selection):
        return []
    axes = []
    for edge, wanted in zip(chunks, selection, strict=True):
        along = []
        for number in range(wanted.start // edge, (wanted.stop - 1) // edge + 1):
            start, stop = max(wanted.start, number * edge), min(wanted.stop, (number + 1) * edge)
            source = slice(start - number * edge, stop - number * edge)
            along.append((number, source, slice(start - wanted.start, stop - wanted.start)))
        axes.append(along)
    return [
        ChunkPart(tuple(n for n, _, _ in steps), tuple(s for _, s, _ in steps), tuple(t for _, _, t in steps))
        for steps in product(*axes)
    ]


def planes(shape: Sequence[int], itemsize: int, selection: Selection) -> Iterator[tuple[int, int, int, int]]:
    """Yield groups of contiguous runs of a selection; each group has the runs along one axis of a tensor in C order.

    Parameters
    ----------
    shape : sequence of int
        Of the tensor.
    itemsize : int
        Bytes of one value.
    selection : tuple of slice
        One for each axis.

    Yields
    ------
    offset, rows, step, length : int
        Offset of the first run from the start of the tensor, number of runs, distance between the starts of two runs,
        and length of each run; all but the number in bytes.
    """
    if 0 in lengths(selection):
        return
    if not shape:
        yield 0, 1, itemsize, itemsize
        return
    strides = [itemsize * prod(shape[k + 1 :]) for k in range(len(shape))]
    last = len(shape) - 1
    while last > 0 and selection[last] == slice(0, shape[last]):
        last -= 1
    length = (selection[last].stop - selection[last].start) * strides[last]
    fixed = sum(part.start * stride for part, stride in zip(selection[: last + 1], strides, strict=False))
    plane = max(0, last - 1)
    rows, step = (selection[plane].stop - selection[plane].start, strides[plane]) if last else (1, length)
    for index in product(*(range(part.stop - part.start) for part in selection[:plane])):
        yield fixed + sum(i * stride for i, stride in zip(index, strides, strict=False)), rows, step, length


def runs(shape: Sequence[int], itemsize: int, selection: Selection) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each contiguous run, in C order; parameters and units are those of `planes`."""
    for offset, rows, step, length in planes(shape, itemsize, selection):
        for row in range(rows):
            yield offset + row * step, length
