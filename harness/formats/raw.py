"""The raw ceiling: every tensor's bytes one after the other in a flat file, read with ``fromfile`` and ``pread``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.errors import ArchiveError
from harness.files import DOCUMENT
from harness.formats.base import Layout, Profile
from harness.formats.flat import FlatFormat, FlatReader, FlatWriter
from harness.formats.seal import BLANK
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_MAGIC = b"TFHRAW01"
_TAIL = 8 + len(BLANK) + len(_MAGIC)


class RawWriter(FlatWriter):
    """Appends bytes, then the manifest, its length and a magic number as a trailer."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("xb"))

    def commit(self, manifest: Manifest) -> None:
        text = manifest.to_json().encode()
        self._file.write(text + len(text).to_bytes(8, "little") + BLANK.encode() + _MAGIC)
        self._file.close()


class RawReader(FlatReader):
    """Finds the tensors by the manifest in the trailer."""

    def __init__(self, path: Path) -> None:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            text, end = read_trailer(path, size, lambda start, length: os.pread(file.fileno(), length, start))
        super().__init__(path, text, find_tensors(path, text, end))


def read_trailer(path: object, size: int, read: Callable[[int, int], bytes]) -> tuple[bytes, int]:
    """Return the manifest's text, and where it starts in the file."""
    trailer = read(max(0, size - _TAIL), _TAIL)
    if not trailer.endswith(_MAGIC):
        raise ArchiveError(f"{path} is truncated or not a raw archive: its trailer is missing.")
    length = int.from_bytes(trailer[:8], "little")
    start = size - _TAIL - length
    if start < 0 or length > DOCUMENT:
        raise ArchiveError(f"{path} is truncated or damaged: it states {length} bytes of manifest.")
    return read(start, length), start


def find_tensors(path: object, text: bytes, end: int) -> dict[str, tuple[int, TensorSpec]]:
    """Return where each tensor starts: one after the other, up to the manifest."""
    tensors: dict[str, tuple[int, TensorSpec]] = {}
    offset = 0
    for spec in Manifest.from_json(text).tensors:
        tensors[spec.path] = (offset, spec)
        offset += spec.nbytes
    if offset != end:
        raise ArchiveError(f"{path} is truncated: expected {offset} bytes of tensors, found {end}.")
    return tensors


class RawFormat(FlatFormat):
    """What the machine could do at best: no container, no compression."""

    name = "raw"
    description = "flat file, the ceiling that every time is compared with"
    suffix = ".raw"
    standing = "ceiling"
    readers: ClassVar = {"pread": RawReader}

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        return Layout(origin="chosen", why="the ceiling: the bytes as they are")

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> RawWriter:
        return RawWriter(path)

    def recognises(self, path: Path) -> bool:
        if not path.is_file() or path.stat().st_size < len(_MAGIC):
            return False
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC

    def settings(self) -> dict[str, str]:
        return {"versions": f"numpy {np.__version__}", "threads": "1", "caches": "none"}
