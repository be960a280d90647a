"""What reads a slimmed file outside of its directory, registered by the end of its name."""

from __future__ import annotations

from harness.extensions.result_directories.container import unpack
from harness.foreign.packed import PackedFile


def unpack_slim(data: bytes) -> PackedFile:
    """Unpack a ``.slim`` file; raises as `container.unpack` does."""
    found = unpack(data)
    return PackedFile(found.data, found.exact, found.dropped)
