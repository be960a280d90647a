"""An archive in a store, as the readers of formats ask for it."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO

from harness.extensions.object_store.client import Client
from harness.extensions.object_store.file import StoreFile
from harness.extensions.object_store.keys import beside
from harness.extensions.object_store.shards import StoredFile, joined
from harness.formats.extents import ByteSource
from harness.formats.objects import AT_ONCE, Route

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from harness.extensions.object_store.place import S3Place

_KEPT = 256 << 20  # bytes of shards that one reader holds, the newest file apart


class StoredArchive:
    """The objects of one archive; implements `harness.formats.objects.Objects`.

    Parameters
    ----------
    place : S3Place
        The store.
    key : str
        Of the archive, within the place's prefix.
    route : {"ranges", "download", "reference"}
        How an archive that is one file is read.
    """

    def __init__(self, place: S3Place, key: str, route: Route = "ranges") -> None:
        self._place, self._key, self._route = place, key, route
        folder, _, self._name = key.rpartition("/")
        self._single = Client(place, folder)
        self._folder: Client | None = None
        self._sources: OrderedDict[str, StoredFile] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{self._place.url}/{self._key}"

    def _full(self, name: str) -> str:
        return f"{self._name}/{name}" if name else self._name

    def whole(self, name: str = "") -> memoryview:
        return self._single.whole(self._full(name))

    def tail(self, length: int, name: str = "") -> tuple[memoryview, int]:
        return self._single.tail(self._full(name), length)

    def ranges(self, extents: list[tuple[int, int]], name: str = "") -> list[memoryview]:
        pieces = joined([(start, start + length) for start, length in extents])
        if len(pieces) == 1:  # no thread has to wake up for it
            ((start, stop),) = pieces
            got = [self._single.range(self._full(name), start, stop - start)]
        else:
            begun = [self._single.fetch(self._full(name), start, stop - start) for start, stop in pieces]
            got = [data.result() for data in begun]
        starts = [start for start, _ in pieces]
        found = []
        for start, length in extents:
            number = bisect_right(starts, start) - 1
            found.append(got[number][start - starts[number] : start - starts[number] + length])
        return found

    def source(self, name: str, expected: int, *, everything: bool) -> ByteSource:
        with self._lock:
            source = self._sources.get(name)
            if source is None:
                at_once = everything or expected <= AT_ONCE
                source = self._sources[name] = StoredFile(self._single, self._full(name), at_once=at_once)
            self._sources.move_to_end(name)
            while len(self._sources) > 1 and sum(one.held_bytes for one in self._sources.values()) > _KEPT:
                self._sources.popitem(last=False)
            return source

    def file(self) -> BinaryIO:
        if self._route == "download":
            return io.BytesIO(self.whole())
        return io.BufferedReader(StoreFile(self._single, self._name, self._place), 1)

    def zarr_store(self) -> Store:
        from harness.extensions.object_store.zarr_store import CountedStore

        self._folder = Client(self._place, self._key)
        return CountedStore(self._folder)

    def reference_store(self) -> Store:
        from harness.extensions.object_store.references import ReferenceStore, read_references

        references = read_references(self._single, beside(self._name))
        return ReferenceStore(self._single, self._name, references)

    def close(self) -> None:
        for client in (self._single, self._folder):
            if client is not None:
                client.close()
