"""Zarr in a store through zarr-python; slimmed Zarr also by few concurrent requests for neighbouring chunks."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from harness.extensions.object_store.address import AT_ONCE
from harness.extensions.object_store.remotes import RemoteFormat, RemoteRoute
from harness.formats.base import Reader, Selection
from harness.formats.extents import ByteSource
from harness.formats.selection import lengths
from harness.formats.zarr_overstated import DOCUMENTS
from harness.formats.zarr_pipelines import DEFAULT, missing
from harness.formats.zarr_reader import ZarrReader
from harness.formats.zarr_slim_reader import SlimLibraryReader, ZarrSlimReader

if TYPE_CHECKING:
    from harness.extensions.object_store.objects import StoredArchive

_ROOT = "zarr.json"


class RemoteSlimReader(ZarrSlimReader):
    """Reader of slimmed Zarr in a store by few concurrent requests, each for neighbouring chunks.

    A shard of up to `AT_ONCE` bytes of values is fetched completely, one of up to `KEPT_FILE` stored bytes in blocks of
    `BLOCK` bytes. Both are kept while the reader is open; of a larger shard only the index is kept.

    Parameters
    ----------
    objects : StoredArchive
        The archive.
    """

    def __init__(self, objects: StoredArchive) -> None:
        self._objects = objects
        self._open("", json.loads(bytes(objects.whole(_ROOT))), objects.url)

    def _opened(self, name: str, number: int, wanted: Selection) -> AbstractContextManager[ByteSource]:
        array, _ = self.find(name)
        rows = array.grid[0] * array.chunks[0] if array.shape else 1
        values = prod((min(rows, array.shape[0] - number * rows), *array.shape[1:])) if array.shape else 1
        at_once = prod(lengths(wanted)) == values or values * array.dtype.itemsize <= AT_ONCE
        return nullcontext(self._objects.source(array.file(number), at_once=at_once))

    @cached_property
    def _library(self) -> ZarrReader:
        return ZarrReader(self._objects.zarr_store())

    def close(self) -> None:
        super().close()
        self._objects.close()


class RemoteLibraryReader(SlimLibraryReader):
    """Reader of slimmed Zarr in a store through zarr-python, which chooses the requests; reads the root document once.

    Parameters
    ----------
    objects : StoredArchive
        The archive.
    pipeline : str
        Decoding pipeline, by the name of a reader.
    """

    def __init__(self, objects: StoredArchive, pipeline: str) -> None:
        root = bytes(objects.whole(_ROOT))
        self._objects, self._inner = objects, ZarrReader(objects.zarr_store({_ROOT: root}), pipeline)
        self._open("", json.loads(root), objects.url)

    def close(self) -> None:
        super().close()
        self._objects.close()


def _by(pipeline: str, open_by: Callable[[StoredArchive, str], Reader]) -> RemoteRoute:
    return RemoteRoute(lambda backend, objects: open_by(objects, pipeline), missing=partial(missing, pipeline))


def _plain(objects: StoredArchive, pipeline: str) -> Reader:
    return ZarrReader(objects.zarr_store(), pipeline)


_ROUTES = {"ranges": DEFAULT, "fused": "fused"}


def consolidated(archive: Path) -> dict[str, bytes]:
    """Return the consolidated metadata of an archive, as zarr-python writes it, without changing the archive.

    Returns
    -------
    dict of str to bytes
        The documents of the root, by name.
    """
    import zarr as library
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    buffer = default_buffer_prototype().buffer
    documents = {
        os.path.relpath(Path(place) / name, archive): buffer.from_bytes((Path(place) / name).read_bytes())
        for place, _, names in os.walk(archive)
        for name in DOCUMENTS.intersection(names)
    }
    found = MemoryStore(documents)
    with warnings.catch_warnings(action="ignore"):  # Zarr format 3 does not standardise consolidated metadata
        library.consolidate_metadata(found)
    return {name: data.to_bytes() for name, data in documents.items() if "/" not in name}


zarr = RemoteFormat(
    {route: _by(name, _plain) for route, name in _ROUTES.items()},
    lambda backend, files: "none; metadata consolidated",
    documents=consolidated,
)
zarr_slim = RemoteFormat(
    {route: _by(name, RemoteLibraryReader) for route, name in _ROUTES.items()},
    lambda backend, files: "none; metadata consolidated",
    own=RemoteRoute(lambda backend, objects: RemoteSlimReader(objects)),
)
