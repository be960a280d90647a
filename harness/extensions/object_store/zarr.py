"""Zarr in a store: through zarr-python, and slimmed in few requests for neighbouring chunks, several at a time."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from harness.extensions.object_store.address import AT_ONCE, BLOCK, KEPT_FILE
from harness.extensions.object_store.remotes import RemoteFormat, RemoteRoute
from harness.formats.base import Format, Reader, Selection
from harness.formats.extents import ByteSource
from harness.formats.selection import lengths
from harness.formats.zarr_reader import ZarrReader
from harness.formats.zarr_slim_reader import ZarrSlimReader

if TYPE_CHECKING:
    from harness.extensions.object_store.objects import StoredArchive


class RemoteSlimReader(ZarrSlimReader):
    """Reads slimmed Zarr from a store: few requests, each of neighbouring chunks, several at a time.

    Parameters
    ----------
    objects : StoredArchive
        The archive.
    """

    def __init__(self, objects: StoredArchive) -> None:
        self._objects = objects
        self._open("", json.loads(bytes(objects.whole("zarr.json"))), objects.url)

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


def _open(backend: Format, objects: StoredArchive) -> Reader:
    return ZarrReader(objects.zarr_store())


def _open_slim(backend: Format, objects: StoredArchive) -> Reader:
    return RemoteSlimReader(objects)


zarr = RemoteFormat({"ranges": RemoteRoute(_open)}, lambda backend, files: "none; metadata consolidated")
zarr_slim = RemoteFormat(
    {"ranges": RemoteRoute(_open_slim)},
    lambda backend, files: (
        f"metadata consolidated; a shard of up to {AT_ONCE >> 20} MiB of values is fetched whole, one of up to "
        f"{KEPT_FILE >> 20} MiB as stored in blocks of {BLOCK >> 20} MiB, both kept while the reader is open; of a "
        "larger one only its index is kept"
    ),
)
