"""How the archives of a format are read from a store: what a format registers in the group ``harness.remotes``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import registry
from harness.formats.base import Format, Reader
from harness.formats.slimmed import SlimmedFormat, SlimmedReader

if TYPE_CHECKING:  # it needs packages that a report of a run does not
    from harness.extensions.object_store.objects import StoredArchive


@dataclass(frozen=True)
class RemoteRoute:
    """One way in which an archive in a store is read."""

    # Takes the format and the objects of an archive to a reader, which closes them.
    open: Callable[[Format, StoredArchive], Reader]
    # Takes the path of an archive to what has to be stored beside it; raises `UnsupportedProfile` when the archive
    # cannot be read by this route.
    beside: Callable[[Path], bytes] | None = None
    missing: Callable[[], str] = str  # Returns why it cannot be used here, as the end of a sentence; empty if it can.


@dataclass(frozen=True)
class RemoteFormat:
    """A format whose archives can be read from a store; without routes, one whose archives cannot."""

    # By name: ``ranges`` asks for the bytes that a read needs, by the library that installing it provides; ``fused`` by
    # another pipeline of zarr-python; ``download`` for the whole file first; ``reference`` finds chunks by what is
    # stored beside the archive.
    routes: Mapping[str, RemoteRoute] = field(default_factory=dict)
    # Takes the format, and the cache behind `StoredArchive.file` in a few words, to what readers keep of what they have
    # read, for the ledger.
    caches: Callable[[Format, str], str] = lambda backend, files: "none"
    # Takes the path of an archive to objects of a folder that are stored in place of its files, by their names.
    documents: Callable[[Path], Mapping[str, bytes]] = lambda archive: {}
    # Through a decoder of this project. A run leaves it out; `benchmarks.object_store` shows it beside the others.
    own: RemoteRoute | None = None

    def route(self, name: str) -> RemoteRoute:
        """Return one of `routes`, or `own` by that name."""
        return self.own if name == "own" and self.own else self.routes[name]


def remote_of(backend: Format) -> RemoteFormat:
    """Return what is registered for a format; above slimming, what is registered for the format below."""
    if isinstance(backend, SlimmedFormat):
        below, of = remote_of(backend.of), backend.of
        routes = {name: replace(route, open=_widening(of, route)) for name, route in below.routes.items()}
        return RemoteFormat(routes, lambda _, files: below.caches(of, files), below.documents)
    return registry.of_format("remotes", type(backend)) or RemoteFormat()


def _widening(of: Format, route: RemoteRoute) -> Callable[[Format, StoredArchive], Reader]:
    return lambda _, objects: SlimmedReader(route.open(of, objects))


def _open_file(backend: Format, objects: StoredArchive) -> Reader:
    """Open an archive that is one file, with the reader of local ones."""
    file = objects.file()
    return next(iter(backend.readers.values())).open(file)


one_file = RemoteRoute(_open_file)
"""For a format whose first reader takes an open file in place of a path."""

npz = RemoteFormat(
    {"ranges": one_file, "download": one_file},
    lambda backend, files: f"{files}; with the route download the whole file, in memory",
)
