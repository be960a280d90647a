"""Replay of reads of HDF5 datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.extensions.breakdown import blosc
from harness.extensions.breakdown.replay import Replay, Replayer, assembled, contiguous
from harness.formats.base import Selection
from harness.formats.extents import Extent
from harness.formats.hdf5_file import BLOSC
from harness.formats.hdf5_filters import filters_of, in_memory
from harness.formats.hdf5_reader import Hdf5Reader
from harness.formats.parts import ChunkPart, parts
from harness.formats.selection import lengths, whole


class Hdf5Replayer(Replayer[Hdf5Reader]):
    """Replayer of reads with h5py."""

    takes = Hdf5Reader

    def locate(self, path: str) -> None:
        self.reader.dataset(path)

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        return replay_dataset(self.archive, self.reader.dataset(path), selection)


def replay_dataset(file: Path, dataset: h5py.Dataset, selection: Selection | None) -> Replay | None:
    """Split a read of a dataset into its parts.

    numcodecs decodes Blosc; it contains the same library. Other filters, bitshuffle among them, exist only inside HDF5.
    For these, ``decode`` reads a dataset in memory that holds the same stored chunks. That figure is HDF5's own: it
    includes the lookup of each chunk and its copies from the stored bytes and out of the chunk cache. So it is an upper
    bound for the codec. ``copy`` is the replay's own copy in addition, and the rest may be negative by as much.

    Parameters
    ----------
    file : Path
        The archive.
    dataset : h5py.Dataset
        A dataset of the archive.
    selection : tuple of slice or None
        The selected part; None for the complete dataset.

    Returns
    -------
    Replay or None
        None if the values are stored in the dataset's header, where HDF5 does not expose their offset.
    """
    wanted = whole(dataset.shape, selection)
    plist = dataset.id.get_create_plist()
    fill = np.asarray(dataset.fillvalue, dataset.dtype)
    if plist.get_layout() == h5py.h5d.CONTIGUOUS:
        if not dataset.id.get_storage_size():  # never written; its offset is meaningless behind a user block
            return Replay(extents=(), place=assembled([], lengths(wanted), fill))
        return contiguous(file, dataset.id.get_offset(), dataset.shape, dataset.dtype, selection)
    if plist.get_layout() != h5py.h5d.CHUNKED:
        return None
    touched = parts(dataset.chunks, wanted)
    infos = [
        dataset.id.get_chunk_info_by_coord(tuple(n * edge for n, edge in zip(part.chunk, dataset.chunks, strict=True)))
        for part in touched
    ]
    held = [(part, info) for part, info in zip(touched, infos, strict=True) if info.byte_offset is not None]
    taken, masks = [part for part, _ in held], [info.filter_mask for _, info in held]
    place = assembled(taken, lengths(wanted), None if held and len(held) == len(touched) else fill)
    extents = tuple(Extent(file, info.byte_offset, info.size) for _, info in held)
    filters = filters_of(plist)
    shape, dtype = dataset.chunks, dataset.dtype
    if [code for code, _, _ in filters] not in ([], [BLOSC]):
        memory = _InMemory(filters, shape, dtype, taken, masks)
        return Replay(extents=extents, load=memory.load, decode=memory.decode, place=place)

    def decode(stored: list[bytes]) -> list[np.ndarray]:
        # HDF5 skips a filter that does not shrink a chunk, and records this in the chunk's mask.
        plain = [not filters or mask & 1 for mask in masks]
        unpacked = iter(blosc.decompress(data for data, bare in zip(stored, plain, strict=True) if not bare))
        values = (data if bare else next(unpacked) for data, bare in zip(stored, plain, strict=True))
        return [np.ndarray(shape, dtype, value)[part.source] for part, value in zip(taken, values, strict=True)]

    return Replay(extents=extents, decode=decode, place=place)


class _InMemory:
    """Stored chunks stacked along the first axis of a dataset in memory, with the same filters."""

    def __init__(
        self, filters: Any, chunks: tuple[int, ...], dtype: np.dtype, taken: Sequence[ChunkPart], masks: Sequence[int]
    ) -> None:
        self._filters, self._chunks, self._dtype, self._taken, self._masks = filters, chunks, dtype, taken, masks
        self._shape = (chunks[0] * len(taken), *chunks[1:])

    def load(self, stored: list[bytes]) -> Any:
        """Create the dataset; the caller drops it, and the file with it."""
        if not stored:
            return None
        places = [(self._chunks[0] * number, *(0 for _ in self._chunks[1:])) for number in range(len(stored))]
        chunks = list(zip(places, stored, self._masks, strict=True))
        return in_memory(self._filters, self._dtype, self._shape, self._chunks, chunks)

    def decode(self, state: Any) -> list[np.ndarray]:
        """Read the complete dataset with one call."""
        if state is None:
            return []
        edge, out = self._chunks[0], np.empty(self._shape, self._dtype)
        state[1].read(h5py.h5s.ALL, h5py.h5s.ALL, out)
        return [out[edge * k : edge * (k + 1)][part.source] for k, part in enumerate(self._taken)]
