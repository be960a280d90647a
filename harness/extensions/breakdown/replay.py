"""The parts of a read: fetching the stored bytes, decoding them, and copying into the result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from harness import registry
from harness.formats.base import Format, Reader
from harness.formats.extents import Extent
from harness.formats.parts import ChunkPart, runs
from harness.formats.selection import Selection, lengths, whole
from harness.formats.slimmed import SlimmedFormat, SlimmedReader

Read = TypeVar("Read", bound=Reader)


def _as_it_is(pieces: Any) -> Any:
    return pieces


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The steps of one read without the library around them; each is timed on its own.

    ``place(decode(load(stored)))``, with ``stored`` the bytes of every extent, is what `Reader.read` returns, bit for
    bit. A checksum that the library computes meanwhile is no step: its time counts as the rest of the library.
    """

    # What this read needs, in the order in which it is read; consecutive extents of one file share one opening.
    extents: tuple[Extent, ...]
    # Takes ``list[bytes]``, one for each extent, to what `decode` wants. Not timed.
    load: Callable[[list[bytes]], Any] = _as_it_is
    # Takes what `load` returned to a list of decoded pieces: the format's codec on one thread and nothing else. Nothing
    # where the bytes are stored as they are.
    decode: Callable[[Any], list[Any]] = _as_it_is
    # Takes the pieces to the result, of the selection's shape: allocates it and copies them into it.
    place: Callable[[list[Any]], np.ndarray]


class Replayer(ABC, Generic[Read]):
    """Splits the reads of one open archive into parts; registered in ``harness.replays`` by a format's name.

    Attributes
    ----------
    takes : type
        Class of the supported readers.
    """

    takes: ClassVar[type[Reader]]

    def __init__(self, archive: Path, reader: Read) -> None:
        self.archive, self.reader = archive, reader

    @abstractmethod
    def locate(self, path: str) -> None:
        """Perform only the library's lookup of a tensor, the first step of `Reader.read`."""

    @abstractmethod
    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        """Split a read; None if that is not possible for this tensor. Never timed, so it may read anything."""

    def close(self) -> None:
        """Release what was opened besides the reader."""


def replayer_of(backend: Format, archive: Path, reader: Reader) -> Replayer | None:
    """Return the replayer of an open archive; None if none is registered for its format."""
    if isinstance(reader, SlimmedReader) and isinstance(backend, SlimmedFormat):
        below = replayer_of(backend.of, archive, reader.inner)
        return below and _Widening(archive, reader, below)
    found: type[Replayer] | None = registry.of_format("replays", type(backend))
    return found(archive, reader) if found is not None and isinstance(reader, found.takes) else None


class _Widening(Replayer[SlimmedReader]):
    """Takes apart what is read below slimming; to widen the values is a part of their copy."""

    def __init__(self, archive: Path, reader: SlimmedReader, below: Replayer) -> None:
        super().__init__(archive, reader)
        self._below = below
        self.close = below.close  # type: ignore[method-assign]

    def locate(self, path: str) -> None:
        self._below.locate(self.reader.places[path][0])

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        place, narrowing = self.reader.places[path]
        replay = self._below.replay(place, selection)
        return replay and replace(replay, place=lambda pieces: narrowing.widen(replay.place(pieces)))


def assembled(
    taken: Sequence[ChunkPart], shape: tuple[int, ...], fill: np.ndarray | None
) -> Callable[[Any], np.ndarray]:
    """Return a `Replay.place` that copies pieces of chunks to where they belong.

    Parameters
    ----------
    taken : sequence of ChunkPart
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


def contiguous(
    file: Path, offset: int, shape: tuple[int, ...], dtype: str | np.dtype, selection: Selection | None
) -> Replay:
    """Split the read of a tensor that is stored unencoded, in C order.

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
    return Replay(extents=extents, place=lambda pieces: np.ndarray(lengths(wanted), dtype, buffer=b"".join(pieces)))
