"""Open archives of a format in a store as the measurement opens those in a folder."""

from __future__ import annotations

from pathlib import Path

from harness.extensions.object_store.objects import StoredArchive
from harness.extensions.object_store.stored import Stored
from harness.formats.base import Format, Reader
from harness.formats.objects import routes_of


class StoredFormat:
    """A format whose archive is in a store.

    Parameters
    ----------
    backend : Format
        The format.
    stored : Stored
        Its archive.
    """

    def __init__(self, backend: Format, stored: Stored) -> None:
        self._route, self._stored = routes_of(backend)[stored.route], stored
        self.name = backend.name

    def reader(self, path: Path) -> Reader:
        """Open the archive with a client of its own, which knows nothing of earlier ones.

        Parameters
        ----------
        path : Path
            What was uploaded; not looked at.
        """
        stored = self._stored
        objects = StoredArchive(stored.place, stored.key, stored.route)
        try:
            return self._route.open(objects)
        except BaseException:
            objects.close()
            raise
