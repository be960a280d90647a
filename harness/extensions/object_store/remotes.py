"""Routes by which a format's archives are read from a store; formats register them in the group ``harness.remotes``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import registry
from harness.formats.base import Format, Reader
from harness.formats.slimmed import SlimmedFormat, SlimmedReader

if TYPE_CHECKING:  # the import needs packages that reports do not need
    from harness.extensions.object_store.objects import StoredArchive


@dataclass(frozen=True)
class RemoteRoute:
    """One way to read an archive in a store."""

    # Returns a reader from the format and the objects of an archive; the reader closes the objects.
    open: Callable[[Format, StoredArchive], Reader]
    # Returns the content of the object to store next to the archive at a path; raises `UnsupportedProfile` if this
    # route cannot read the archive.
    beside: Callable[[Path], bytes] | None = None
    missing: Callable[[], str] = str  # Returns why it cannot be used here, as the end of a sentence; empty if it can.


@dataclass(frozen=True)
class RemoteFormat:
    """Routes of a format whose archives can be read from a store; without routes, they cannot be read there."""

    # By name: ``ranges`` requests the bytes that a read needs, through the format's stock library; ``fused`` does so
    # through another pipeline of zarr-python; ``download`` requests the complete file first; ``reference`` finds chunks
    # by references stored next to the archive.
    routes: Mapping[str, RemoteRoute] = field(default_factory=dict)
    # Returns in words which read data a reader keeps, for the ledger, from the format and a short description of the
    # cache behind `StoredArchive.file`.
    caches: Callable[[Format, str], str] = lambda backend, files: "none"
    # Returns, for the folder of an archive, objects to store in place of its files, by their names.
    documents: Callable[[Path], Mapping[str, bytes]] = lambda archive: {}
    # Route through a decoder of this project. Runs do not use it; `benchmarks.object_store` measures it too.
    own: RemoteRoute | None = None

    def route(self, name: str) -> RemoteRoute:
        """Return the route of this name; ``own`` is the route `own`, if there is one."""
        return self.own if name == "own" and self.own else self.routes[name]


def remote_of(backend: Format) -> RemoteFormat:
    """Return the routes registered for a format; for a slimmed format, those of the format below, adapted to it."""
    if isinstance(backend, SlimmedFormat):
        below, of = remote_of(backend.of), backend.of
        routes = {name: replace(route, open=_widening(of, route)) for name, route in below.routes.items()}
        return RemoteFormat(routes, lambda _, files: below.caches(of, files), below.documents)
    return registry.of_format("remotes", type(backend)) or RemoteFormat()


def _widening(of: Format, route: RemoteRoute) -> Callable[[Format, StoredArchive], Reader]:
    return lambda _, objects: SlimmedReader(route.open(of, objects))


def _open_file(backend: Format, objects: StoredArchive) -> Reader:
    """Open an archive of one file with the first reader of local archives."""
    file = objects.file()
    return next(iter(backend.readers.values())).open(file)


one_file = RemoteRoute(_open_file)
"""Route for a format whose first reader accepts an open file in place of a path."""

npz = RemoteFormat(
    {"ranges": one_file, "download": one_file},
    lambda backend, files: f"{files}; with the route download the whole file, in memory",
)
