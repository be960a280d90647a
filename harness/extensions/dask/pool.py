"""Workers of a Dask cluster as readers: each task opens, waits for the common start, reads, times and checks itself."""

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
from harness.extensions.dask.cluster import START, Cluster, distributed_package
from harness.formats.base import Profile
from harness.formats.seal import read_seal
from harness.sampling import cache
from harness.sampling.executor import Readers, Share
from harness.sampling.sample import Reading
from harness.sampling.together import WorkerPart, combine

_LEAD = 0.1  # seconds from handing out the shares to the common start, for the readers to be opened
_LOOK = 0.5  # seconds between two looks at which workers are alive
_DEATHS = 2  # workers that may die over one share before its sample fails


def read_share(share: Share, start: float, allowed: tuple[registry.Name, ...]) -> tuple[str, WorkerPart]:
    """Read one share inside a Dask worker; returns which process that is, and what it did.

    It begins at a time on the wall clock, which machines share as far as theirs are set right.
    """
    registry.allow(*allowed)
    return _here(), share.take(lambda: time.sleep(max(0.0, start - time.time())))


def probe(backend: str, profile: Profile, archive: Path, allowed: tuple[registry.Name, ...]) -> tuple[str, str]:
    """Return the seal of an archive as a Dask worker sees it and which process that is; load it into the page cache.

    Everything else that only the first use of a format in a process does is done here too.
    """
    registry.allow(*allowed)
    seal = read_seal(archive)
    if seal:
        cache.warm(archive)
    return seal, _here()


def _here() -> str:
    """Name the process of a worker, which may be a new one at an old address."""
    return f"{platform.node()} {os.getpid()}"


def _answer(task: Any) -> Any:
    try:
        return task.result()
    except ModuleNotFoundError as error:
        raise HarnessError(
            f"a Dask worker lacks the module {error.name!r}: install there what is installed here"
        ) from error


class _WorkerDied(HarnessError):
    """Too many workers died over a task."""


class DaskPool(Readers):
    """The workers of one scheduler as readers.

    Parameters
    ----------
    scheduler : str or None
        Address of the scheduler; None to start a local cluster.
    """

    def __init__(self, scheduler: str | None) -> None:
        self._cluster = Cluster(scheduler)
        self._seen: dict[tuple[str, Path], tuple[str, str]] = {}

    def read(self, share: Share, workers: int) -> Reading:
        """Take one sample with the reads split over workers.

        Returns
        -------
        Reading
            Its time is that of the slowest worker, because the clocks of machines cannot be compared so finely.
            Rejected where a share was read again elsewhere, as after the death of its worker: every value came back
            right, but not from so many workers at once.

        Raises
        ------
        HarnessError
            When the scheduler or too many workers are gone, a worker does not see the archive, the format raised, or
            worker after worker died over a share.
        """
        archive = share.archive
        addresses = self._ready(share.backend, share.profile, archive, workers)
        start = time.time() + _LEAD
        work = [(part, start, registry.allowed()) for part in share.split(workers)]
        answers, deaths = self._do(read_share, work, addresses, _DEATHS)
        reading = combine([part for _, part in answers])
        again = sum(
            self._seen[address, archive][1] != where for address, (where, _) in zip(addresses, answers, strict=True)
        )
        return dataclasses.replace(
            reading, seconds=max(reading.worker_seconds), rejected=_rejection(deaths, again, workers)
        )

    def _ready(self, backend: str, profile: Profile, archive: Path, workers: int) -> list[str]:
        """Choose workers that see the archive; where one dies while it looks, choose anew."""
        for _ in range(_DEATHS):
            try:
                addresses = self._cluster.workers(workers)[:workers]
            except UsageError as error:  # there were enough when the run began
                raise MachineError(str(error)) from error
            with suppress(_WorkerDied):
                self._require_seen(backend, profile, archive, addresses)
                return addresses
        raise HarnessError(f"{_DEATHS} Dask workers died one after the other while they looked for the archive")

    def _do(
        self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], addresses: Sequence[str], deaths: int
    ) -> tuple[list[Any], int]:
        """Do each job on a worker of its own; one whose worker dies is done again by another, so many times.

        Dask would do it again too, but a task that is bound to a worker waits for that one to come back, and one that
        is not bound may share a worker with another.
        """
        at, died = list(addresses), [0] * len(jobs)
        tasks = [self._submit(function, job, address) for job, address in zip(jobs, at, strict=True)]
        try:
            while True:
                self._look(tasks)
                lost = self._lost(tasks, at)
                if not lost and all(task.status == "finished" for task in tasks):
                    return [_answer(task) for task in tasks], sum(died)
                for number in lost:
                    died[number] += 1
                    if died[number] > deaths:
                        raise _WorkerDied(f"{died[number]} Dask workers died one after the other over the same share")
                    at[number] = self._living(number)
                    tasks[number] = self._submit(function, jobs[number], at[number])
        except (CancelledError, OSError):
            _ = self._cluster.client  # raises where it is no answer of a task but the scheduler that is gone
            raise
        finally:
            if not self._cluster.lost():
                self._cluster.client.cancel(tasks, force=True)

    def _look(self, tasks: Sequence[Any]) -> None:
        """Wait for all tasks to end, not for long."""
        with suppress(TimeoutError, CancelledError), self._cluster.client.as_current():
            distributed_package().wait(tasks, timeout=_LOOK)

    def _submit(self, function: Callable[..., Any], job: tuple[Any, ...], address: str) -> Any:
        # pure=False, or Dask would take an equal job for done.
        return self._cluster.client.submit(function, *job, workers=[address], allow_other_workers=False, pure=False)

    def _lost(self, tasks: Sequence[Any], addresses: Sequence[str]) -> list[int]:
        """Return the numbers of the jobs whose worker died before it had answered; raises what a job has raised."""
        died = distributed_package().scheduler.KilledWorker
        alive = set(self._cluster.alive())
        lost = []
        for number, (task, address) in enumerate(zip(tasks, addresses, strict=True)):
            if task.status == "error":
                if not isinstance(task.exception(), died):
                    _answer(task)
                lost.append(number)
            elif task.status in ("lost", "cancelled") or (task.status == "pending" and address not in alive):
                lost.append(number)
        return lost

    def _living(self, number: int) -> str:
        """Return a worker that is alive, waiting for one to be started anew."""
        alive = self._cluster.wait(1)
        if not alive:
            raise MachineError(f"all Dask workers are gone, and none came back within {START:g} s")
        return alive[number % len(alive)]

    def _require_seen(self, backend: str, profile: Profile, archive: Path, addresses: list[str]) -> None:
        """Let each worker read the archive's seal once, which must be the one that is read here."""
        seal = read_seal(archive)
        for address in addresses:
            if self._seen.get((address, archive), ("", ""))[0] == seal:
                continue
            try:
                ((there, where),), _ = self._do(probe, [(backend, profile, archive, registry.allowed())], [address], 0)
            except OSError:
                there, where = "", ""
            if there != seal:
                raise HarnessError(
                    f"the Dask worker {address} does not see the archive that was written here: give --out a folder "
                    "that all workers share"
                )
            self._seen[address, archive] = (seal, where)

    def close(self) -> None:
        """Disconnect, and end a cluster of its own."""
        self._cluster.close()


def _rejection(deaths: int, again: int, workers: int) -> str:
    if not deaths and not again:
        return ""
    times = "once" if deaths == 1 else f"{deaths} times"
    return (
        f"a Dask worker died {times if deaths else 'and came back'}, and {again} of {workers} shares were read by "
        "another: every value came back right, but not from so many workers at once"
    )
