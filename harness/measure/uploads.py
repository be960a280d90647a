"""The archives of a run in its store: where each is, uploaded once, removed at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import UsageError
from harness.measure.preparation import Prepared
from harness.measure.subject import Arm
from harness.measure.tasks import RemoveTask, UploadBesideTask, UploadTask
from harness.measure.worker import Worker, WorkerError
from harness.stores.place import Place
from harness.stores.stored import Stored, beside


@contextmanager
def reached(place: Place) -> Iterator[Place]:
    """Check a store, as `require_store` does, and start what stands in front of it; gives it as readers reach it."""
    from harness.stores.shaper import shaped

    require_store(place)
    with shaped(place) as near:
        yield near


def require_store(place: Place) -> None:
    """Check that a store can be used.

    Raises
    ------
    UsageError
        When it cannot, or what is needed for it is not installed.
    """
    try:
        from harness.stores.checking import check_store
    except ImportError as error:
        needed = f"the package {error.name!r}: pip install 'trace-format-harness[s3]'"
        raise UsageError(f"Reading from a store needs {needed}.") from error
    check_store(place)


class Uploads:
    """Brings the archives of one subject after the other into a store.

    Parameters
    ----------
    place : Place
        The store, as it is reached.
    run_id : str
        Of the run; part of the keys.
    worker : Worker
        Uploads.
    """

    def __init__(self, place: Place, run_id: str, worker: Worker) -> None:
        self._place, self._worker = place, worker
        # Nobody else has such a folder, so whatever is removed at the end is ours.
        self._folder = f"harness-{run_id}-{secrets.token_hex(4)}"
        self._places: dict[Arm, Stored] = {}
        self._keys: list[str] = []

    def add(self, prepared: Prepared, arms: list[Arm]) -> None:
        """Upload the archives of a subject; an arm whose archive does not get there has failed."""
        for arm in arms:
            if arm not in prepared.archives:
                continue
            if not arm.route:
                prepared.failures[arm] = ("skipped", "this format cannot be read from an object store")
                continue
            archive = prepared.archives[arm]
            stored = Stored(place=self._place, key=f"{self._folder}/{archive.name}", route=arm.route)
            self._places[arm] = stored
            if arm.shares:  # it is there already
                self._add_beside(prepared, arm, stored)
                continue
            try:
                self._keys += self._worker.do(UploadTask(archive=archive, stored=stored))
            except WorkerError as error:
                reason = f"could not be uploaded: {error}"
                same = [other for other in arms if prepared.archives.get(other) == archive]
                prepared.failures.update(dict.fromkeys(same, ("failed", reason)))

    def _add_beside(self, prepared: Prepared, arm: Arm, stored: Stored) -> None:
        """Upload what the route of an arm needs beside the archive."""
        if not arm.rereads or arm in prepared.failures:
            return
        self._keys.append(beside(stored.key))
        task = UploadBesideTask(backend=arm.backend, archive=prepared.archives[arm], stored=stored)
        try:
            if refusal := self._worker.do(task):
                prepared.failures[arm] = ("skipped", refusal)
        except WorkerError as error:
            prepared.failures[arm] = ("failed", f"could not be uploaded: {error}")

    def stored(self, arm: Arm) -> Stored | None:
        """Return where the archive of an arm is."""
        return self._places.get(arm)

    def remove(self) -> None:
        """Take away all that was uploaded."""
        if self._keys:
            self._worker.do(RemoveTask(place=self._place, keys=self._keys))
        self._keys, self._places = [], {}
