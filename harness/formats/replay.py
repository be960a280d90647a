"""A read taken apart: the stored bytes it needs, the codec that decodes them, and the copy into the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from harness.formats.selection import Selection, lengths, whole


@dataclass(frozen=True)
class Extent:
    """Consecutive stored bytes.

    Attributes
    ----------
    file : Path
        Where they lie.
    offset, length : int
        In bytes, from the start of the file.
    """

    file: Path
    offset: int
    length: int


def _as_it_is(pieces: Any) -> Any:
    return pieces


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The steps of one read without the library around them; each is timed on its own.

    ``place(decode(load(stored)))``, with ``stored`` the bytes of every extent, is what `Reader.read` returns, bit for
    bit. A checksum that the library computes meanwhile is no step: its time counts as the rest of the library.

    Attributes
    ----------
    extents : tuple of Extent
        What this read needs, in the order in which it is read; consecutive extents of one file share one opening.
    load : callable
        Takes ``list[bytes]``, one for each extent, to what `decode` wants. Not timed.
    decode : callable
        Takes what `load` returned to a list of decoded pieces: the format's codec on one thread and nothing else.
        Nothing where the bytes are stored as they are.
    place : callable
        Takes the pieces to the result, of the selection's shape: allocates it and copies them into it.
    """

    extents: tuple[Extent, ...]
    load: Callable[[list[bytes]], Any] = _as_it_is
    decode: Callable[[Any], list[Any]] = _as_it_is
    place: Callable[[list[Any]], np.ndarray]


@runtime_checkable
class ReplayingReader(Protocol):
    """A reader whose reads can be taken apart, for the breakdown of where the time goes."""

    def locate(self, path: str) -> None:
        """Do only the library's lookup of a tensor, as `Reader.read` does it first; nothing where there is none."""

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        """Take a read apart into the stored bytes it needs, their decoding and their copy into the result.

        Never timed, so it may read whatever it needs to find out.

        Parameters
        ----------
        path : str
            Tensor name.
        selection : tuple of slice, optional
            The part; the whole tensor when None.

        Returns
        -------
        Replay or None
            None when the format cannot say it of this tensor.
        """


@dataclass(frozen=True)
class Part:
    """What a selection takes from one chunk.

    Attributes
    ----------
    chunk : tuple of int
        Place of the chunk in the grid.
    source, target : tuple of slice
        Where the values lie in the chunk, and where they go in the result.
    """

    chunk: tuple[int, ...]
    source: Selection
    target: Selection


def parts(chunks: Sequence[int], selection: Selection) -> list[Part]:
    """List the chunks that a selection touches.

    Parameters
    ----------
    chunks : sequence of int
        Extent of a chunk along each axis, in values; the grid starts at the origin.
    selection : tuple of slice
        One for each axis.

    Returns
    -------
    list of Part
        In C order of the grid; empty when the selection is. A scalar is one chunk.
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
        Part(tuple(n for n, _, _ in steps), tuple(s for _, s, _ in steps), tuple(t for _, _, t in steps))
        for steps in product(*axes)
    ]


def assembled(taken: Sequence[Part], shape: tuple[int, ...], fill: np.ndarray | None) -> Callable[[Any], np.ndarray]:
    """Return a `Replay.place` that copies pieces of chunks to where they belong.

    Parameters
    ----------
    taken : sequence of Part
        Where each piece goes; a piece holds only what the selection takes of its chunk.
    shape : tuple of int
        Of the result.
    fill : ndarray or None
        A scalar array: what stands where no piece goes; None when pieces cover the result.

    Returns
    -------
    callable
        The result has the dtype of the fill, else of the first piece.
    """

    def place(pieces: list[np.ndarray]) -> np.ndarray:
        out = np.empty(shape, pieces[0].dtype) if fill is None else np.full(shape, fill, fill.dtype)
        for part, piece in zip(taken, pieces, strict=True):
            out[part.target] = piece
        return out

    return place


def without_first_axis(replay: Replay) -> Replay:
    """Return a replay whose result has no first axis; it must have the length one."""
    return replace(replay, place=lambda pieces: replay.place(pieces)[0])


def joined(shape: tuple[int, ...], dtype: str | np.dtype) -> Callable[[Any], np.ndarray]:
    """Return a `Replay.place` that strings bytes together; a single piece is the result as it stands, not copied."""

    def place(pieces: list[bytes]) -> np.ndarray:
        return np.ndarray(shape, dtype, buffer=b"".join(pieces))

    return place


def runs(shape: Sequence[int], itemsize: int, selection: Selection) -> Iterator[tuple[int, int]]:
    """Yield the contiguous runs of a selection of a tensor that is stored in C order.

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
    offset, length : int
        In bytes, from the start of the tensor, in C order.
    """
    if 0 in lengths(selection):
        return
    if not shape:
        yield 0, itemsize
        return
    strides = [itemsize * int(np.prod(shape[k + 1 :], dtype=np.int64)) for k in range(len(shape))]
    last = len(shape) - 1
    while last > 0 and selection[last] == slice(0, shape[last]):
        last -= 1
    length = (selection[last].stop - selection[last].start) * strides[last]
    fixed = selection[last].start * strides[last]
    for index in product(*(range(s.start, s.stop) for s in selection[:last])):
        yield fixed + sum(i * stride for i, stride in zip(index, strides, strict=False)), length


def contiguous(
    file: Path, offset: int, shape: tuple[int, ...], dtype: str | np.dtype, selection: Selection | None
) -> Replay:
    """Take apart the read of a tensor that is stored as it is, in C order.

    The runs of a selection are read one by one and then strung together. A library that reads them straight to where
    they belong spares that copy, and its rest is negative by about as much.

    Parameters
    ----------
    file : Path
        Where it is stored.
    offset : int
        Of its first byte.
    shape : tuple of int
        Of the tensor.
    dtype : str or numpy.dtype
        Of the tensor.
    selection : tuple of slice or None
        The part; the whole when None.

    Returns
    -------
    Replay
        Without a codec.
    """
    wanted = whole(shape, selection)
    found = runs(shape, np.dtype(dtype).itemsize, wanted)
    extents = tuple(Extent(file, offset + start, length) for start, length in found)
    return Replay(extents=extents, place=joined(lengths(wanted), dtype))
