"""HDF5 reader that avoids h5py's lock: h5py locates chunks, `os.preadv` reads them, and threads decode them.

h5py holds one lock around every call of HDF5, so that several threads help only outside of these calls. h5py can return
chunks as they are stored (``read_direct_chunk``), and list their offsets (``chunk_iter``). This reader applies a
chunk's filter mask, compares checksums, and returns fill values for chunks that were never written.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numcodecs import blosc
from numcodecs.fletcher32 import Fletcher32
from numcodecs.shuffle import Shuffle

from harness.errors import ArchiveError
from harness.formats.base import Selection
from harness.formats.describing import Opened
from harness.formats.flat import fill_from, read_flat, threads_of_flat
from harness.formats.hdf5_file import BLOSC, CHECKSUM
from harness.formats.hdf5_reader import Hdf5Reader
from harness.formats.parts import ChunkPart, parts
from harness.formats.selection import lengths, whole
from harness.formats.threads import ALONE, ThreadTeam, cores

blosc.use_threads = False  # the budget's threads decode; in a main thread, Blosc would add its own to them

Decode = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes the output of a filter, and memory of a chunk's length that it may fill; returns the input of the filter."""

_Piece = tuple[int, int, int, ChunkPart]
"""Offset, length and filter mask of a chunk, and the part of it that is selected."""


def _blosc(data: np.ndarray, memory: np.ndarray) -> np.ndarray:
    # Blosc's header states the decoded length. A shorter one would leave a part of the memory unchanged.
    if data[4:8].tobytes() != memory.nbytes.to_bytes(4, "little"):
        raise ArchiveError("a chunk does not decode to its expected length.")
    blosc.decompress(data, memory)
    return memory


def _inflate(data: np.ndarray, memory: np.ndarray) -> np.ndarray:
    most = memory.nbytes + CHECKSUM
    return np.frombuffer(zlib.decompressobj().decompress(data.data, most), np.uint8)


def _checked(data: np.ndarray, memory: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(Fletcher32().decode(data)).view(np.uint8)
    except RuntimeError as error:
        raise ArchiveError("a chunk does not match its checksum.") from error


def _unshuffle(itemsize: int, data: np.ndarray, memory: np.ndarray) -> np.ndarray:
    return np.asarray(Shuffle(itemsize).decode(data)).view(np.uint8)


_DECODERS: Mapping[int, Callable[[tuple[int, ...]], Decode]] = {
    BLOSC: lambda values: _blosc,
    h5py.h5z.FILTER_DEFLATE: lambda values: _inflate,
    h5py.h5z.FILTER_FLETCHER32: lambda values: _checked,
    h5py.h5z.FILTER_SHUFFLE: lambda values: partial(_unshuffle, values[0]),
}
"""Makers of decoders by HDF5's filter numbers; each takes the filter's values. Bitshuffle has no decoder that lets
other threads run: the package ``bitshuffle`` 0.5.2 holds the interpreter's lock."""


@dataclass(frozen=True)
class _Stored:
    """Where the values of a dataset lie, and how they are encoded."""

    # Of the dataset.
    shape: tuple[int, ...]
    dtype: np.dtype
    fill: np.ndarray  # The value of elements that were never written, as an array without axes.
    offset: int | None = None  # Of contiguous values in the file, in bytes; None if there are none.
    chunks: tuple[int, ...] | None = None  # Extent of a chunk.
    decoders: tuple[Decode, ...] = ()  # One for each filter, in the order in which the filters were applied.
    # Offset, length and filter mask of each chunk, by the index of its first value.
    index: Mapping[tuple[int, ...], tuple[int, int, int]] | None = None

    def decoded(self, data: np.ndarray, mask: int, memory: np.ndarray) -> np.ndarray:
        """Return the decoded bytes of a chunk; its mask names the filters that were not applied."""
        for number in reversed(range(len(self.decoders))):
            if not mask >> number & 1:
                data = self.decoders[number](data, memory)
        if data.nbytes != memory.nbytes:
            raise ArchiveError("a chunk does not decode to its expected length.")
        return data


def _locate(dataset: h5py.Dataset) -> _Stored | str:
    """Return where the values of a dataset lie, or in words the values that only HDF5 can read."""
    plist, dtype = dataset.id.get_create_plist(), dataset.dtype
    layout, filters = plist.get_layout(), [plist.get_filter(n) for n in range(plist.get_nfilters())]
    if dtype.kind not in "biuf" or dataset.id.get_type() != h5py.h5t.py_create(dtype, logical=True):
        return f"values of type {dtype}"
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED) or plist.get_external_count():
        return "values that lie elsewhere than in chunks or in one piece"
    if unknown := [code for code, *_ in filters if code not in _DECODERS]:
        return f"filter {unknown[0]}"
    found = _Stored(dataset.shape, dtype, np.asarray(dataset.fillvalue, dtype))
    if layout == h5py.h5d.CONTIGUOUS:  # the offset of a dataset that was never written is meaningless
        return replace(found, offset=dataset.id.get_offset() if dataset.id.get_storage_size() else None)
    index: dict[tuple[int, ...], tuple[int, int, int]] = {}
    dataset.id.chunk_iter(lambda c: index.update({c.chunk_offset: (c.byte_offset, c.size, c.filter_mask)}))
    nbytes = prod(dataset.chunks) * dtype.itemsize
    for place, (_, length, mask) in index.items():
        # An option of HDF5 that h5py does not expose skips the filters of edge chunks, and sets no mask.
        edge = any(at + n > end for at, n, end in zip(place, dataset.chunks, dataset.shape, strict=True))
        if edge and filters and not mask and length == nbytes:
            return "chunks at its edges that may be stored without filters"
    decoders = tuple(_DECODERS[code](values) for code, _, values, _ in filters)
    return replace(found, chunks=dataset.chunks, decoders=decoders, index=index)


