"""Stores for zarr-python: its own `ObjectStore`, with requests that are counted, checked and retried."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import ObjectStore

from harness.documents import Count, Positive, decode
from harness.errors import ArchiveError
from harness.extensions.object_store.client import WHOLE, Client

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


class CountedStore(ObjectStore[Any]):
    """Store that reads through the client of a folder; zarr-python chooses the requests and their sizes.

    Parameters
    ----------
    client : Client
        Client of the folder.
    known : mapping of str to bytes
        Objects that are already fetched.
    """

    def __init__(self, client: Client, known: Mapping[str, bytes] = MappingProxyType({})) -> None:
        super().__init__(client.store, read_only=True)
        self._client, self._known = client, known

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if key in self._known and byte_range is None:
            return prototype.buffer.from_bytes(self._known[key])
        try:
            return prototype.buffer.from_bytes(await self._client.ask_later(key, _wanted(byte_range)))
        except ArchiveError as error:  # there is no such object
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        return await self._client.has_later(key)

    def close(self) -> None:
        super().close()
        self._client.close()


def _wanted(part: ByteRequest | None) -> Any:
    """Translate a byte range from zarr-python's types to obstore's."""
    match part:
        case RangeByteRequest():
            return (part.start, part.end)
        case OffsetByteRequest():
            return {"offset": part.offset}
        case SuffixByteRequest():
            return {"suffix": part.suffix}
    return WHOLE


class ReferenceStore(CountedStore):
    """Store that reads each chunk by one request of a `Client`; metadata is in the references.

    Parameters
    ----------
    client : Client
        Client of the folder that holds the archive.
    name : str
        Name of the archive.
    references : bytes
        JSON: by key, the text of metadata, or a list of file, offset and length.
    """

    def __init__(self, client: Client, name: str, references: bytes) -> None:
        super().__init__(client)
        self._name, what = name, f"{name} holds no references to chunks"
        self._references = decode(
            references, _References, what, version=("version", 1), mend="", extra=True, error=ArchiveError
        ).refs

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        found = self._references.get(key)
        if found is None:
            return None
        if byte_range is not None:
            raise ArchiveError(f"{key}: no part of a chunk can be read by reference.")
        if isinstance(found, str):
            return prototype.buffer.from_bytes(found.encode())
        _, offset, length = found
        return prototype.buffer.from_bytes(await self._client.ask_later(self._name, (offset, offset + length)))

    async def exists(self, key: str) -> bool:
        return key in self._references


@dataclass(frozen=True)
class _References:
    """References by key: a text, or a file name with the first byte and the number of bytes."""

    refs: dict[str, str | tuple[str, Count, Positive]]
