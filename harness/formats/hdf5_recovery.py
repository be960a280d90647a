"""Reader of datasets in an unfinished HDF5 file.

Such a file cannot be opened: HDF5 writes metadata at any time, and the last of it when the file is closed. But values
are passed to the system when their dataset is flushed, and never move afterwards; a checkpoint records their offsets.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.errors import ArchiveError
from harness.formats.base import Selection
from harness.formats.describing import Opened
from harness.formats.extents import Extent
from harness.formats.hdf5_filters import filters_of, in_memory
from harness.formats.parts import parts, runs
from harness.formats.recovered import Place, RecoveredReader
from harness.formats.selection import lengths, whole


def place_of(file: h5py.File, path: str) -> Place:
    """Return where the values of a dataset lie, and their filters.

    Parameters
    ----------
    file : h5py.File
        The file that is being written.
    path : str
        Of a dataset that was written and flushed.

    Returns
    -------
    dict
        ``offset`` and ``length`` of contiguous values; or ``edges`` of a chunk, ``filters`` as HDF5 numbers them, and
        ``chunks``: offset, length and filter mask of each, in C order. Empty if the dataset has no values.
    """
    dataset = h5py.h5d.open(file.id, path.encode())
    if 0 in dataset.shape:
        return {}
    plist = dataset.get_create_plist()
    if plist.get_layout() != h5py.h5d.CHUNKED:
        return {"offset": dataset.get_offset(), "length": dataset.get_storage_size()}
    found: list[Any] = []
    dataset.chunk_iter(found.append)
    found.sort(key=lambda info: info.chunk_offset)
    return {
        "edges": plist.get_chunk(),
        "filters": filters_of(plist),
        "chunks": [(info.byte_offset, info.size, info.filter_mask) for info in found],
    }


def stored_extents(file: Path, place: Place) -> list[Extent]:
    """List the stored bytes of a dataset."""
    if "offset" in place:
        return [Extent(file, place["offset"], place["length"])]
    return [Extent(file, offset, length) for offset, length, _ in place.get("chunks", ())]


class RecoveredHdf5Reader(RecoveredReader):
    """Reads values at their recorded offsets; HDF5 decodes chunks, in a file that exists only in memory."""

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        spec, place = self.manifest[path], self.places[path]
        wanted = whole(spec.shape, selection)
        if not spec.items or 0 in lengths(wanted):
            return np.empty(lengths(wanted), spec.dtype)
        if "offset" in place:
            found = runs(spec.shape, np.dtype(spec.dtype).itemsize, wanted)
            data = b"".join(self._stored(place["offset"] + start, length) for start, length in found)
            return np.frombuffer(bytearray(data), spec.dtype).reshape(lengths(wanted))
        edges = tuple(place["edges"])
        grid = [ceil(n / edge) for n, edge in zip(spec.shape, edges, strict=True)]
        chunks = []
        for part in parts(edges, wanted):
            offset, length, mask = place["chunks"][np.ravel_multi_index(part.chunk, grid)]
            first = tuple(n * edge for n, edge in zip(part.chunk, edges, strict=True))
            chunks.append((first, self._stored(offset, length), mask))
        file, identifier = in_memory(place["filters"], np.dtype(spec.dtype), spec.shape, edges, chunks)
        with file:
            values: np.ndarray = h5py.Dataset(identifier)[wanted]
        return values

    def opened(self, path: str) -> Opened:
        edges = self.places[path].get("edges")
        return Opened(reader="this project's own, by its journal", chunks=None if edges is None else tuple(edges))

    def _stored(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise ArchiveError(f"{self.path} ends after {offset + len(data)} bytes; {offset + length} were written.")
        return data
