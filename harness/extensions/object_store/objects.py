"""Access to the objects of one archive for format readers: complete, in pieces, as a file, or as a Zarr store."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from fsspec.caching import caches

from harness.extensions.object_store.address import S3Address, beside
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.shards import StoredFile, joined

if TYPE_CHECKING:
    from zarr.abc.store import Store

_KEPT = 256 << 20  # most bytes of shards that one reader holds; the newest file is always held


class StoredArchive:
    """One archive, by its key within a place; an archive of one file is the object with the empty name.

    With the route ``download``, such a file is fetched completely when it is opened.
    """

    def __init__(self, place: S3Address, key: str, route: str = "ranges") -> None:
        self._place, self._key, self._route = place, key, route
        folder, _, self._name = key.rpartition("/")
        self._single = Client(place, folder)
        self._folder: Client | None = None
        self._sources: OrderedDict[str, StoredFile] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """URL of the archive."""
        return f"{self._place.url}/{self._key}"

    def _full(self, name: str) -> str:
        return f"{self._name}/{name}" if name else self._name

    def whole(self, name: str = "") -> memoryview:
        """Return all bytes of an object."""
        return self._single.whole(self._full(name))

    def tail(self, length: int) -> tuple[memoryview, int]:
        """Return the last bytes of an archive of one file, and its size."""
        return self._single.tail(self._name, length)

    def ranges(self, extents: list[tuple[int, int]]) -> list[memoryview]:
        """Return parts of an archive of one file, given as offset and length, by concurrent requests."""
        pieces = joined([(start, start + length) for start, length in extents])
        if len(pieces) == 1:  # needs no other thread
            ((start, stop),) = pieces
            got = [self._single.range(self._name, start, stop - start)]
        else:
            begun = [self._single.fetch(self._name, start, stop - start) for start, stop in pieces]
            got = [data.result() for data in begun]
        starts = [start for start, _ in pieces]
        found = []
        for start, length in extents:
            number = bisect_right(starts, start) - 1
            found.append(got[number][start - starts[number] : start - starts[number] + length])
        return found

    def source(self, name: str, *, at_once: bool) -> StoredFile:
        """Return an object for reading in pieces; on first use, `at_once` decides whether it is fetched completely."""
        with self._lock:
            if name not in self._sources:
                self._sources[name] = StoredFile(self._single, self._full(name), at_once=at_once)
            self._sources.move_to_end(name)
            while len(self._sources) > 1 and sum(one.held_bytes for one in self._sources.values()) > _KEPT:
                self._sources.popitem(last=False)
            return self._sources[name]

    def file(self) -> BinaryIO:
        """Open an archive of one file, through the cache that the run states."""
        if self._route == "download":
            return io.BytesIO(self.whole())
        return io.BufferedReader(_OpenedObject(self._single, self._name, self._place), 1)

    def zarr_store(self, known: Mapping[str, bytes] = MappingProxyType({})) -> Store:
        """Open an archive in a folder as a store of zarr-python; objects in `known` are not requested again."""
        from harness.extensions.object_store.zarr_store import CountedStore

        self._folder = Client(self._place, self._key)
        return CountedStore(self._folder, known)

    def reference_store(self) -> Store:
        """Open an archive of one file as a store of zarr-python, by the references stored next to it."""
        from harness.extensions.object_store.zarr_store import ReferenceStore

        return ReferenceStore(self._single, self._name, bytes(self._single.whole(beside(self._name))))

    def close(self) -> None:
        """Close all clients."""
        for client in (self._single, self._folder):
            if client is not None:
                client.close()


class _OpenedObject(io.RawIOBase):
    """An object as a readable and seekable file, through one of fsspec's caches."""

    def __init__(self, client: Client, name: str, place: S3Address) -> None:
        self._client, self._name = client, name
        self._size = client.size(name)
        self._cache: Any = caches[place.file_cache](place.block_bytes, self._fetch, self._size)
        self._at = 0

    def _fetch(self, start: int, stop: int) -> bytes:
        return bytes(self._client.range(self._name, start, min(stop, self._size) - start))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        data = self._cache._fetch(self._at, stop)  # fsspec's own files call this private method too
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            if hasattr(self._cache, "close"):
                self._cache.close()
            self._client.close()
        super().close()
