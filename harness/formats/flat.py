"""Tensors whose bytes lie in one file as they are, one after the other, as in every format without codecs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.errors import ArchiveError
from harness.formats.base import Format, Reader, Selection, Writer
from harness.formats.describing import Opened
from harness.formats.extents import Extent
from harness.formats.parts import runs
from harness.formats.recovered import Place
from harness.formats.selection import lengths, whole
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec


class FlatWriter(Writer):
    """Appends the bytes of tensors, which follow each other in the order of the manifest.

    Parameters
    ----------
    file : BinaryIO
        Open for writing, at the place of the first tensor.
    """

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


class FlatReader(Reader):
    """Reads whole tensors with `numpy.fromfile` and selections with `os.preadv`, one call per contiguous run.

    Parameters
    ----------
    path : Path
        The file.
    text : str or bytes
        The manifest.
    tensors : mapping of str to (int, TensorSpec)
        Where each tensor starts in the file, in bytes, and what it is, by path.
    """

    def __init__(self, path: Path, text: str | bytes, tensors: Mapping[str, tuple[int, TensorSpec]]) -> None:
        self._text, self.tensors = text, tensors
        self._file = path.open("rb", buffering=0)

    def manifest_text(self) -> str | bytes:
        return self._text

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        offset, spec = self.tensors[path]
        if selection is None:
            # A descriptor of its own: fromfile moves the position, which threads that share a reader would fight over.
            with Path(self._file.name).open("rb", buffering=0) as file:
                return np.fromfile(file, dtype=spec.dtype, count=spec.items, offset=offset).reshape(spec.shape)
        wanted = whole(spec.shape, selection)
        out = np.empty(lengths(wanted), dtype=spec.dtype)
        target = out.reshape(-1).view(np.uint8).data
        done = 0
        for start, length in runs(spec.shape, out.itemsize, wanted):
            got = os.preadv(self._file.fileno(), [target[done : done + length]], offset + start)
            while got != length:  # one call reads 2 GiB at most
                more = os.preadv(self._file.fileno(), [target[done + got : done + length]], offset + start + got)
                if not more:
                    raise ArchiveError(
                        f"{path}: expected {length} bytes at offset {offset + start}, the file ended after {got}."
                    )
                got += more
            done += length
        return out

    def opened(self, path: str) -> Opened:
        return Opened(reader=f"numpy {np.__version__}, the file's own bytes")

    def close(self) -> None:
        self._file.close()


class FlatFormat(Format):
    """A format whose writer is a `FlatWriter`."""

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> FlatReader:
        tensors = {spec.path: (places[spec.path]["offset"], spec) for spec in manifest.tensors}
        return FlatReader(path, manifest.to_json(), tensors)

    def unchecked(self, path: Path, tensor: str, place: Place) -> tuple[Extent, ...]:
        return ()  # nothing is decoded
