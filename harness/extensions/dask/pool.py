"""Readers on workers of a Dask cluster: each task opens, waits for the common start, reads, times and checks."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, MachineError, UsageError
from harness.extensions.dask.cluster import Cluster, distributed_package
from harness.formats.base import Profile
from harness.formats.seal import read_seal
from harness.sampling import cache
from harness.sampling.executor import Readers, Share
from harness.sampling.parallel_sample import WorkerPart, combine
from harness.sampling.sample import Reading

_LEAD = 0.1  # seconds from handing out the shares to the common start, to open the readers
_LOOK = 0.5  # seconds between two checks which workers are alive
_DEATHS = 2  # samples in a row that may be rejected because a worker died


def read_share(share: Share, start: float, allowed: tuple[registry.Name, ...]) -> tuple[str, WorkerPart]:
    """Read one share inside a Dask worker; return the name of the process, and what it did.

    The read begins at a wall-clock time, which machines share as far as their clocks are set correctly.
    """
    registry.allow(*allowed)
    return _here(), share.take(lambda: time.sleep(max(0.0, start - time.time())))


def probe(backend: str, profile: Profile, archive: Path, allowed: tuple[registry.Name, ...]) -> tuple[str, str]:
    """Return the seal of an archive as a Dask worker sees it, and the name of the process.

    Load the archive into the page cache.
    """
    registry.allow(*allowed)
    seal = read_seal(archive)
    if seal:
        cache.warm(archive)
    return seal, _here()


def _here() -> str:
    """Return the name of a worker's process, which may be a new one at an old address."""
    return f"{platform.node()} {os.getpid()}"


def _answer(task: Any) -> Any:
    try:
        return task.result()
    except ModuleNotFoundError as error:
        raise HarnessError(
            f"a Dask worker lacks the module {error.name!r}: install there what is installed here"
        ) from error


class _WorkerDied(Exception):
    """A worker died over a task."""


class DaskPool(Readers):
    """Readers on the workers of one scheduler, given by its address, or of a local cluster without an address."""

    def __init__(self, scheduler: str | None) -> None:
        self._cluster = Cluster(scheduler)
        self._seen: dict[tuple[str, Path], tuple[str, str]] = {}
        self._deaths = 0  # samples over which a worker died, since the last one over which none did

    def read(self, share: Share, workers: int) -> Reading:
        """Take one sample, with the reads split over workers.

        Returns
        -------
        Reading
            Its time is that of the slowest worker, because clocks of machines are not comparable at this precision.
            Rejected if a worker died over its share, or was restarted while it read: then every value came back right,
            but not from so many workers at once.

        Raises
        ------
        HarnessError
            If the scheduler or too many workers are gone, a worker does not see the archive, the format raised, or one
            worker after the other died over a share.
        """
        try:
            addresses = self._ready(share, workers)
            start = time.time() + _LEAD
            work = [(part, start, registry.allowed()) for part in share.split(workers)]
            answers = self._do(read_share, work, addresses)
        except _WorkerDied as error:
            self._deaths += 1
            if self._deaths > _DEATHS:
                raise HarnessError(f"{self._deaths} Dask workers died one after the other") from error
            return Reading(
                seconds=0.0, open_seconds=0.0, bytes_returned=0, rejected="a Dask worker died over its share"
            )
        self._deaths = 0
        reading = combine([part for _, part in answers])
        anew = [a for a, (where, _) in zip(addresses, answers, strict=True) if self._seen[a, share.archive][1] != where]
        rejected = f"the Dask worker {anew[0]} was started anew while it read" if anew else ""
        return dataclasses.replace(reading, seconds=max(reading.worker_seconds), rejected=rejected)

    def _ready(self, share: Share, workers: int) -> list[str]:
        """Choose workers; each reads the archive's seal once, which must equal the seal that is read here."""
        archive, seal = share.archive, read_seal(share.archive)
        try:
            addresses = self._cluster.workers(workers)[:workers]
        except UsageError as error:  # there were enough when the run began
            raise MachineError(str(error)) from error
        for address in addresses:
            if self._seen.get((address, archive), ("", ""))[0] == seal:
                continue
            job = (share.backend, share.profile, archive, registry.allowed())
            try:
                ((there, where),) = self._do(probe, [job], [address])
            except OSError:
                there, where = "", ""
            if there != seal:
                raise HarnessError(
                    f"the Dask worker {address} does not see the archive that was written here: give --out a folder "
                    "that all workers share"
                )
            self._seen[address, archive] = (seal, where)
        return addresses

    def _do(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], addresses: Sequence[str]) -> list[Any]:
        """Do each job on a worker of its own; raise `_WorkerDied` if one dies over it.

        Dask would repeat it, but a task that is bound to a worker waits for that worker to return.
        """
        client = self._cluster.client
        tasks = [  # pure=False, or Dask would treat an equal job as done
            client.submit(function, *job, workers=[address], allow_other_workers=False, pure=False)
            for job, address in zip(jobs, addresses, strict=True)
        ]
        try:
            while True:
                with suppress(TimeoutError, CancelledError), client.as_current():
                    distributed_package().wait(tasks, timeout=_LOOK)
                alive = self._cluster.alive()
                if any(_died(task, address in alive) for task, address in zip(tasks, addresses, strict=True)):
                    raise _WorkerDied
                if all(task.status == "finished" for task in tasks):
                    return [_answer(task) for task in tasks]
        except (CancelledError, OSError):
            _ = self._cluster.client  # raises if this is no answer of a task but the loss of the scheduler
            raise
        finally:
            if not self._cluster.lost():
                client.cancel(tasks, force=True)

    def close(self) -> None:
        """Disconnect, and end a local cluster."""
        self._cluster.close()


def _died(task: Any, alive: bool) -> bool:
    """Return whether the worker of a task died before it answered; raise what the task has raised."""
    if task.status == "error":
        if not isinstance(task.exception(), distributed_package().scheduler.KilledWorker):
            _answer(task)
        return True
    return task.status in ("lost", "cancelled") or (task.status == "pending" and not alive)