class DirectHdf5Reader(Hdf5Reader):
    """Reads stored chunks with `os.preadv` and decodes them on the threads of the budget; the rest as `Hdf5Reader`.

    Only `Hdf5Reader` keeps decoded chunks. Threads may share a reader, as the location of a dataset does not change.
    """

    def __init__(self, path: Path, *, cache_bytes: int | None = None) -> None:
        super().__init__(path, cache_bytes=cache_bytes)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._crew = ThreadTeam(cores())
        self._located = lru_cache(self.held)(lambda name: _locate(self.dataset(name)))

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        stored = self._located(path)
        if isinstance(stored, str):
            return super().read(path, selection)
        if stored.offset is not None:
            return read_flat(self._descriptor, stored.offset, stored.shape, stored.dtype, selection, self._crew)
        wanted = whole(stored.shape, selection)
        out = np.empty(lengths(wanted), stored.dtype)
        if stored.chunks is None or stored.index is None:
            out[...] = stored.fill
            return out
        held: list[_Piece] = []
        for part in parts(stored.chunks, wanted):
            place = tuple(number * edge for number, edge in zip(part.chunk, stored.chunks, strict=True))
            if found := stored.index.get(place):
                held.append((*found, part))
            else:
                out[part.target] = stored.fill
        held.sort(key=lambda piece: piece[0])
        fill = partial(self._fill, stored, out)
        if len(held) * stored.dtype.itemsize * prod(stored.chunks) <= ALONE:
            fill(held)
        else:
            self._crew.share(held, fill)
        return out

    def _fill(self, stored: _Stored, out: np.ndarray, pieces: Iterable[_Piece]) -> None:
        """Read chunks, decode them, and copy the selected parts into the result."""
        assert stored.chunks is not None
        # Both are reused for the next chunk: fresh memory costs a page fault every 4 KiB.
        memory, scratch = np.empty(0, np.uint8), np.empty(prod(stored.chunks) * stored.dtype.itemsize, np.uint8)
        for offset, length, mask, part in pieces:
            if memory.size < length:
                memory = np.empty(length, np.uint8)
            fill_from(self._descriptor, offset, memory[:length])
            data = stored.decoded(memory[:length], mask, scratch)
            values: Any = np.ndarray(stored.chunks, stored.dtype, data)
            out[part.target] = values[part.source]

    def opened(self, path: str) -> Opened:
        stored, found = self._located(path), super().opened(path)
        if isinstance(stored, str):
            return replace(found, reader=f"{found.reader}, for {stored}")
        reader = f"h5py {h5py.version.version} finds chunks, numcodecs {version('numcodecs')} decodes them"
        flat = stored.offset is not None
        threads = threads_of_flat(self._crew) if flat else f"{self._crew.threads}, the caller's among them"
        return replace(found, reader=reader, cache="none", threads=threads)

    def close(self) -> None:
        self._crew.close()
        self._located.cache_clear()
        os.close(self._descriptor)
        super().close()
