"""A read of an HDF5 dataset taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.formats.base import Selection
from harness.formats.hdf5_file import BITSHUFFLE, BLOSC
from harness.formats.replay import Extent, Part, Replay, assembled, contiguous, lengths, parts, whole

# What the values of these filters call their compressors: bshuf_h5filter.h of bitshuffle, blosc.h of c-blosc.
_BITSHUFFLE_CODECS = {0: "none", 2: "lz4", 3: "zstd"}
_BLOSC_CODECS = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
_ROOM = 1 << 20  # bytes for what HDF5 keeps about the chunks


def replay_dataset(file: Path, dataset: h5py.Dataset, selection: Selection | None) -> Replay | None:
    """Take a read of a dataset apart.

    Blosc is decoded by numcodecs, which holds the same library. Other filters exist only inside HDF5, bitshuffle among
    them: there ``decode`` reads a dataset in memory that holds the same stored chunks. That figure is HDF5's own: it
    includes the lookup of each chunk and its copies from the stored bytes and out of the chunk cache, so it is an
    upper bound for the codec; ``copy`` is the replay's own on top, and the rest may be negative by as much.

    Parameters
    ----------
    file : Path
        The archive.
    dataset : h5py.Dataset
        In it.
    selection : tuple of slice or None
        The part; the whole when None.

    Returns
    -------
    Replay or None
        None when the values stand in the dataset's header, where HDF5 does not give their place.
    """
    wanted = whole(dataset.shape, selection)
    plist = dataset.id.get_create_plist()
    fill = np.asarray(dataset.fillvalue, dataset.dtype)
    if plist.get_layout() == h5py.h5d.CONTIGUOUS:
        if not dataset.id.get_storage_size():  # never written; its offset is nonsense behind a user block
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
    filters = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    if filters not in ([], [BLOSC]):
        memory = _InMemory(dataset, taken, masks)
        return Replay(extents=extents, load=memory.load, decode=memory.decode, place=place)
    from harness.formats import blosc  # of numcodecs, which HDF5 itself does not need; here no clock runs

    shape, dtype = dataset.chunks, dataset.dtype

    def decode(stored: list[bytes]) -> list[np.ndarray]:
        # A filter that made a chunk no smaller is left out of it, as its mask says.
        plain = [not filters or mask & 1 for mask in masks]
        unpacked = iter(blosc.decompress(data for data, bare in zip(stored, plain, strict=True) if not bare))
        values = (data if bare else next(unpacked) for data, bare in zip(stored, plain, strict=True))
        return [np.ndarray(shape, dtype, value)[part.source] for part, value in zip(taken, values, strict=True)]

    return Replay(extents=extents, decode=decode, place=place)


def filters_in_words(plist: Any) -> str:
    """Say what the filter pipeline in the properties of a dataset does; codes that are not known as HDF5 names them."""
    said = []
    for number in range(plist.get_nfilters()):
        code, _, values, name = plist.get_filter(number)
        if code == BITSHUFFLE and len(values) > 4:
            said.append(f"bitshuffle-{_BITSHUFFLE_CODECS.get(values[4], 'unknown')} (filter {code})")
        elif code == BLOSC and len(values) > 6:
            shuffle = ("", " byte shuffle", " bit shuffle")[values[5]]
            said.append(f"blosc-{_BLOSC_CODECS[values[6]]}-{values[4]}{shuffle} (filter {code})")
        else:
            said.append(f"{name.decode('ascii', 'replace').split(';')[0]} {values} (filter {code})")
    return ", ".join(said) or "none"


def filters_of(plist: Any) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return code, flags and values of each filter in the properties of a dataset, to make another dataset with."""
    found = [plist.get_filter(k)[:3] for k in range(plist.get_nfilters())]
    # Bitshuffle puts its version and the item size in front of the values once more.
    return [(code, flags, values[3:] if code == BITSHUFFLE else values) for code, flags, values in found]


def in_memory(
    filters: Sequence[tuple[int, int, Sequence[int]]],
    dtype: np.dtype,
    shape: tuple[int, ...],
    edges: tuple[int, ...],
    chunks: Sequence[tuple[tuple[int, ...], bytes, int]],
) -> tuple[h5py.File, Any]:
    """Make a dataset of stored chunks, in a file that exists only in memory.

    Parameters
    ----------
    filters : sequence
        From `filters_of`.
    dtype : numpy.dtype
        Of the values.
    shape, edges : tuple of int
        Extents of the dataset and of a chunk.
    chunks : sequence of (tuple of int, bytes, int)
        The first values' place in the dataset, the stored bytes and the filter mask of each.

    Returns
    -------
    file : h5py.File
        Whoever drops it drops the dataset.
    identifier : h5py.h5d.DatasetID
        The dataset.
    """
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(edges)
    for code, flags, values in filters:
        plist.set_filter(code, flags, tuple(values))
    file = h5py.File.in_memory(libver="latest", block_size=sum(len(data) for _, data, _ in chunks) + _ROOM)
    kind = h5py.h5t.py_create(dtype, logical=True)
    identifier = h5py.h5d.create(file.id, b"chunks", kind, h5py.h5s.create_simple(shape), plist)
    for place, data, mask in chunks:
        identifier.write_direct_chunk(place, data, mask)
    del identifier  # HDF5 remembers the last chunk it looked up with another mask than it was then given
    return file, h5py.h5d.open(file.id, b"chunks")


class _InMemory:
    """Stored chunks one below the other in a dataset of the same filters."""

    def __init__(self, dataset: h5py.Dataset, taken: Sequence[Part], masks: Sequence[int]) -> None:
        self._chunks, self._dtype, self._filters = (
            dataset.chunks,
            dataset.dtype,
            filters_of(dataset.id.get_create_plist()),
        )
        self._taken, self._masks = taken, masks

    def load(self, stored: list[bytes]) -> Any:
        """Make the dataset; the caller drops it, and with it the file."""
        if not stored:
            return None
        edge, *others = self._chunks
        places = [(edge * number, *(0 for _ in others)) for number in range(len(stored))]
        chunks = list(zip(places, stored, self._masks, strict=True))
        return in_memory(self._filters, self._dtype, (edge * len(stored), *others), self._chunks, chunks)

    def decode(self, state: Any) -> list[np.ndarray]:
        """Read all of it with one call."""
        if state is None:
            return []
        edge, *others = self._chunks
        out = np.empty((edge * len(self._taken), *others), self._dtype)
        state[1].read(h5py.h5s.ALL, h5py.h5s.ALL, out)
        return [out[edge * k : edge * (k + 1)][part.source] for k, part in enumerate(self._taken)]
