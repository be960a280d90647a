"""Bring archives into a store, object for object, and take them away again."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from harness.extensions.object_store.client import CONCURRENCY, Client
from harness.extensions.object_store.keys import beside
from harness.extensions.object_store.stored import S3Archive
from harness.formats.base import UnsupportedProfile, load_format
from harness.formats.objects import routes_of
from harness.formats.seal import files_of

if TYPE_CHECKING:
    from harness.extensions.object_store.place import S3Place


def objects_of(archive: Path, key: str) -> dict[str, Path]:
    """Name the objects of an archive: a file is one, a folder one for each of its files; parameters as for `upload`."""
    if not archive.is_dir():
        return {key: archive}
    return {f"{key}/{file.relative_to(archive).as_posix()}": file for file in files_of(archive)}


def upload(place: S3Place, archive: Path, key: str) -> list[str]:
    """Store an archive as `objects_of` names its objects.

    Parameters
    ----------
    place : S3Place
        The store.
    archive : Path
        What to store.
    key : str
        Its name there, within the place's prefix.

    Returns
    -------
    list of str
        The keys of its objects.

    Raises
    ------
    HarnessError
        When the store does not take one of them.
    """
    names = objects_of(archive, key)
    with contextlib.closing(Client(place)) as client, ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda item: client.put(item[0], item[1].read_bytes()), names.items()))
    return list(names)


def upload_beside(place: S3Place, data: bytes, key: str) -> None:
    """Store what `RemoteRoute.beside` says of an archive, by the archive's key."""
    with contextlib.closing(Client(place)) as client:
        client.put(beside(key), data)


def upload_for_route(backend: str, archive: Path, stored: S3Archive) -> str:
    """Store what a route needs beside an archive; returns why the archive cannot be read by it, or nothing."""
    found = routes_of(load_format(backend))[stored.route].beside
    try:
        if found is not None:
            upload_beside(stored.place, found(archive), stored.key)
    except UnsupportedProfile as error:
        return str(error)
    return ""


def remove_objects(place: S3Place, keys: list[str]) -> None:
    """Take objects out of a store; those that are not there are none to take."""
    with contextlib.closing(Client(place)) as client:
        client.delete(keys)
