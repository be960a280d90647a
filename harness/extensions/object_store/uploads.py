"""Archives of a run in its store: location, upload of each object once, removal at the end."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

from harness.documents import read_document
from harness.errors import HarnessError
from harness.extensions.object_store.address import S3Address, beside
from harness.extensions.object_store.client import CONCURRENCY, Client
from harness.extensions.object_store.remotes import remote_of
from harness.extensions.object_store.stored import S3Archive
from harness.files import plain_name, write_text
from harness.formats.base import UnsupportedProfile, load_format
from harness.formats.seal import files_of
from harness.records import NoFigure
from harness.run.preparation import Prepared
from harness.run.subject import Arm
from harness.sampling.worker import Children, Worker, WorkerError

UPLOADED = "uploaded.json"
"""The file in a run's folder that lists the run's objects in its store; absent if there are none."""

_OURS = re.compile(r"harness-[^/]+-[0-9a-f]{8}/.+", re.S)  # the only keys that a run may remove, whatever its record
_NOT_THERE = "could not be uploaded: "


def objects_of(archive: Path, key: str) -> dict[str, Path]:
    """Return the file of each object of an archive, by key: a file is one object, a folder one per file."""
    if not archive.is_dir():
        return {key: archive}
    return {f"{key}/{file.relative_to(archive).as_posix()}": file for file in files_of(archive)}


def upload(place: S3Address, archive: Path, key: str, instead: Mapping[str, bytes] = MappingProxyType({})) -> list[str]:
    """Store an archive, with the keys from `objects_of`.

    Parameters
    ----------
    place : S3Address
        The store.
    archive : Path
        The archive to store.
    key : str
        Its name in the store, within the place's prefix.
    instead : mapping of str to bytes
        Objects to store in place of files of the archive's folder, by their names in it.

    Returns
    -------
    list of str
        The keys of its objects.

    Raises
    ------
    HarnessError
        If the store does not accept one of them.
    """
    files = objects_of(archive, key)
    others = {f"{key}/{name}": data for name, data in instead.items()}
    names = list(dict.fromkeys((*files, *others)))

    def data_of(name: str) -> bytes:
        return others[name] if name in others else files[name].read_bytes()

    with closing(Client(place)) as client, ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda name: client.put(name, data_of(name)), names))
    return names


def upload_beside(backend: str, archive: Path, stored: S3Archive) -> str:
    """Store the object that a route needs next to an archive.

    Returns why the route cannot read the archive; empty if it can.
    """
    route = remote_of(load_format(backend)).route(stored.route)
    if why := route.missing():
        return f"{stored.route} {why}"
    try:
        if route.beside is not None:
            data = route.beside(archive)
            with closing(Client(stored.place)) as client:
                client.put(beside(stored.key), data)
    except UnsupportedProfile as error:
        return str(error)
    return ""


def remove_objects(place: S3Address, keys: list[str]) -> None:
    """Remove objects from a store; ignore those that do not exist."""
    with closing(Client(place)) as client:
        client.delete(keys)


@dataclass(frozen=True)
class StoreTask:
    """Task that calls a function of this extension in another process, and only there."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def run(self, children: Children) -> Any:
        """Call the function and return its result."""
        return self.function(*self.arguments)


class S3Uploads:
    """Uploads of archives to a store, one subject after the other.

    Parameters
    ----------
    place : S3Address
        The store, with the endpoint in use.
    run_id : str
        Of the run; part of the keys.
    worker : Worker
        Process that uploads.
    record : Path
        `UPLOADED` in the run's folder. Every object is listed there before its upload, so a session that is killed
        leaves no unlisted object. The next session removes the listed ones with its own.

    Raises
    ------
    HarnessError
        If the record is damaged.
    """

    def __init__(self, place: S3Address, run_id: str, worker: Worker, record: Path) -> None:
        self._place, self._worker, self._record = place, worker, record
        # The folder's name is unique, so the removal at the end affects only objects of this run.
        self._folder = f"harness-{plain_name(run_id)}-{secrets.token_hex(4)}"
        self._places: dict[Arm, S3Archive] = {}
        self._keys = _listed(record)

    def add(self, prepared: Prepared, arms: Sequence[Arm]) -> None:
        for arm in arms:
            if arm not in prepared.archives:
                continue
            if not arm.route:
                prepared.failures[arm] = NoFigure("skipped", "this format cannot be read from an object store")
                continue
            archive = prepared.archives[arm]
            stored = S3Archive(place=self._place, key=f"{self._folder}/{archive.name}", route=arm.route)
            self._places[arm] = stored
            if arm.shares:  # the archive is already uploaded
                self._add_beside(prepared, arm, stored)
                continue
            try:
                instead = remote_of(load_format(arm.backend)).documents(archive)
                self._note([*objects_of(archive, stored.key), *(f"{stored.key}/{name}" for name in instead)])
                self._worker.do(StoreTask(upload, (self._place, archive, stored.key, instead)))
            except WorkerError as error:
                same = [other for other in arms if prepared.archives.get(other) == archive]
                prepared.failures.update(dict.fromkeys(same, NoFigure.of(error, _NOT_THERE)))

    def _note(self, keys: Iterable[str]) -> None:
        """List keys in the record before their objects are stored."""
        self._keys += keys
        write_text(self._record, json.dumps({"store": self._place.url, "keys": self._keys}, indent=1) + "\n")

    def _add_beside(self, prepared: Prepared, arm: Arm, stored: S3Archive) -> None:
        """Upload the object that an arm's route needs next to the archive."""
        if not arm.rereads or arm in prepared.failures:
            return
        self._note([beside(stored.key)])
        try:
            refusal = self._worker.do(StoreTask(upload_beside, (arm.backend, prepared.archives[arm], stored)))
            if refusal:
                prepared.failures[arm] = NoFigure("skipped", refusal)
        except WorkerError as error:
            prepared.failures[arm] = NoFigure.of(error, _NOT_THERE)

    def stored(self, arm: Arm) -> S3Archive | None:
        return self._places.get(arm)

    def remove(self) -> None:
        """Remove all uploaded objects, including those of a killed session of the run."""
        if self._keys:
            self._worker.do(StoreTask(remove_objects, (self._place, self._keys)))
        self._record.unlink(missing_ok=True)
        self._keys, self._places = [], {}


class _Uploaded(TypedDict):
    store: str
    keys: list[str]


def _listed(record: Path) -> list[str]:
    """Return the keys of objects that a killed session left in the store."""
    if not record.exists():
        return []
    mend = "remove from the store what the run left there, then this file"
    keys = read_document(record, _Uploaded, mend=mend)["keys"]
    if strange := [key for key in keys if not _OURS.fullmatch(key)]:
        raise HarnessError(f"{record} names {strange[0]!r}, which no run has stored: remove it from this file.")
    return keys
