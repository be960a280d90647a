"""Workers of a Dask cluster as readers: each task opens, waits for the common start, reads, times and checks itself."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends.base import Profile
from harness.backends.seal import read_seal
from harness.errors import HarnessError, UsageError
from harness.measure import cache
from harness.measure.rehearsal import rehearsed
from harness.measure.sample import Reading
from harness.measure.together import Part, combine, shares, take_share
from harness.measure.verify import Expected
from harness.workload import Read

EXTRA = "pip install 'trace-format-harness[dask]'"

_CONNECT = 5.0  # seconds to reach a scheduler
_START = 60.0  # seconds for the workers of a local cluster to start
_LEAD = 0.1  # seconds from handing out the shares to the common start, for the readers to be opened
_LOOK = 0.5  # seconds between two looks at which workers are alive
_DEATHS = 2  # workers that may die over one share before its sample fails
_DIED = "{} Dask workers died one after the other over the same share"


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"The executor 'dask' needs the package 'distributed': {EXTRA}.") from error
    return distributed


def require_workers(scheduler: str | None, most: int) -> None:
    """Refuse a run whose scheduler cannot be reached or has too few workers, before anything is written.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://host:8786``; None for a cluster of the harness's own.
    most : int
        The most workers that the run asks for.

    Raises
    ------
    UsageError
        In one sentence, within seconds.
    """
    _distributed()
    if scheduler is not None:
        with _client(scheduler) as client:
            _enough(client, scheduler, most)


def _enough(client: Any, scheduler: str, most: int) -> list[str]:
    found = sorted(client.scheduler_info(n_workers=-1)["workers"])
    if len(found) < most:
        raise UsageError(
            f"The Dask scheduler at {scheduler} has {len(found)} workers and the run asks for {most}: start more, or "
            "ask for fewer with --workers."
        )
    return found


def _client(address: str) -> Any:
    distributed = _distributed()
    try:
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # a time-out is an OSError, a wrong address a ValueError
        raise UsageError(
            f"There is no Dask scheduler at {address}: start one with 'dask scheduler', or leave out --scheduler for a "
            "local cluster."
        ) from error


@dataclass(frozen=True, kw_only=True)
class DaskShare:
    """What one task is to do; times on the wall clock, which machines share as far as they are set right."""

    backend: str
    profile: Profile
    archive: Path
    reads: tuple[Read, ...]
    expected: dict[str, Expected]
    start: float


def read_share(share: DaskShare) -> tuple[str, Part]:
    """Read one share inside a Dask worker; returns which process that is, and what it did."""
    backend = rehearsed(share.backend, share.profile)

    def wait() -> None:
        time.sleep(max(0.0, share.start - time.time()))

    return _here(), take_share(backend, share.archive, share.reads, share.expected, wait)


def probe(backend: str, profile: Profile, archive: Path) -> tuple[str, str]:
    """Return the seal of an archive as a Dask worker sees it and which process that is; load it into the page cache.

    Everything else that only the first use of a format in a process does is done here too.
    """
    seal = read_seal(rehearsed(backend, profile).seal_file(archive))
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


class DaskPool:
    """A client of one scheduler: the user's own, or that of a local cluster with one process a worker.

    Parameters
    ----------
    scheduler : str or None
        Address of the scheduler; None to start a local cluster.
    """

    def __init__(self, scheduler: str | None) -> None:
        self._scheduler = scheduler
        self._cluster: Any = None
        self._client: Any = None
        self._seen: dict[tuple[str, Path], tuple[str, str]] = {}

    def read(
        self,
        backend: str,
        profile: Profile,
        archive: Path,
        reads: Sequence[Read],
        expected: Mapping[str, Expected],
        workers: int,
    ) -> Reading:
        """Take one sample with the reads split over workers; parameters as for `harness.measure.sample.take`.

        Returns
        -------
        Reading
            Its time is that of the slowest worker, because the clocks of machines cannot be compared so finely.
            Rejected where a share was read again elsewhere, as after the death of its worker: every value came back
            right, but not from so many workers at once.

        Raises
        ------
        HarnessError
            When a worker does not see the archive, the format raised, or worker after worker died over a share.
        """
        addresses = self._workers(workers)[:workers]
        self._require_seen(backend, profile, archive, addresses)
        wanted = dict(expected)
        start = time.time() + _LEAD
        work = [
            DaskShare(
                backend=backend, profile=profile, archive=archive, reads=tuple(share), expected=wanted, start=start
            )
            for share in shares(reads, workers)
        ]
        answers, deaths = self._do(read_share, [(share,) for share in work], addresses, _DEATHS)
        reading = combine([part for _, part in answers])
        again = sum(
            self._seen[address, archive][1] != where for address, (where, _) in zip(addresses, answers, strict=True)
        )
        return dataclasses.replace(
            reading, seconds=max(reading.worker_seconds), rejected=_rejection(deaths, again, workers)
        )

    def _do(
        self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], addresses: Sequence[str], deaths: int
    ) -> tuple[list[Any], int]:
        """Do each job on a worker of its own; one whose worker dies is done again by another, so many times.

        Dask would do it again too, but a task that is bound to a worker waits for that one to come back, and one that
        is not bound may share a worker with another.
        """
        distributed = _distributed()
        at, died = list(addresses), [0] * len(jobs)
        tasks = [self._submit(function, job, address) for job, address in zip(jobs, at, strict=True)]
        try:
            while True:
                with suppress(TimeoutError), self._client.as_current():
                    distributed.wait(tasks, timeout=_LOOK)
                lost = self._lost(tasks, at)
                if not lost and all(task.status == "finished" for task in tasks):
                    return [_answer(task) for task in tasks], sum(died)
                for number in lost:
                    died[number] += 1
                    if died[number] > deaths:
                        raise HarnessError(_DIED.format(died[number]))
                    at[number] = self._living(number)
                    tasks[number] = self._submit(function, jobs[number], at[number])
        finally:
            self._client.cancel(tasks, force=True)

    def _submit(self, function: Callable[..., Any], job: tuple[Any, ...], address: str) -> Any:
        # pure=False, or Dask would take an equal job for done.
        return self._client.submit(function, *job, workers=[address], allow_other_workers=False, pure=False)

    def _lost(self, tasks: Sequence[Any], addresses: Sequence[str]) -> list[int]:
        """Return the numbers of the jobs whose worker died before it had answered; raises what a job has raised."""
        distributed = _distributed()
        alive = set(self._client.scheduler_info(n_workers=-1)["workers"])
        lost = []
        for number, (task, address) in enumerate(zip(tasks, addresses, strict=True)):
            if task.status == "error":
                if not isinstance(task.exception(), distributed.scheduler.KilledWorker):
                    _answer(task)
                lost.append(number)
            elif task.status in ("lost", "cancelled") or (task.status == "pending" and address not in alive):
                lost.append(number)
        return lost

    def _living(self, number: int) -> str:
        """Return a worker that is alive, waiting for one to be started anew."""
        try:
            self._client.wait_for_workers(1, timeout=_START)
        except TimeoutError as error:
            raise HarnessError(f"all Dask workers are gone, and none came back within {_START:g} s") from error
        alive = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        return alive[number % len(alive)] if alive else self._living(number)

    def _require_seen(self, backend: str, profile: Profile, archive: Path, addresses: list[str]) -> None:
        """Let each worker read the archive's seal once, which must be the one that is read here."""
        seal = read_seal(rehearsed(backend, profile).seal_file(archive))
        for address in addresses:
            if self._seen.get((address, archive), ("", ""))[0] == seal:
                continue
            try:
                ((there, where),), _ = self._do(probe, [(backend, profile, archive)], [address], 0)
            except OSError:
                there, where = "", ""
            if there != seal:
                raise HarnessError(
                    f"the Dask worker {address} does not see the archive that was written here: give --out a folder "
                    "that all workers share"
                )
            self._seen[address, archive] = (seal, where)

    def _workers(self, count: int) -> list[str]:
        """Connect where that was not done, and return the addresses of at least so many workers."""
        if self._scheduler is not None:
            self._client = self._client or _client(self._scheduler)
            return _enough(self._client, self._scheduler, count)
        if self._client is None:
            self._start(count)
        elif len(self._cluster.workers) < count:
            self._cluster.scale(count)
        try:
            self._client.wait_for_workers(count, timeout=_START)
        except TimeoutError as error:
            raise HarnessError(f"{count} Dask workers did not start within {_START:g} s") from error
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"])

    def _start(self, count: int) -> None:
        distributed = _distributed()
        self._cluster = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs="CRITICAL"
        )
        self._client = distributed.Client(self._cluster, set_as_default=False)

    def close(self) -> None:
        """Disconnect, and end a cluster of its own."""
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._client = self._cluster = None


def _rejection(deaths: int, again: int, workers: int) -> str:
    if not deaths and not again:
        return ""
    times = "once" if deaths == 1 else f"{deaths} times"
    return (
        f"a Dask worker died {times if deaths else 'and came back'}, and {again} of {workers} shares were read by "
        "another: every value came back right, but not from so many workers at once"
    )
