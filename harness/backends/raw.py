"""The raw ceiling: every tensor's bytes one after the other in a flat file, read with ``fromfile`` and ``pread``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from harness.backends.base import Layout, Profile
from harness.backends.flat import FlatBackend, FlatReader, FlatWriter
from harness.backends.seal import BLANK
from harness.errors import ArchiveError
from harness.trace.schema import Manifest, TensorSpec

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
        text, end = _trailer(path)
        tensors: dict[str, tuple[int, TensorSpec]] = {}
        offset = 0
        for spec in Manifest.from_json(text).tensors:
            tensors[spec.path] = (offset, spec)
            offset += spec.nbytes
        if offset != end:
            raise ArchiveError(f"{path} is truncated: expected {offset} bytes of tensors, found {end}.")
        super().__init__(path, text, tensors)


def _trailer(path: Path) -> tuple[bytes, int]:
    """Return the manifest's text, and where it starts in the file."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        trailer = os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))
        if not trailer.endswith(_MAGIC):
            raise ArchiveError(f"{path} is truncated or not a raw archive: its trailer is missing.")
        length = int.from_bytes(trailer[:8], "little")
        start = size - _TAIL - length
        return os.pread(file.fileno(), length, start), start


class RawBackend(FlatBackend):
    """What the machine could do at best: no container, no compression."""

    name = "raw"
    description = "flat file, the ceiling that every time is compared with"
    suffix = ".raw"
    standing = "ceiling"

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        return Layout(origin="chosen", why="the ceiling: the bytes as they are")

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> RawWriter:
        return RawWriter(path)

    def reader(self, path: Path) -> RawReader:
        return RawReader(path)

    def recognises(self, path: Path) -> bool:
        if not path.is_file() or path.stat().st_size < len(_MAGIC):
            return False
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC

    def settings(self) -> dict[str, str]:
        return {"versions": f"numpy {np.__version__}", "threads": "1", "caches": "none"}
