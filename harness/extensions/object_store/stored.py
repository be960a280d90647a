"""Where an archive is in a store, and how it is opened there as the measurement opens those in a folder."""

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
    """Where a format finds an archive in a store."""

    place: S3Address  # The store.
    key: str  # Of the archive, within the place's prefix.
    route: str = "ranges"  # How it is read, by a name of `harness.extensions.object_store.remotes.RemoteFormat`.

    def opener(self, backend: Format) -> tuple[Opener, Counter]:
        """Return what opens it in a format, and what counts the requests of that.

        One request is made before and counted nowhere: this process may have been stopped for long.
        """
        from harness.extensions.object_store.attempts import StoreCounter
        from harness.extensions.object_store.client import Client

        folder, _, name = self.key.rpartition("/")
        with (
            closing(Client(self.place, folder)) as client,
            suppress(ArchiveError),
        ):  # no object is an archive in a folder
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
        """Open the archive, not what was uploaded, with a client of its own, which knows nothing of earlier ones."""
        from harness.extensions.object_store.objects import StoredArchive

        stored = self._stored
        objects = StoredArchive(stored.place, stored.key, stored.route)
        try:
            return self._route.open(self._backend, objects)
        except BaseException:
            objects.close()
            raise
