"""Read and write b2nd files with the blosc2 library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any, Literal, TypedDict

import blosc2
import msgspec
import numpy as np

from harness.capacity import capacity
from harness.documents import read_document
from harness.errors import ArchiveError
from harness.formats.base import Codec, Layout, Reader, Selection, Writer
from harness.formats.describing import Opened, StoredTensor
from harness.formats.recovered import Place
from harness.formats.seal import BLANK
from harness.limits import in_words, inflation_limit
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

VERSION = f"blosc2 {blosc2.__version__} (C-Blosc2 {blosc2.blosclib_version.split()[0]})"
THREADS = "reading: the budget's; writing: 1, so that equal traces give equal bytes"

_MANIFEST, _SUFFIX = "manifest.json", ".b2nd"
_FILTERS = {"none": blosc2.Filter.NOFILTER, "byte": blosc2.Filter.SHUFFLE, "bit": blosc2.Filter.BITSHUFFLE}


class _Document(TypedDict):
    format: Literal["blosc2"]
    manifest: str
    seal: str


Plan = Callable[[TensorSpec], tuple[Layout, tuple[int, ...] | None]]
"""Function that returns the layout of a tensor and the extent of its blocks, None if the library decides."""


def _compression(codec: Codec | None) -> dict[str, Any]:
    """Translate a codec into parameters of Blosc2, never with ``TRUNC_PREC``, its lossy filter that rounds values."""
    if codec is None:
        return {"clevel": 0, "filters": [blosc2.Filter.NOFILTER], "filters_meta": [0]}
    name = blosc2.Codec[codec.name.removeprefix("blosc-").upper()]
    return {"codec": name, "clevel": codec.level, "filters": [_FILTERS[codec.shuffle]], "filters_meta": [0]}


class Blosc2Writer(Writer):
    """Writer that stores each tensor in its own file, slab by slab."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path, self._plan = path, plan
        self._ended: dict[str, Place] = {}
        path.mkdir()

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        file = self._path / f"{spec.path}{_SUFFIX}"
        file.parent.mkdir(parents=True, exist_ok=True)
        layout, parts = self._plan(spec)
        chunked: dict[str, Any] = {}
        if layout.chunks and spec.items:
            chunked = {"chunks": layout.chunks, **({"blocks": parts} if parts else {})}
        # With several threads, the order in which the blocks of a chunk are stored would depend on chance.
        stored = {
            "urlpath": str(file),
            "mode": "w",
            "cparams": blosc2.CParams(nthreads=1, **_compression(layout.codec)),
        }
        if not spec.shape:
            for block in blocks:  # setting an item would first convert it to a number of Python
                blosc2.asarray(np.ascontiguousarray(block, spec.dtype).reshape(()), **stored)
        else:
            array, row = blosc2.empty(spec.shape, dtype=np.dtype(spec.dtype), **stored, **chunked), 0
            for block in blocks:
                if block.size:
                    _put(array, row, block)
                row += len(block)
        self._ended[spec.path] = {}

    def checkpoint(self) -> dict[str, Place]:
        ended, self._ended = self._ended, {}  # the library writes each chunk when it gets it
        return ended

    def commit(self, manifest: Manifest) -> None:
        document = _Document(format="blosc2", manifest=manifest.to_json(), seal=BLANK)
        (self._path / _MANIFEST).write_bytes(msgspec.json.encode(document))

    def abort(self) -> None:
        pass  # nothing is open


def _put(array: blosc2.NDArray, row: int, block: np.ndarray) -> None:
    """Store rows, split into columns of a chunk's width: the library takes copies in C order only."""
    rows = slice(row, row + len(block))
    if array.ndim == 1:
        array[rows] = np.ascontiguousarray(block, array.dtype)
        return
    for column in range(0, array.shape[1], array.chunks[1]):
        part = slice(column, min(column + array.chunks[1], array.shape[1]))
        array[rows, part] = np.ascontiguousarray(block[:, part], array.dtype)


