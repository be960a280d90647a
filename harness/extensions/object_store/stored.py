"""Where a format finds an archive in a store."""

from __future__ import annotations

from dataclasses import dataclass

from harness.extensions.object_store.place import Place
from harness.formats.objects import Route


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a format finds an archive in a store.

    Attributes
    ----------
    place : Place
        The store.
    key : str
        Of the archive, within the place's prefix.
    route : {"ranges", "download", "reference"}
        How it is read.
    """

    place: Place
    key: str
    route: Route = "ranges"


def beside(key: str) -> str:
    """Return the key of what is stored beside an archive."""
    return f"{key}.references.json"
