"""What a worker process is asked to do with a store: bring archives there, and take objects out again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.extensions.object_store.place import Place
from harness.extensions.object_store.stored import Stored
from harness.formats.base import UnsupportedProfile, load_format
from harness.formats.objects import routes_of
from harness.sampling.worker import Children


@dataclass(frozen=True, kw_only=True)
class UploadTask:
    """Bring an archive into a store."""

    archive: Path
    stored: Stored

    def run(self, children: Children) -> None:
        """Upload."""
        from harness.extensions.object_store.upload import upload

        upload(self.stored.place, self.archive, self.stored.key)


@dataclass(frozen=True, kw_only=True)
class UploadBesideTask:
    """Bring into a store what a route needs beside an archive; says why where the archive cannot be read by it."""

    backend: str
    archive: Path
    stored: Stored

    def run(self, children: Children) -> str:
        """Find out what it is and upload it."""
        from harness.extensions.object_store.upload import upload_beside

        try:
            beside = routes_of(load_format(self.backend))[self.stored.route].beside
            if beside is not None:
                upload_beside(self.stored.place, beside(self.archive), self.stored.key)
        except UnsupportedProfile as error:
            return str(error)
        return ""


@dataclass(frozen=True, kw_only=True)
class RemoveTask:
    """Take objects out of a store."""

    place: Place
    keys: list[str]

    def run(self, children: Children) -> None:
        """Remove them."""
        from harness.extensions.object_store.upload import remove_objects

        remove_objects(self.place, self.keys)
