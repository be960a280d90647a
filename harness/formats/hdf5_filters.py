"""Filters of HDF5 datasets: their description, and decoding of stored chunks by HDF5 without the original file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from harness.formats.hdf5_file import BITSHUFFLE, BLOSC

# Compressors by their numbers in the values of these filters: bshuf_h5filter.h of bitshuffle, blosc.h of c-blosc.
_BITSHUFFLE_CODECS = {0: "none", 2: "lz4", 3: "zstd"}
_BLOSC_CODECS = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
_ROOM = 1 << 20  # bytes for HDF5's metadata of the chunks


def filters_in_words(plist: Any) -> str:
    """Return a description of the filters in the properties of a dataset; unknown codes have HDF5's name for them."""
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
    """Return code, flags and values of each filter in the properties of a dataset, for creating another dataset."""
    found = [plist.get_filter(k)[:3] for k in range(plist.get_nfilters())]
    # Bitshuffle would put its version and the item size in front of the values again.
    return [(code, flags, values[3:] if code == BITSHUFFLE else values) for code, flags, values in found]


def in_memory(
    filters: Sequence[tuple[int, int, Sequence[int]]],
    dtype: np.dtype,
    shape: tuple[int, ...],
    edges: tuple[int, ...],
    chunks: Sequence[tuple[tuple[int, ...], bytes, int]],
) -> tuple[h5py.File, Any]:
    """Create a dataset from stored chunks, in a file that exists only in memory.

    Parameters
    ----------
    filters : sequence
        From `filters_of`.
    dtype : numpy.dtype
        Of the values.
    shape, edges : tuple of int
        Extents of the dataset and of a chunk.
    chunks : sequence of (tuple of int, bytes, int)
        For each chunk, the index of its first value in the dataset, the stored bytes and the filter mask.

    Returns
    -------
    file : h5py.File
        The dataset exists only as long as this file is open.
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
    del identifier  # reopened: HDF5 caches the last chunk lookup with another filter mask than the chunk then got
    return file, h5py.h5d.open(file.id, b"chunks")
