"""Replay of a read step by step: fetch the stored bytes, decode them, and copy them into the result."""

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
    """The steps of one read without the library around them; each is timed separately.

    ``place(decode(load(stored)))``, with ``stored`` the bytes of every extent, equals the result of `Reader.read` bit
    for bit. A checksum that the library computes is no step: its time counts as the rest of the library.
    """

    # The extents that this read needs, in reading order; consecutive extents of one file share one opening.
    extents: tuple[Extent, ...]
    # Converts ``list[bytes]``, one item for each extent, to the input of `decode`. Not timed.
    load: Callable[[list[bytes]], Any] = _as_it_is
    # Converts the output of `load` to a list of decoded pieces: the format's codec on one thread and nothing else. Does
    # nothing if the bytes are stored unencoded.
    decode: Callable[[Any], list[Any]] = _as_it_is
    # Allocates the result, of the selection's shape, and copies the pieces into it.
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
        """Release what was opened in addition to the reader."""


def replayer_of(backend: Format, archive: Path, reader: Reader) -> Replayer | None:
    """Return the replayer of an open archive; None if none is registered for its format."""
    if isinstance(reader, SlimmedReader) and isinstance(backend, SlimmedFormat):
        below = replayer_of(backend.of, archive, reader.inner)
        return below and _Widening(archive, reader, below)
    found: type[Replayer] | None = registry.of_format("replays", type(backend))
    return found(archive, reader) if found is not None and isinstance(reader, found.takes) else None


class _Widening(Replayer[SlimmedReader]):
    """Replayer of slimmed archives: it splits the read below slimming, and widening counts as part of the copy."""

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
    """Return a `Replay.place` that copies pieces of chunks to their targets.

    Parameters
    ----------
    taken : sequence of ChunkPart
        Target of each piece; a piece holds only the selected part of its chunk.
    shape : tuple of int
        Shape of the result.
    fill : ndarray or None
        A scalar array with the value where no piece goes; None if the pieces cover the result.

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

    The runs of a selection are read one by one and then joined. A library that reads them directly into place saves
    that copy, and its rest is negative by about as much.

    Parameters
    ----------
    file : Path
        File that holds the tensor.
    offset : int
        Offset of its first byte.
    shape : tuple of int
        Shape of the tensor.
    dtype : str or numpy.dtype
        Data type of the tensor.
    selection : tuple of slice or None
        The selected part; None for the complete tensor.

    Returns
    -------
    Replay
        A replay without a codec.
    """
    wanted = whole(shape, selection)
    found = runs(shape, np.dtype(dtype).itemsize, wanted)
    extents = tuple(Extent(file, offset + start, length) for start, length in found)
    return Replay(extents=extents, place=lambda pieces: np.ndarray(lengths(wanted), dtype, buffer=b"".join(pieces)))
