"""Reader of unfinished NPZ archives, whose zip file has no directory yet."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.lib import format as npy

from harness.formats.base import Selection
from harness.formats.npz_forward import Forward
from harness.formats.recovered import Place, RecoveredReader
from harness.formats.selection import whole
from harness.trace.manifest import Manifest
from harness.trace.stream import LARGE_BYTES

LOCAL_HEADER = 30
"""Bytes of the fixed part of the header in front of every member."""


def header_length(fixed: bytes) -> int:
    """Return the bytes of a member's local header, given its fixed part; the zip directory has a header of its own."""
    # Add the sizes of the name and of the extra field; the data starts after them.
    return LOCAL_HEADER + int.from_bytes(fixed[26:28], "little") + int.from_bytes(fixed[28:30], "little")


class RecoveredNpzReader(RecoveredReader):
    """Reads members at the offsets in the journal, and otherwise as `harness.formats.npz_reader.NpzReader`."""

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        super().__init__(path, manifest, places)
        self._forward = Forward(self._opened)

    def _opened(self, path: str) -> IO[bytes]:
        """Open a member from its local header; the journal gives its length and checksum."""
        place, file = self.places[path], self.path.open("rb")
        file.seek(place["offset"])
        fixed = file.read(LOCAL_HEADER)
        header = fixed + file.read(header_length(fixed) - LOCAL_HEADER)
        member = zipfile.ZipInfo(path)
        member.compress_type = int.from_bytes(header[8:10], "little")
        member.compress_size, member.CRC = place["length"] - len(header), place["crc"]
        # The only extra field is ZIP64, which the writer forces: after the name, its kind and length, then this size.
        extra = len(header) - int.from_bytes(header[28:30], "little")
        member.file_size = int.from_bytes(header[extra + 4 : extra + 12], "little")
        return cast(IO[bytes], zipfile.ZipExtFile(file, "r", member, close_fileobj=True))

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        if selection and self.manifest[path].nbytes > LARGE_BYTES:
            block = self._forward.read(path, selection)
            if block is not None:
                return block
        with self._opened(path) as member:
            array: np.ndarray = npy.read_array(member, allow_pickle=False)
            member.read(1)  # at the end of the member, zipfile compares the checksum
        return array if selection is None else np.array(array[whole(array.shape, selection)])

    def close(self) -> None:
        self._forward.close()
