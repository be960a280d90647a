"""The raw ceiling: every tensor's bytes one after the other in a flat file, read with ``fromfile`` and ``pread``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.backends.base import Backend, Layout, Profile, Reader, Selection, Stored, Writer
from harness.backends.replay import Replay, contiguous, runs
from harness.backends.seal import BLANK
from harness.errors import ArchiveError
from harness.trace.schema import Manifest, TensorSpec

_MAGIC = b"TFHRAW01"


class RawWriter(Writer):
    """Appends bytes, then the manifest, its length and a magic number as a trailer."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb")

    def begin(self, spec: TensorSpec) -> None:
        pass  # tensors follow each other in the order of the manifest: nothing to note

    def append(self, block: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)

    def end(self) -> None:
        pass

    def commit(self, manifest: Manifest) -> None:
        text = manifest.to_json().encode()
        self._file.write(text + len(text).to_bytes(8, "little") + BLANK.encode() + _MAGIC)
        self._file.close()

    def abort(self) -> None:
        self._file.close()


class RawReader(Reader):
    """Reads whole tensors with `numpy.fromfile` and selections with `os.preadv`, one call per contiguous run."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        tail = 8 + len(BLANK) + len(_MAGIC)
        size = os.fstat(self._file.fileno()).st_size
        trailer = os.pread(self._file.fileno(), tail, max(0, size - tail))
        if not trailer.endswith(_MAGIC):
            self._file.close()
            raise ArchiveError(f"{path} is truncated or not a raw archive: its trailer is missing.")
        length = int.from_bytes(trailer[:8], "little")
        self._text = os.pread(self._file.fileno(), length, size - tail - length)
        self._tensors: dict[str, tuple[int, TensorSpec]] = {}
        offset = 0
        for spec in Manifest.from_json(self._text).tensors:
            self._tensors[spec.path] = (offset, spec)
            offset += spec.nbytes
        if offset != size - tail - length:
            self._file.close()
            raise ArchiveError(
                f"{path} is truncated: expected {offset} bytes of tensors, found {size - tail - length}."
            )

    def manifest_text(self) -> bytes:
        return self._text

    def stored(self) -> dict[str, Stored]:
        return {path: Stored(spec.shape, spec.dtype) for path, (_, spec) in self._tensors.items()}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        offset, spec = self._tensors[path]
        if selection is None or not spec.shape:
            # A descriptor of its own: fromfile moves the position, which threads that share a reader would fight over.
            with Path(self._file.name).open("rb", buffering=0) as file:
                return np.fromfile(file, dtype=spec.dtype, count=spec.items, offset=offset).reshape(spec.shape)
        out = np.empty([s.stop - s.start for s in selection], dtype=spec.dtype)
        target = out.reshape(-1).view(np.uint8).data
        done = 0
        for start, length in runs(spec.shape, out.itemsize, selection):
            got = os.preadv(self._file.fileno(), [target[done : done + length]], offset + start)
            if got != length:
                raise ArchiveError(
                    f"{path}: expected {length} bytes at offset {offset + start}, the file ended after {got}."
                )
            done += length
        return out

    def locate(self, path: str) -> None:
        self._tensors[path]

    def replay(self, path: str, selection: Selection | None = None) -> Replay:
        offset, spec = self._tensors[path]
        return contiguous(Path(self._file.name), offset, spec.shape, spec.dtype, selection)

    def close(self) -> None:
        self._file.close()


class RawBackend(Backend):
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
