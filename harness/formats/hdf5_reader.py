"""Readers of HDF5 with h5py: datasets held open, so that their chunk cache lasts, or opened for each read."""

from __future__ import annotations

import threading
from functools import lru_cache
from math import isqrt, prod
from pathlib import Path
from typing import BinaryIO, ClassVar

import h5py
import numpy as np

from harness.errors import ArchiveError
from harness.files import DOCUMENT
from harness.formats.base import Reader, Selection
from harness.formats.describing import Opened, StoredTensor
from harness.formats.hdf5_file import MANIFEST, open_hdf5
from harness.formats.hdf5_filters import filters_in_words

_W0 = 0.75  # HDF5's default: https://docs.h5py.org/en/stable/high/file.html#chunk-cache


def cache_slots(chunks: int) -> int:
    """Return the slots of a cache for so many chunks: a prime of about 100 times as many, as HDF5's manual advises.

    https://support.hdfgroup.org/documentation/hdf5/latest/group___d_a_p_l.html (``H5Pset_chunk_cache``)
    """
    slots = 100 * max(1, chunks) | 1
    while any(slots % factor == 0 for factor in range(3, isqrt(slots) + 1, 2)):
        slots += 2
    return slots


class Hdf5Reader(Reader):
    """Reads datasets with h5py.

    The last 64 datasets stay open, because HDF5 keeps decoded chunks only as long as their dataset is open:
    https://docs.h5py.org/en/stable/high/file.html#chunk-cache

    Parameters
    ----------
    path : Path or BinaryIO
        The file.
    cache_bytes : int, optional
        Most bytes of decoded chunks that are kept, for all datasets together. HDF5 has a cache for each dataset: each
        gets what it can fill, while bytes are left. If not given, each has HDF5's default.
    """

    held: ClassVar[int] = 64  # datasets, whose chunk caches take up to 8 MiB each with HDF5 2
    # Opening a dataset that is already open shares its cache, even between readers of this process.
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path | BinaryIO, *, cache_bytes: int | None = None) -> None:
        self._path = path
        self._file = open_hdf5(path)
        self._cache_bytes = self._left = cache_bytes
        self.dataset = lru_cache(self.held)(self._open)

    def _open(self, path: str) -> h5py.Dataset:
        if self._left is None:
            return self._file[path]
        with self._opening:
            dataset = self._file[path]
            if dataset.chunks is None:
                return dataset
            chunk = prod(dataset.chunks) * dataset.dtype.itemsize
            nbytes = min(self._left, chunk * dataset.id.get_num_chunks())
            self._left -= nbytes
            access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
            access.set_chunk_cache(cache_slots(nbytes // chunk), nbytes, _W0)
            del dataset
            return h5py.Dataset(h5py.h5d.open(self._file.id, path.encode(), access))

    def manifest_text(self) -> bytes:
        dataset = self._file[MANIFEST]
        # A few bytes can state any shape, and a filter may decode to far more than is stored.
        if dataset.nbytes > DOCUMENT or dataset.chunks is not None:
            raise ArchiveError(f"the manifest has {dataset.nbytes} bytes, or is not stored as this harness stores one")
        return dataset[()].tobytes()

    def stored(self) -> dict[str, StoredTensor]:
        found: dict[str, StoredTensor] = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and name != MANIFEST:
                found[name] = StoredTensor(tuple(item.shape), item.dtype.name)

        self._file.visititems(visit)
        return found

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        return np.asarray(self.dataset(path)[() if selection is None else selection])

    def opened(self, path: str) -> Opened:
        dataset = self.dataset(path)
        return Opened(
            reader=f"h5py {h5py.version.version}, " + ("data sets held open" if self.held else "opened for each read"),
            chunks=dataset.chunks,
            codec=filters_in_words(dataset.id.get_create_plist()),
            cache=self._cache_in_words(dataset),
            cache_bytes=dataset.id.get_access_plist().get_chunk_cache()[1] if self.held and dataset.chunks else 0,
            threads="1: h5py holds one lock",
        )

    def _cache_in_words(self, dataset: h5py.Dataset) -> str:
        """Return in words the chunk cache of an open dataset, from its properties."""
        if dataset.chunks is None:
            return "none: contiguous"
        slots, nbytes, preemption = dataset.id.get_access_plist().get_chunk_cache()
        if not self.held:
            return f"none between reads: a chunk cache of {nbytes} bytes ends with each"
        budget = "" if self._cache_bytes is None else f", together {self._cache_bytes} bytes"
        return (
            f"chunk cache of {nbytes} bytes, {slots} slots, w0 {preemption:g}, "
            f"for each of {self.held} held data sets{budget}"
        )

    def close(self) -> None:
        self.dataset.cache_clear()
        self._file.close()
        if not isinstance(self._path, Path):
            self._path.close()


class ReopeningHdf5Reader(Hdf5Reader):
    """Opens a dataset for each read, so that its chunk cache is lost afterwards: the cost of a careless adapter."""

    held = 0
