"""Tensors whose bytes lie in one file as they are, one after the other: the raw ceiling, and formats without codecs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from harness.errors import ArchiveError
from harness.files import DOCUMENT
from harness.formats.base import Format, Layout, Profile, Reader, ReaderSpec, Selection, UnsupportedProfile, Writer
from harness.formats.describing import Opened
from harness.formats.extents import Extent
from harness.formats.flat import read_flat, threads_of_flat
from harness.formats.recovered import Place
from harness.formats.seal import BLANK
from harness.formats.threads import Crew, cores
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_MAGIC = b"TFHRAW01"
_TAIL = 8 + len(BLANK) + len(_MAGIC)

Contents = tuple[str | bytes, Mapping[str, tuple[int, TensorSpec]]]
"""The manifest's text, and where each tensor starts in the file, in bytes, and what it is, by path."""


class FlatWriter(Writer):
    """Appends the bytes of tensors, in the order of the manifest, to a file that is open at the place of the first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended: dict[str, Place] = {}

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        start = self._file.tell()
        for block in blocks:
            self._file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        self._ended[spec.path] = {"offset": start, "length": self._file.tell() - start}

    def checkpoint(self) -> dict[str, Place]:
        self._file.flush()
        ended, self._ended = self._ended, {}
        return ended

    def abort(self) -> None:
        self._file.close()


class RawWriter(FlatWriter):
    """Appends bytes, then the manifest, its length and a magic number as a trailer."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("xb"))

    def commit(self, manifest: Manifest) -> None:
        text = manifest.to_json().encode()
        self._file.write(text + len(text).to_bytes(8, "little") + BLANK.encode() + _MAGIC)
        self._file.close()


def find_contents(path: object, size: int, read: Callable[[int, int], bytes]) -> Contents:
    """Find the tensors, one after the other up to the manifest, by the trailer of a file that is read in pieces."""
    trailer = read(max(0, size - _TAIL), _TAIL)
    if not trailer.endswith(_MAGIC):
        raise ArchiveError(f"{path} is truncated or not a raw archive: its trailer is missing.")
    length = int.from_bytes(trailer[:8], "little")
    end, offset = size - _TAIL - length, 0
    if end < 0 or length > DOCUMENT:
        raise ArchiveError(f"{path} is truncated or damaged: it states {length} bytes of manifest.")
    text = read(end, length)
    tensors: dict[str, tuple[int, TensorSpec]] = {}
    for spec in Manifest.from_json(text).tensors:
        tensors[spec.path] = (offset, spec)
        offset += spec.nbytes
    if offset != end:
        raise ArchiveError(f"{path} is truncated: expected {offset} bytes of tensors, found {end}.")
    return text, tensors


class RawReader(Reader):
    """Reads with `os.preadv`: one call per contiguous run, split over the threads of the budget if the run is large."""

    def __init__(self, path: Path, contents: Contents | None = None) -> None:
        self._path, self._file, self._crew = path, path.open("rb", buffering=0), Crew(cores())
        try:
            self._text, self.tensors = contents or find_contents(
                path, os.fstat(self._file.fileno()).st_size, self._piece
            )
        except BaseException:
            self._file.close()
            raise

    def _piece(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def manifest_text(self) -> str | bytes:
        return self._text

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        offset, spec = self.tensors[path]
        return read_flat(self._file.fileno(), offset, spec.shape, spec.dtype, selection, self._crew)

    def opened(self, path: str) -> Opened:
        reader = f"numpy {np.__version__}, the file's own bytes"
        return Opened(reader=reader, threads=threads_of_flat(self._crew))

    def close(self) -> None:
        self._crew.close()
        self._file.close()


class FlatFormat(Format):
    """A format whose writer is a `FlatWriter`."""

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            raise UnsupportedProfile(
                f"{self.name} has neither chunks nor codecs, so it cannot take the matched settings"
            )
        return Layout(origin="default", why="contiguous and uncompressed: the format has no other layout")

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> RawReader:
        tensors = {spec.path: (places[spec.path]["offset"], spec) for spec in manifest.tensors}
        return RawReader(path, (manifest.to_json(), tensors))

    def unchecked(self, path: Path, tensor: str, place: Place) -> tuple[Extent, ...]:
        return ()  # nothing is decoded


class RawFormat(FlatFormat):
    """What the machine could do at best: no container, no compression."""

    name = "raw"
    description = "flat file, the ceiling that every time is compared with"
    suffix = ".raw"
    standing = "ceiling"
    readers: ClassVar = {"pread": ReaderSpec(open=RawReader, about="os.preadv from one flat file")}

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
        return {"versions": f"numpy {np.__version__}", "threads": "the budget's", "caches": "none"}
