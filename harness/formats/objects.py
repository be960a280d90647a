"""An archive whose bytes are in an object store: what a format offers to read it, and may ask of the store.

The store itself, its requests and their counts are an extension's: see `harness.run.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, runtime_checkable

from harness.formats.base import Reader
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
        """Open an archive that is one file as zarr-python sees one, by what `RemoteRoute.beside` said of it."""

    def close(self) -> None:
        """Let go of all that was opened."""


Route = Literal["ranges", "download", "reference"]


@dataclass(frozen=True)
class RemoteRoute:
    """One way in which a format's archive in an object store is read.

    Attributes
    ----------
    open : callable
        Takes the objects of an archive to a reader, which closes them.
    beside : callable or None
        Takes the path of an archive to what has to be stored beside it; raises `UnsupportedProfile` when the archive
        cannot be read by this route.
    """

    open: Callable[[Objects], Reader]
    beside: Callable[[Path], bytes] | None = None


@runtime_checkable
class RemoteFormat(Protocol):
    """A format whose archives can be read from an object store."""

    @property
    def routes(self) -> Mapping[Route, RemoteRoute]:
        """How, by name.

        ``ranges`` asks for the bytes that a read needs, ``download`` for the whole file first, and ``reference`` finds
        chunks by what is stored beside the archive.
        """

    def remote_caches(self, files: str) -> str:
        """Say what these readers keep of what they have read, for the ledger.

        Parameters
        ----------
        files : str
            The cache behind `Objects.file`, in a few words.
        """


def routes_of(backend: object) -> Mapping[Route, RemoteRoute]:
    """Return the ways in which archives of a format can be read from a store; empty where there is none."""
    return backend.routes if isinstance(backend, RemoteFormat) else {}
