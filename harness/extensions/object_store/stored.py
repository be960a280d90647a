"""An archive in a store, opened for measurements in the same way as an archive in a folder."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ArchiveError
from harness.extensions.object_store.address import S3Address
from harness.extensions.object_store.remotes import remote_of
from harness.formats.base import Format, Reader
from harness.sampling.sample import Counter, Opener


@dataclass(frozen=True, kw_only=True)
class S3Archive:
    """Location of an archive in a store, and the route by which it is read."""

    place: S3Address  # The store.
    key: str  # Of the archive, within the place's prefix.
    route: str = "ranges"  # Name of a route of `harness.extensions.object_store.remotes.RemoteFormat`.

    def opener(self, backend: Format) -> tuple[Opener, Counter]:
        """Return an opener of the archive in a format, and a counter of its requests.

        An uncounted request is sent first, as a warm-up: this process may have been stopped for a long time.
        """
        from harness.extensions.object_store.attempts import StoreCounter
        from harness.extensions.object_store.client import Client

        folder, _, name = self.key.rpartition("/")
        with (
            closing(Client(self.place, folder)) as client,
            suppress(ArchiveError),
        ):  # an archive in a folder has no object of this name
            client.size(name)
        return StoredFormat(backend, self), StoreCounter


class StoredFormat:
    """A format whose archive is in a store.

    Parameters
    ----------
    backend : Format
        The format.
    stored : S3Archive
        Its archive.
    """

    def __init__(self, backend: Format, stored: S3Archive) -> None:
        self._route, self._stored = remote_of(backend).route(stored.route), stored
        self._backend, self.name = backend, backend.name

    def reader(self, path: Path) -> Reader:
        """Open the archive in the store, not the local one at `path`, with a new client without earlier state."""
        from harness.extensions.object_store.objects import StoredArchive

        stored = self._stored
        objects = StoredArchive(stored.place, stored.key, stored.route)
        try:
            return self._route.open(self._backend, objects)
        except BaseException:
            objects.close()
            raise
