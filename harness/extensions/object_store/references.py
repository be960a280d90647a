"""An HDF5 archive in a store as a store of Zarr: its chunks are ranges of one object, found by references beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest

from harness.documents import Count, Positive, decode
from harness.errors import ArchiveError
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.zarr_store import CountedStore

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


class ReferenceStore(CountedStore):
    """Reads chunks through a `Client`, one request for each; metadata is in the references.

    Parameters
    ----------
    client : Client
        Of the folder that holds the archive.
    name : str
        Of the archive.
    references : mapping
        By key, the text of metadata, or a list of file, offset and length.
    """

    def __init__(self, client: Client, name: str, references: Mapping[str, Any]) -> None:
        super().__init__(client)
        self._name, self._references = name, references

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


def read_references(client: Client, name: str) -> Mapping[str, Any]:
    """Read the references of an archive, with one request.

    Raises
    ------
    ArchiveError
        When the object is none; also what the client raises.
    """
    text, where = bytes(client.whole(name)), f"{name} holds no references to chunks"
    return decode(text, _References, where, version=("version", 1), mend="", extra=True, error=ArchiveError).refs


@dataclass(frozen=True)
class _References:
    """Texts, or a name with the first byte and the number of bytes, by key."""

    refs: dict[str, str | tuple[str, Count, Positive]]
