"""Unpacking of a slimmed file outside of its directory, registered by its file name suffix."""

from __future__ import annotations

from harness.extensions.result_directories.container import unpack
from harness.foreign.packed import PackedFile


def unpack_slim(data: bytes) -> PackedFile:
    """Unpack a ``.slim`` file; raise as `container.unpack` does."""
    found = unpack(data)
    return PackedFile(found.data, found.exact, found.dropped)
