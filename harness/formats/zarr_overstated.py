"""What the chunks of a Zarr array state beforehand, without decoding any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numcodecs
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.codecs.numcodecs import PCodec, Shuffle

from harness.files import open_regular
from harness.formats.chunk_headers import HEADER, Header, overstated
from harness.formats.extents import LocalFile
from harness.formats.shard import MISSING, grid_of, read_index

_METADATA = {"zarr.json", ".zarray", ".zattrs"}


def overstated_array(folder: Path, array: zarr.Array) -> str:
    """Say what an array asks its codecs for that the archives of this harness do not; empty where there is nothing.

    Parameters
    ----------
    folder : Path
        The archive.
    array : zarr.Array
        In it.

    Returns
    -------
    str
        The end of a sentence that begins with the array's name.
    """
    codec = _codec(array)
    if codec is None:
        return "is stored by a codec that no archive of this harness uses"
    grid = None if array.shards is None else grid_of(array.shards, array.chunks)
    nbytes, files = prod(array.chunks) * array.dtype.itemsize, folder / array.path
    for path in (Path(place) / name for place, _, names in os.walk(files) for name in names if name not in _METADATA):
        for head, length in _chunks(path, grid):
            if problem := overstated(codec, head, length, nbytes):
                return problem
    return ""


def _codec(array: zarr.Array) -> Header | None:
    """Return whose header a chunk has; None where it is coded as no archive of this harness is."""
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


def _chunks(path: Path, grid: tuple[int, ...] | None) -> Iterator[tuple[bytes, int]]:
    """Yield the first bytes and the length of each chunk in a file."""
    with open_regular(path) as file:
        if grid is None:
            yield file.read(HEADER), os.fstat(file.fileno()).st_size
            return
        for start, length in read_index(LocalFile(file.fileno()), grid).reshape(-1, 2).tolist():
            if start != MISSING:
                yield os.pread(file.fileno(), min(HEADER, length), start), length
