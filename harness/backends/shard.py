"""Write a Zarr 3 shard as a stream: encoded chunks one after the other, then the index.

zarr-python rewrites the whole shard for each part that is written; a tensor that does not fit in memory would be
written many times over. The layout is that of the specification's ``sharding_indexed`` codec with the index at the
end: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html
"""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np

_MISSING = 2**64 - 1


class ShardWriter:
    """One shard file, filled chunk by chunk in C order.

    Parameters
    ----------
    path : Path
        A file that does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b")
        self.index: list[tuple[int, int]] = []
        self._offset = 0

    def add(self, chunk: bytes | None) -> None:
        """Append an encoded chunk; None for one that holds only the fill value and is left out."""
        if chunk is None:
            self.index.append((_MISSING, _MISSING))
            return
        self._file.write(chunk)
        self.index.append((self._offset, len(chunk)))
        self._offset += len(chunk)

    def chunk(self, number: int) -> bytes | None:
        """Return an encoded chunk that was added before; None for one that was left out."""
        offset, length = self.index[number]
        if offset == _MISSING:
            return None
        self._file.seek(offset)
        data = self._file.read(length)
        self._file.seek(self._offset)
        return data

    def finish(self) -> None:
        """Write the index and close."""
        index = np.asarray(self.index, dtype="<u8").tobytes()
        self._file.write(index + google_crc32c.value(index).to_bytes(4, "little"))
        self._file.close()

    def close(self) -> None:
        """Close without an index, leaving a file that is to be thrown away."""
        self._file.close()


def read_chunk(path: Path, index: list[tuple[int, int]], number: int) -> bytes | None:
    """Return an encoded chunk of a finished shard, by the index its writer kept; None for one that was left out."""
    offset, length = index[number]
    if offset == _MISSING:
        return None
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
