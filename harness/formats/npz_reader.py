"""Reader of NPZ with `numpy.load`."""

from __future__ import annotations

import sys
import threading
import zipfile
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.lib import format as npy

from harness.errors import ArchiveError
from harness.formats.base import Reader, Selection
from harness.formats.describing import Opened, StoredTensor
from harness.formats.npz_forward import Forward
from harness.limits import in_words
from harness.trace.stream import LARGE_BYTES
from harness.zips import read_member

MANIFEST = "metadata/manifest.json"
"""The member that holds the manifest."""


def members_are_apart() -> bool:
    """Return whether members of one open zip file can be read alternately, as the standard library intends.

    In Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 a member may seek from the position of another one:
    https://github.com/python/cpython/issues/127847
    """
    return not ((3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2))


def member_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the shape and dtype at the start of a member, whose values follow."""
    npy.read_magic(member)
    shape, _, dtype = npy.read_array_header_1_0(member)
    return tuple(shape), dtype


class NpzReader(Reader):
    """Reads members with `numpy.load`; a selection costs the complete member, as the format has no partial reads.

    Every format reads tensors of more than `LARGE_BYTES` in consecutive blocks. Here these blocks decode the member
    once, so that it is never completely in memory. This is the project's own code, `Forward`. It compares the checksum
    at the end of the member. Other selections of such a tensor cost the complete member too.
    """

    def __init__(self, path: Path | BinaryIO) -> None:
        self._path = path
        self._file = np.load(path, allow_pickle=False)
        # If members disturb each other, threads that share a reader take turns: slower, but correct.
        self._turns: AbstractContextManager[object] = nullcontext() if members_are_apart() else threading.Lock()
        self.zip: zipfile.ZipFile = self._file.zip
        self._forward = Forward(self.zip.open)

    def manifest_text(self) -> bytes:
        return read_member(self.zip, MANIFEST)

    def stored(self) -> dict[str, StoredTensor]:
        found = {}
        for name in self.zip.namelist():
            if name.endswith(".npy"):
                with self.zip.open(name) as member:
                    shape, dtype = member_header(member)
                    stated = member.tell() + prod(shape) * dtype.itemsize
                if stated != (size := self.zip.getinfo(name).file_size):
                    raise ArchiveError(f"{name} has {size} bytes where its header asks for {stated}.")
                found[name.removesuffix(".npy")] = StoredTensor(shape, dtype.name)
        return found

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        name = f"{path}.npy"
        with self._turns:
            if selection is not None and self._is_large(name):
                block = self._forward.read(name, selection)
                if block is not None:
                    return block
            array = self._file[name]
        # A copy: a view of a small window would keep the complete tensor in memory.
        return array if selection is None else np.array(array[selection])

    def _is_large(self, name: str) -> bool:
        """Return whether the values of a member, without its header, have more than `LARGE_BYTES`."""
        if (size := self.zip.getinfo(name).file_size) <= LARGE_BYTES:
            return False
        with self.zip.open(name) as member:
            member_header(member)
            return size - member.tell() > LARGE_BYTES

    def opened(self, path: str) -> Opened:
        stored = self.zip.getinfo(f"{path}.npy").compress_type == zipfile.ZIP_STORED
        reader = f"numpy {np.__version__}, numpy.load"
        if self._is_large(f"{path}.npy"):
            reader += f"; consecutive blocks of tensors above {in_words(LARGE_BYTES)} by this project's own decoder"
        return Opened(reader=reader, codec="crc32" if stored else "deflate, crc32")

    def close(self) -> None:
        self._forward.close()
        self._file.close()
        if not isinstance(self._path, Path):
            self._path.close()