class Blosc2Reader(Reader):
    """Reader of b2nd files; each array stays open after its first use, as the library intends.

    Parameters
    ----------
    path : Path
        The archive's folder.
    mapped : bool
        Whether files are mapped into memory, instead of reopened by the library for each chunk.
    """

    def __init__(self, path: Path, *, mapped: bool = False) -> None:
        self._path, self._mapped = path, mapped
        self._arrays: dict[str, tuple[blosc2.NDArray, threading.Lock]] = {}
        self._turns = threading.Lock()

    def manifest_text(self) -> str:
        return read_document(self._path / _MANIFEST, _Document)["manifest"]

    def stored(self) -> dict[str, StoredTensor]:
        return {_tensor(self._path, file): stored_in(file) for file in _files(self._path)}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        array, turn = self._held(path)
        with turn:  # an array has one decompression context
            found = array[...] if selection is None else array[selection]
        return np.asarray(found)

    def _held(self, path: str) -> tuple[blosc2.NDArray, threading.Lock]:
        with self._turns:
            if path not in self._arrays:
                array = open_array(self._path / f"{path}{_SUFFIX}", mapped=self._mapped)
                self._arrays[path] = array, threading.Lock()
            return self._arrays[path]

    def opened(self, path: str) -> Opened:
        array, _ = self._held(path)
        parameters = array.schunk.cparams
        bits, filters = blosc2.Filter.BITSHUFFLE, parameters.filters
        shuffle: Literal["none", "byte", "bit"] = "none" if blosc2.Filter.SHUFFLE not in filters else "byte"
        codec = Codec(
            name=f"blosc-{parameters.codec.name.lower()}",
            level=parameters.clevel,
            shuffle="bit" if bits in filters else shuffle,
        )
        chunked = array.ndim and array.size
        blocks = f", blocks of {'x'.join(map(str, array.blocks))}" if chunked else ""
        how = "mapped" if self._mapped else "opened for each chunk"
        return Opened(
            reader=f"{VERSION}, {array.schunk.dparams.nthreads} threads, files {how}{blocks}",
            chunks=tuple(array.chunks) if chunked else None,
            codec=str(codec) if codec.level else "none",
        )

    def close(self) -> None:
        self._arrays.clear()


class RecoveredBlosc2Reader(Blosc2Reader):
    """Reader of the complete files of an unfinished archive; an incomplete file is not listed."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path)
        self._manifest = manifest

    def manifest_text(self) -> str:
        return self._manifest.to_json()

    def stored(self) -> dict[str, StoredTensor]:
        return {spec.path: stored_in(self._path / f"{spec.path}{_SUFFIX}") for spec in self._manifest.tensors}


def open_array(file: Path, *, mapped: bool = False) -> blosc2.NDArray:
    """Open an array for reading; any other content of the file is neither followed nor evaluated.

    Raises
    ------
    ArchiveError
        If the file does not exist or holds anything but one array.
    """
    if not file.is_file():
        raise ArchiveError(f"there is no {file}")
    how: dict[str, Any] = {"mmap_mode": "r"} if mapped else {"mode": "r"}
    threads = blosc2.DParams(nthreads=capacity().cores_usable)
    try:
        array = blosc2.open(str(file), dparams=threads, deserialize="safe", **how)
    except ValueError as error:  # the file holds an expression or a reference to another file
        raise ArchiveError(f"{file} holds no array alone; nothing of it was evaluated") from error
    if type(array) is not blosc2.NDArray:
        raise ArchiveError(f"{file} holds a {type(array).__name__} and no array")
    return array


def stored_in(file: Path) -> StoredTensor:
    """Return the shape and dtype of the array in a file."""
    array = open_array(file)
    return StoredTensor(tuple(array.shape), array.dtype.name)


def overstated_array(path: Path) -> str:
    """Return a message on the first array whose chunks state far more than its file holds; empty if there is none."""
    for file in _files(path):
        array, size = open_array(file), file.stat().st_size
        nbytes = prod(array.chunks) * array.dtype.itemsize
        if nbytes > (most := inflation_limit(size)):
            return (
                f"{_tensor(path, file)} has {in_words(size)} and chunks of {in_words(nbytes)}, more than "
                f"{in_words(most)}; if you trust it, raise that with --max-inflated"
            )
    return ""


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob(f"*{_SUFFIX}"))


def _tensor(path: Path, file: Path) -> str:
    return file.relative_to(path).as_posix().removesuffix(_SUFFIX)
