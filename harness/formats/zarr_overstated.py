"""Checks of the sizes that chunks of Zarr arrays state, before any chunk is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.codecs.numcodecs import PCodec, Shuffle

from harness.files import open_regular
from harness.formats.chunk_headers import HEADER, Header, overstated
from harness.formats.extents import ByteSource, LocalFile
from harness.formats.shard import MISSING, grid_of, read_index
from harness.limits import in_words, inflation_limit

_UNKNOWN = "is stored by a codec that no archive of this harness uses"

DOCUMENTS = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup"})
"""Names of metadata files; all other files of an array hold chunks."""


def files_of_array(folder: Path, array: zarr.Array) -> Iterator[LocalFile]:
    """Yield the chunk files of an array, each open until the next is requested."""
    for place, _, names in os.walk(folder / array.path):
        for name in names:
            if name not in DOCUMENTS:
                with open_regular(Path(place) / name) as file:
                    yield LocalFile(file.fileno())


def overstated_array(array: zarr.Array, files: Iterable[ByteSource]) -> str:
    """Return which codec or chunk size of an array no archive of this harness has; empty if there is none.

    Parameters
    ----------
    array : zarr.Array
        In an archive.
    files : iterable of ByteSource
        The files with its chunks.

    Returns
    -------
    str
        The end of a sentence that begins with the array's name.
    """
    codec = _codec(array)
    if codec is None:
        return _UNKNOWN
    grid = None if array.shards is None else grid_of(array.shards, array.chunks)
    nbytes = prod(array.chunks) * array.dtype.itemsize
    for source in files:
        for head, length in _chunks(source, grid):
            if problem := overstated(codec, head, length, nbytes):
                return problem
    return ""


def chunks_beyond(arrays: Mapping[str, zarr.Array], size: int) -> str:
    """Return the first array with an unknown codec, or with chunks far larger than its archive; empty if there is none.

    Parameters
    ----------
    arrays : mapping of str to zarr.Array
        By name.
    size : int
        Of the complete archive, in bytes.
    """
    most = inflation_limit(size)
    for name, array in arrays.items():
        if _codec(array) is None:
            return f"{name} {_UNKNOWN}"
        nbytes = prod(array.chunks) * array.dtype.itemsize
        if nbytes > most:
            return (
                f"{name} has chunks of {in_words(nbytes)} in an archive of {in_words(size)}, more than "
                f"{in_words(most)}; if you trust it, raise that with --max-inflated"
            )
    return ""


def _codec(array: zarr.Array) -> Header | None:
    """Return the codec whose header a chunk has; None for codecs that no archive of this harness has."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        if metadata.filters or not isinstance(metadata.compressor, numcodecs.Blosc | None):
            return None
        return "none" if metadata.compressor is None else "blosc"
    codecs = list(metadata.codecs)
    if isinstance(codecs[0], ShardingCodec):
        codecs = [*codecs[0].codecs, *codecs[1:]]
    checked = isinstance(codecs[-1], Crc32cCodec)
    match codecs[:-1] if checked else codecs:
        case [BytesCodec()]:
            return "other" if checked else "none"
        case [BytesCodec(), BloscCodec()]:
            return "blosc"
        case [BytesCodec(), Shuffle(), ZstdCodec()]:
            return "zstd"
        case [PCodec()]:
            return "other"
    return None


def _chunks(source: ByteSource, grid: tuple[int, ...] | None) -> Iterator[tuple[bytes, int]]:
    """Yield the first bytes and the length of each chunk in a file."""
    if grid is None:
        _, size = source.tail(0)
        yield _head(source, 0, size), size
        return
    for start, length in read_index(source, grid).reshape(-1, 2).tolist():
        if start != MISSING:
            yield _head(source, start, length), length


def _head(source: ByteSource, start: int, length: int) -> bytes:
    count = min(HEADER, length)
    return source.read(start, start + count, np.empty(count, np.uint8)).tobytes()
