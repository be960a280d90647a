"""Flat files of uncompressed tensors, one after the other: the raw ceiling, and a base for formats without codecs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np

from harness.errors import ArchiveError
from harness.files import DOCUMENT
from harness.formats.base import Format, Layout, Profile, Reader, ReaderSpec, Selection, UnsupportedProfile, Writer
from harness.formats.describing import Opened, StoredTensor
from harness.formats.extents import Extent
from harness.formats.flat import read_flat, threads_of_flat
from harness.formats.recovered import Place
from harness.formats.seal import BLANK
from harness.formats.threads import ThreadTeam, cores
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_MAGIC = b"TFHRAW02"  # 01 had no index
_KIND = len(_MAGIC) - 2  # bytes of it that are the same in every version
_LENGTHS = 16
_TAIL = _LENGTHS + len(BLANK) + len(_MAGIC)


class Placed(NamedTuple):
    """Offset of a tensor in a file, in bytes, and its shape and dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Index of a flat file, and its manifest, which is read only on request.

    Opening the ceiling must not cost more than necessary, and decoding a manifest takes longer than reading a head.
    """

    # Index entry of each tensor, by path, undecoded: dtype, offset and shape.
    entries: Mapping[str, bytes]
    manifest: Callable[[], str | bytes]  # Reads the text of the manifest.
    # Where the tensors end, if they lie one after the other from the start of the file; else None.
    end: int | None = None

    def place(self, path: str) -> Placed:
        """Return offset, shape and dtype of a tensor."""
        dtype, offset, *shape = self.entries[path].split()
        return Placed(int(offset), tuple(map(int, shape)), dtype.decode())

    def stored(self) -> dict[str, StoredTensor]:
        """Return the tensors of the index, by path, for `harness.formats.describing.ListsTensors`.

        Raises
        ------
        ArchiveError
            If `end` is known, and they do not fill the space before it one after the other.
        """
        found, end = {}, 0
        for path in self.entries:
            placed = self.place(path)
            if self.end is not None and placed.offset != end:
                raise ArchiveError(f"its index has {path} at byte {placed.offset}, what is before it ends at {end}.")
            end += placed.nbytes
            found[path] = StoredTensor(placed.shape, placed.dtype)
        if self.end not in (None, end):
            raise ArchiveError(f"expected {end} bytes of tensors, found {self.end}.")
        return found


def _entry(dtype: str, offset: int, shape: Iterable[int]) -> bytes:
    return " ".join([dtype, *map(str, (offset, *shape))]).encode()


class FlatWriter(Writer):
    """Appends the bytes of tensors, in manifest order, to a file that is positioned at the offset of the first one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended: dict[str, Place] = {}
        self._entries: dict[str, bytes] = {}

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        start = self._file.tell()
        for block in blocks:
            self._file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        self._ended[spec.path] = {"offset": start, "length": self._file.tell() - start}
        self._entries[spec.path] = _entry(spec.dtype, start, spec.shape)

    def checkpoint(self) -> dict[str, Place]:
        self._file.flush()
        ended, self._ended = self._ended, {}
        return ended

    def abort(self) -> None:
        self._file.close()


class RawWriter(FlatWriter):
    """Appends bytes, then the manifest and an index; the trailer has the lengths of both, the seal and a magic number.

    The index has a line for each tensor: its path, a space, and the entry that `Contents` decodes. No path contains a
    space.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("xb"))

    def commit(self, manifest: Manifest) -> None:
        text = manifest.to_json().encode()
        index = b"\n".join(path.encode() + b" " + entry for path, entry in self._entries.items())
        lengths = b"".join(len(part).to_bytes(8, "little") for part in (text, index))
        self._file.write(text + index + lengths + BLANK.encode() + _MAGIC)
        self._file.close()


def find_contents(path: object, size: int, read: Callable[[int, int], bytes]) -> Contents:
    """Return the contents of a raw archive from its trailer and index.

    Parameters
    ----------
    path
        The archive's name for messages.
    size : int
        Bytes of the archive.
    read : callable
        Returns bytes of the archive, given their offset and number.

    Raises
    ------
    ArchiveError
        If the archive is truncated, damaged, of another version, or not a raw archive.
    """
    trailer = read(max(0, size - _TAIL), _TAIL)
    if trailer[-len(_MAGIC) : -2] == _MAGIC[:_KIND] and not trailer.endswith(_MAGIC):
        raise ArchiveError(f"{path} is a raw archive of another version of this harness: write it again.")
    if len(trailer) < _TAIL or not trailer.endswith(_MAGIC):
        raise ArchiveError(f"{path} is truncated or not a raw archive: its trailer is missing.")
    text, index = (int.from_bytes(trailer[start : start + 8], "little") for start in (0, 8))
    end = size - _TAIL - index - text
    if end < 0 or max(text, index) > DOCUMENT:
        raise ArchiveError(
            f"{path} is truncated or damaged: it states {text} bytes of manifest and {index} of its index."
        )
    lines = (line.partition(b" ") for line in read(end + text, index).splitlines())
    return Contents(
        entries={name.decode(): entry for name, _, entry in lines}, manifest=lambda: read(end, text), end=end
    )


class RawReader(Reader):
    """Reads with `os.preadv`: one call per contiguous run, split over the threads of the budget if the run is large."""

    def __init__(self, path: Path, contents: Contents | None = None) -> None:
        self._path, self._file, self._crew = path, path.open("rb", buffering=0), ThreadTeam(cores())
        try:
            size = os.fstat(self._file.fileno()).st_size
            self._contents = contents or find_contents(path, size, self._piece)
        except BaseException:
            self._file.close()
            raise
        self.place = lru_cache(maxsize=None)(self._contents.place)

    def _piece(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def manifest_text(self) -> str | bytes:
        return self._contents.manifest()

    def stored(self) -> dict[str, StoredTensor]:
        return self._contents.stored()

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        offset, shape, dtype = self.place(path)
        return read_flat(self._file.fileno(), offset, shape, dtype, selection, self._crew)

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
        entries = {t.path: _entry(t.dtype, places[t.path]["offset"], t.shape) for t in manifest.tensors}
        return RawReader(path, Contents(entries=entries, manifest=manifest.to_json))

    def unchecked(self, path: Path, tensor: str, place: Place) -> tuple[Extent, ...]:
        return ()  # nothing is decoded


class RawFormat(FlatFormat):
    """What the machine could do at best: no container, no compression."""

    name = "raw"
    description = "flat file, the ceiling that every time is compared with"
    suffix = ".raw"
    standing = "ceiling"
    own_writer = True
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
            return file.read(_KIND) == _MAGIC[:_KIND]

    def settings(self) -> dict[str, str]:
        return {"versions": f"numpy {np.__version__}", "threads": "the budget's", "caches": "none"}
