"""A Zarr 3 shard as a file: encoded chunks one after the other, then the index.

zarr-python rewrites the complete shard for each part that is written, so a tensor that does not fit in memory would be
written many times. The layout is that of the specification's ``sharding_indexed`` codec with the index at the end:
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

from math import ceil, prod
from pathlib import Path

import google_crc32c
import numpy as np

from harness.errors import ArchiveError
from harness.formats.extents import ByteSource

MISSING = 2**64 - 1
"""Offset and length of a chunk that was left out; it holds the fill value."""

CHECKSUM = 4
"""Bytes of a CRC32C, which is little-endian and follows the data that it covers."""


def grid_of(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of chunks along each axis."""
    return tuple(ceil(n / c) for n, c in zip(shape, chunks, strict=True))


def shard_shape(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the extent of the fewest complete chunks that cover a tensor, in values along each axis."""
    return tuple(max(1, count) * c for count, c in zip(grid_of(shape, chunks), chunks, strict=True))


def sealed(data: bytes) -> bytes:
    """Return data followed by its CRC32C, as Zarr's codec ``crc32c`` does."""
    return data + google_crc32c.value(data).to_bytes(CHECKSUM, "little")


def unsealed(data: np.ndarray) -> np.ndarray:
    """Return the data that `sealed` was given, after checking the CRC32C.

    Parameters
    ----------
    data : ndarray of uint8
        One axis.

    Raises
    ------
    ArchiveError
        When the data do not match the checksum that follows them.
    """
    body, stored = data[:-CHECKSUM], data[-CHECKSUM:].tobytes()
    if len(data) < CHECKSUM or google_crc32c.value(body).to_bytes(CHECKSUM, "little") != stored:
        raise ArchiveError("stored bytes do not match the checksum stored after them.")
    return body


class ShardWriter:
    """Writer of one shard file, filled chunk by chunk in C order.

    Parameters
    ----------
    path : Path
        A file that does not exist yet.

    Attributes
    ----------
    path : Path
        Of the file.
    index : list of tuple of int
        Offset and length of each chunk so far, in bytes; `MISSING` for one that was left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index: list[tuple[int, int]] = []
        self._file, self._offset = path.open("xb"), 0

    def add(self, chunk: bytes | None) -> None:
        """Append an encoded chunk; None leaves out a chunk that holds only the fill value."""
        if chunk is None:
            self.index.append((MISSING, MISSING))
            return
        self._file.write(chunk)
        self.index.append((self._offset, len(chunk)))
        self._offset += len(chunk)

    def flush(self) -> None:
        """Pass the added chunks to the operating system."""
        if not self._file.closed:
            self._file.flush()

    def finish(self, chunks: int) -> None:
        """Write the index and close, once; of the shard's number of `chunks`, those not added are left out."""
        if not self._file.closed:
            self.index += [(MISSING, MISSING)] * (chunks - len(self.index))
            self._file.write(sealed(np.asarray(self.index, dtype="<u8").tobytes()))
            self._file.close()

    def close(self) -> None:
        """Close without an index, which leaves a file that must be deleted."""
        self._file.close()


def read_index(source: ByteSource, grid: tuple[int, ...]) -> np.ndarray:
    """Read and check the index of a shard.

    Parameters
    ----------
    source : ByteSource
        The shard.
    grid : tuple of int
        Number of chunks along each axis.

    Returns
    -------
    ndarray of uint64
        Offset and length of each chunk in bytes, `MISSING` for one that was left out; shape ``(*grid, 2)``.

    Raises
    ------
    ArchiveError
        When the index is damaged or names bytes outside of the shard.
    """
    length = 16 * prod(grid) + CHECKSUM
    stored, size = source.tail(length)
    start = size - length
    if start < 0:
        raise ArchiveError("a shard is shorter than its index.")
    index = unsealed(stored).view("<u8").reshape(*grid, 2)
    ends = index.sum(axis=-1)  # of a chunk that was left out, `MISSING` - 1 by overflow
    if ((ends > start) & (index[..., 0] != MISSING)).any():
        raise ArchiveError("a shard's index names bytes outside of the shard.")
    return index
