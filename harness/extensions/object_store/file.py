"""An object as a file that can be read and sought in, through one of fsspec's caches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fsspec.caching import caches

from harness.extensions.object_store.client import Client

if TYPE_CHECKING:
    from harness.extensions.object_store.place import S3Place


class StoreFile(io.RawIOBase):
    """One object, opened to read.

    Parameters
    ----------
    client : Client
        Of the folder that holds it.
    name : str
        Of the object.
    place : S3Place
        Names the cache and its block size.
    """

    def __init__(self, client: Client, name: str, place: S3Place) -> None:
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
        data = self._cache._fetch(self._at, stop)  # the name by which fsspec's own files call it
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            close = getattr(self._cache, "close", None)
            if close is not None:
                close()
            self._client.close()
        super().close()
