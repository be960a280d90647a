"""Bring archives into a store, object for object, and take them away again."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.backends.seal import files_of
from harness.stores.client import CONCURRENCY, Client
from harness.stores.place import Place
from harness.stores.stored import beside


def upload(place: Place, archive: Path, key: str) -> list[str]:
    """Store an archive: a file as one object, a folder as one for each of its files.

    Parameters
    ----------
    place : Place
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
    names = {
        f"{key}/{file.relative_to(archive).as_posix()}" if archive.is_dir() else key: file for file in files_of(archive)
    }
    with contextlib.closing(Client(place)) as client, ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda item: client.put(item[0], item[1].read_bytes()), names.items()))
    return list(names)


def upload_beside(place: Place, data: bytes, key: str) -> None:
    """Store what `Backend.beside` says of an archive, by the archive's key."""
    with contextlib.closing(Client(place)) as client:
        client.put(beside(key), data)


def remove_objects(place: Place, keys: list[str]) -> None:
    """Take objects out of a store."""
    with contextlib.closing(Client(place)) as client:
        client.delete(keys)
