"""An archive whose bytes are in an object store: what a format's reader may ask of it.

The store itself, its requests and their counts are in `harness.extensions.object_store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

from harness.formats.extents import ByteSource

if TYPE_CHECKING:
    from zarr.abc.store import Store


AT_ONCE = 8 << 20
"""Bytes of decoded values up to which a shard is fetched whole when it is first touched: one wait instead of two."""

BLOCK = 1 << 20
"""Bytes of the blocks in which files of up to `KEPT_FILE` are fetched; a window's neighbours are there already then."""

KEPT_FILE = 32 << 20
"""Stored bytes of a shard up to which its blocks are kept while the reader is open; of a larger one nothing is."""


class Objects(Protocol):
    """The objects of one archive; an archive that is one file is the object with the empty name."""

    @property
    def url(self) -> str:
        """Where the archive is."""

    def whole(self, name: str = "") -> memoryview:
        """Return all bytes of an object."""

    def tail(self, length: int, name: str = "") -> tuple[memoryview, int]:
        """Return the last bytes of an object, and its size."""

    def ranges(self, extents: list[tuple[int, int]], name: str = "") -> list[memoryview]:
        """Return parts of an object, given as offset and length, that are asked for at the same time."""

    def source(self, name: str, expected: int, *, everything: bool) -> ByteSource:
        """Give access to an object that will be read in pieces.

        Parameters
        ----------
        name : str
            Of the object.
        expected : int
            Bytes of the values in it, decoded.
        everything : bool
            Whether all of it is wanted now.
        """

    def file(self) -> BinaryIO:
        """Open an archive that is one file, through the cache that the run states."""

    def zarr_store(self) -> Store:
        """Open an archive that is a folder as zarr-python sees one."""

    def reference_store(self) -> Store:
        """Open an archive that is one file as zarr-python sees one, by what `Format.beside` said of it."""

    def close(self) -> None:
        """Let go of all that was opened."""
