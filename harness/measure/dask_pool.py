"""Workers of a Dask cluster as readers: each task opens, waits for the common start, reads, times and checks itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
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
_DEATHS = 2  # workers that may die over one share before its sample fails


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
    """Read one share inside a Dask worker; returns the worker's address and what it did."""
    backend = rehearsed(share.backend, share.profile)

    def wait() -> None:
        time.sleep(max(0.0, share.start - time.time()))

    return _address(), take_share(backend, share.archive, share.reads, share.expected, wait)


def probe(backend: str, profile: Profile, archive: Path) -> str:
    """Return the seal of an archive as a Dask worker sees it, and bring it into the page cache there.

    Everything else that only the first use of a format in a process does is done here too.
    """
    seal = read_seal(rehearsed(backend, profile).seal_file(archive))
    cache.warm(archive)
    return seal


def _address() -> str:
    return str(_distributed().get_worker().address)


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
        self._seen: dict[tuple[str, Path], str] = {}

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
        tasks = []
        start = time.time() + _LEAD
        for address, share in zip(addresses, shares(reads, workers), strict=True):
            work = DaskShare(
                backend=backend, profile=profile, archive=archive, reads=tuple(share), expected=wanted, start=start
            )
            # Others may take it over when its worker dies; pure=False, or an equal share would not be read again.
            tasks.append(self._client.submit(read_share, work, workers=[address], allow_other_workers=True, pure=False))
        answers = self._gather(tasks)
        reading = combine([part for _, part in answers])
        moved = sum(address != where for address, (where, _) in zip(addresses, answers, strict=True))
        gone = len(set(addresses) - set(self._client.scheduler_info(n_workers=-1)["workers"]))
        seconds = max(reading.worker_seconds)
        return dataclasses.replace(reading, seconds=seconds, rejected=_rejection(moved, gone, workers))

    def _gather(self, tasks: list[Any]) -> list[Any]:
        distributed = _distributed()
        try:
            return list(self._client.gather(tasks))
        except HarnessError:
            raise
        except distributed.scheduler.KilledWorker as error:
            raise HarnessError(f"{_DEATHS + 1} Dask workers died one after the other over the same share") from error
        except ModuleNotFoundError as error:
            raise HarnessError(
                f"a Dask worker lacks the module {error.name!r}: install there what is installed here"
            ) from error
        finally:
            for task in tasks:
                task.release()

    def _require_seen(self, backend: str, profile: Profile, archive: Path, addresses: list[str]) -> None:
        """Let each worker read the archive's seal once, which must be the one that is read here."""
        seal = read_seal(rehearsed(backend, profile).seal_file(archive))
        for address in addresses:
            if self._seen.get((address, archive)) == seal:
                continue
            task = self._client.submit(probe, backend, profile, archive, workers=[address], pure=False)
            try:
                there = self._gather([task])[0]
            except (HarnessError, OSError):
                there = ""
            if there != seal:
                raise HarnessError(
                    f"the Dask worker {address} does not see the archive that was written here: give --out a folder "
                    "that all workers share"
                )
            self._seen[address, archive] = seal

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
        import dask

        distributed = _distributed()
        # Without stealing, a share stays with its worker while that lives.
        dask.config.set(
            {"distributed.scheduler.allowed-failures": _DEATHS, "distributed.scheduler.work-stealing": False}
        )
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


def _rejection(moved: int, gone: int, workers: int) -> str:
    if not moved and not gone:
        return ""
    why = f"{gone} of {workers} Dask workers died" if gone else "the scheduler moved tasks"
    return f"{why} and {moved} of {workers} shares were read again or elsewhere: every value is right, the time is not"
