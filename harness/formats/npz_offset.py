"""Reader of uncompressed members of an NPZ archive: reads only the selected bytes, at their offsets in the file."""

from __future__ import annotations

import os
import zipfile
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from harness.errors import ArchiveError
from harness.formats.base import Selection
from harness.formats.describing import Opened
from harness.formats.flat import read_flat, threads_of_flat
from harness.formats.npz_reader import NpzReader
from harness.formats.npz_recovery import LOCAL_HEADER, header_length
from harness.formats.threads import ThreadTeam, cores

_Place = tuple[int, tuple[int, ...], np.dtype]
"""Offset of a member's first value in the file, and its shape and dtype."""


class OffsetNpzReader(NpzReader):
    """Reads uncompressed members with `os.preadv`; numpy finds where their values begin.

    A member's checksum covers all its bytes, so that no part of it can be checked. It is never compared, not even for a
    complete member, as in every format without checksums. Deflated members are read as by `NpzReader`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._crew = ThreadTeam(cores())
        self._place = lru_cache(maxsize=None)(self._find)

    def _find(self, path: str) -> _Place | None:
        info = self.zip.getinfo(f"{path}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with self._turns, self.zip.open(info) as member:
            version = npy.read_magic(member)
            if version != (1, 0):
                return None
            shape, fortran, dtype = npy.read_array_header_1_0(member)
            start = member.tell()
        if fortran or dtype.hasobject:
            return None
        if start + prod(shape) * dtype.itemsize != info.file_size:
            raise ArchiveError(f"{path} has {info.file_size} bytes, which is not what its header asks for.")
        before = header_length(os.pread(self._descriptor, LOCAL_HEADER, info.header_offset))
        return info.header_offset + before + start, tuple(shape), dtype

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        place = self._place(path)
        if place is None:
            return super().read(path, selection)
        return read_flat(self._descriptor, *place, selection, self._crew)

    def opened(self, path: str) -> Opened:
        if self._place(path) is None:
            return super().opened(path)
        reader = f"numpy {np.__version__} finds members, os.preadv reads them; the zip's checksum is not compared"
        return Opened(reader=reader, codec="crc32", threads=threads_of_flat(self._crew))

    def close(self) -> None:
        self._crew.close()
        self._place.cache_clear()
        os.close(self._descriptor)
        super().close()
