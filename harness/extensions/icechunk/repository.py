"""Writes and reads repositories of Icechunk in a local folder, through zarr-python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import numpy as np
import zarr
from zarr.codecs import BloscCodec

from harness.documents import read_document
from harness.errors import ArchiveError
from harness.formats.base import Codec, Layout, Writer
from harness.formats.seal import BLANK, files_of
from harness.formats.zarr_pipelines import DEFAULT, take_threads, using
from harness.formats.zarr_reader import ZarrReader
from harness.limits import in_words, inflation_limit
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

os.environ.setdefault("ICECHUNK_LOG", "error")  # it warns of commits at once in local folders; an archive has one
import icechunk

VERSION = f"icechunk {icechunk.__version__}, zarr {zarr.__version__}"

_MANIFEST, _STORE, _BRANCH = "manifest.json", "store", "main"


class _Document(TypedDict):
    format: Literal["icechunk"]
    manifest: str
    seal: str


def _storage(path: Path) -> icechunk.Storage:
    return icechunk.local_filesystem_storage(str((path / _STORE).resolve()))


def _compressor(codec: Codec | None) -> BloscCodec | None:
    if codec is None:
        return None
    name: Literal["zstd", "lz4"] = "zstd" if codec.name == "blosc-zstd" else "lz4"
    shuffle: Literal["shuffle", "bitshuffle"] = "bitshuffle" if codec.shuffle == "bit" else "shuffle"
    return BloscCodec(cname=name, clevel=codec.level, shuffle=shuffle)


class IcechunkWriter(Writer):
    """Writes all tensors in one session, and commits it at the end."""

    def __init__(self, path: Path, layout: Callable[[TensorSpec], Layout]) -> None:
        take_threads()
        path.mkdir()
        self._path, self._layout = path, layout
        self._session = icechunk.Repository.create(_storage(path)).writable_session(_BRANCH)
        self._group = zarr.create_group(self._session.store)

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        laid = self._layout(spec)
        with using(DEFAULT):
            array = self._group.create_array(
                spec.path,
                shape=spec.shape,
                dtype=spec.dtype,
                chunks=laid.chunks or "auto",
                compressors=_compressor(laid.codec),
                filters=None,
                fill_value=0,
            )
        row = 0
        for block in blocks:
            if block.ndim == 0:
                array[...] = block
            elif block.size:
                array[row : row + len(block)] = block
                row += len(block)

    def commit(self, manifest: Manifest) -> None:
        self._session.commit("the whole trace")
        document = _Document(format="icechunk", manifest=manifest.to_json(), seal=BLANK)
        (self._path / _MANIFEST).write_bytes(msgspec.json.encode(document))

    def abort(self) -> None:
        self._session.discard_changes()


class IcechunkReader(ZarrReader):
    """Reads the last commit.

    Parameters
    ----------
    path : Path
        The archive's folder.
    pipeline : str
        What decodes, by the name of a reader.
    """

    def __init__(self, path: Path, pipeline: str = DEFAULT) -> None:
        if not (path / _STORE).is_dir():
            raise ArchiveError(f"{path} holds no repository of Icechunk.")
        self._path = path
        session = icechunk.Repository.open(_storage(path)).readonly_session(_BRANCH)
        super().__init__(session.store, pipeline, consolidated=False)

    def manifest_text(self) -> str:
        return read_document(self._path / _MANIFEST, _Document)["manifest"]


def overstated_array(path: Path) -> str:
    """Name the first array with chunks that state far more than the archive holds; empty where there is none."""
    size = sum(file.stat().st_size for file in files_of(path))
    reader: Any = IcechunkReader(path)
    with reader:
        for name, array in reader.arrays().items():
            nbytes = prod(array.chunks) * array.dtype.itemsize
            if nbytes > (most := inflation_limit(size)):
                return (
                    f"{name} has chunks of {in_words(nbytes)} in an archive of {in_words(size)}, more than "
                    f"{in_words(most)}; if you trust it, raise that with --max-inflated"
                )
    return ""
