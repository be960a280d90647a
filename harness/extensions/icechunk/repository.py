"""Writer and reader of Icechunk repositories in a local folder, through zarr-python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypedDict

import msgspec
import numpy as np
import zarr

from harness.documents import read_document
from harness.errors import ArchiveError
from harness.formats.base import Layout, Writer
from harness.formats.seal import BLANK, files_of
from harness.formats.zarr import write_array
from harness.formats.zarr_overstated import chunks_beyond
from harness.formats.zarr_pipelines import DEFAULT, take_threads
from harness.formats.zarr_reader import ZarrReader
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

os.environ.setdefault("ICECHUNK_LOG", "error")  # it warns about concurrent local commits; an archive has only one
import icechunk

VERSION = f"icechunk {icechunk.__version__}, zarr {zarr.__version__}"

_MANIFEST, _STORE, _BRANCH = "manifest.json", "store", "main"


class _Document(TypedDict):
    format: Literal["icechunk"]
    manifest: str
    seal: str


def _storage(path: Path) -> icechunk.Storage:
    return icechunk.local_filesystem_storage(str((path / _STORE).resolve()))


class IcechunkWriter(Writer):
    """Writer of all tensors in one session, committed at the end."""

    def __init__(self, path: Path, layout: Callable[[TensorSpec], Layout]) -> None:
        take_threads()
        path.mkdir()
        self._path, self._layout = path, layout
        self._session = icechunk.Repository.create(_storage(path)).writable_session(_BRANCH)
        self._group = zarr.create_group(self._session.store)

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        write_array(self._group, spec, blocks, self._layout(spec))

    def commit(self, manifest: Manifest) -> None:
        self._session.commit("the whole trace")
        document = _Document(format="icechunk", manifest=manifest.to_json(), seal=BLANK)
        (self._path / _MANIFEST).write_bytes(msgspec.json.encode(document))

    def abort(self) -> None:
        self._session.discard_changes()


class IcechunkReader(ZarrReader):
    """Reader of the last commit.

    Parameters
    ----------
    path : Path
        The archive's folder.
    pipeline : str
        Decoding pipeline, by the name of a reader.
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
    """Describe the first array whose chunks declare far more bytes than the archive holds; empty if there is none."""
    reader = IcechunkReader(path)
    with reader:
        return chunks_beyond(reader.arrays(), sum(file.stat().st_size for file in files_of(path)))
