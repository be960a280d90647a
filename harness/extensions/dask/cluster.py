"""Connection to a Dask cluster, the user's own scheduler or a local one, and the workers that are alive."""

from __future__ import annotations

import logging
import time
from typing import Any

from harness.errors import MachineError, UsageError

EXTRA = "pip install 'trace-format-harness[dask]'"

_START = 60.0  # seconds for workers to start
_CONNECT = 5.0  # seconds to reach a scheduler, and to find a lost one again
_PAUSE = 0.05  # seconds between two checks for workers that start


def distributed_package() -> Any:
    """Import Dask's ``distributed`` and silence its log: the callers report what goes wrong.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"The executor 'dask' needs the package 'distributed': {EXTRA}.") from error
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)
    return distributed


def require_workers(scheduler: str | None, most: int) -> None:
    """Raise UsageError if a run's scheduler cannot be reached or has too few workers, before anything is written.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://host:8786``; None for a cluster of the harness's own.
    most : int
        Largest number of workers that the run needs.

    Raises
    ------
    UsageError
        Within seconds, with one sentence.
    """
    distributed_package()
    if scheduler is not None:
        cluster = Cluster(scheduler)
        try:
            cluster.workers(most)
        finally:
            cluster.close()


def _client(address: str) -> Any:
    distributed = distributed_package()
    try:
        return distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # a time-out is an OSError, a wrong address a ValueError
        raise UsageError(
            f"There is no Dask scheduler at {address}: start one with 'dask scheduler', or leave out --scheduler for a "
            "local cluster."
        ) from error


class Cluster:
    """Client of one scheduler: the user's own, by its address, or that of a local cluster, one process per worker."""

    def __init__(self, scheduler: str | None) -> None:
        self._scheduler = scheduler
        self._local: Any = None
        self._client: Any = None
        self._most = 0  # largest number of workers seen alive at once
        self._restarted = False  # whether something restarts workers that die
        self._in_vain = False  # whether a wait for restarted workers was in vain

    def lost(self) -> bool:
        """Return whether the scheduler is gone; the client tries to find it again by itself for some seconds."""
        return self._client is not None and self._client.status != "running"

    @property
    def client(self) -> Any:
        """The connected client of ``distributed``.

        Raises
        ------
        MachineError
            If the scheduler is gone.
        """
        if self.lost():
            raise MachineError(f"the connection to the Dask scheduler at {self._scheduler} was lost")
        return self._client

    def alive(self) -> list[str]:
        """Return the addresses of all workers that are alive.

        Raises
        ------
        MachineError
            If the scheduler is gone.
        """
        found = self.client.scheduler_info(n_workers=-1).get("workers", {})
        self._restarted |= any(worker.get("nanny") for worker in found.values())
        self._most = max(self._most, len(found))
        if self.lost():  # lost meanwhile, so that nothing was found
            return self.alive()
        return sorted(found)

    def workers(self, count: int) -> list[str]:
        """Connect if that is not done, and return the addresses of at least `count` workers.

        Raises
        ------
        UsageError
            If the user's scheduler cannot be reached or has fewer workers, and nothing restarts them.
        MachineError
            If the scheduler is gone, or the workers of a local cluster do not start.
        """
        if self._scheduler is None:
            return self._own(count)
        self._client = self._client or _client(self._scheduler)
        found = self.alive()
        if len(found) < count <= self._most and self._restarted and not self._in_vain:
            found = self.wait(count)
            self._in_vain = len(found) < count
        if len(found) < count:
            raise UsageError(
                f"The Dask scheduler at {self._scheduler} has {len(found)} of the {count} workers that the run asks "
                "for: start more, or ask for fewer with --workers."
            )
        return found

    def wait(self, count: int) -> list[str]:
        """Wait up to `_START` seconds for `count` workers, and return the addresses of those that are alive."""
        deadline = time.monotonic() + _START
        while len(found := self.alive()) < count and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return found

    def _own(self, count: int) -> list[str]:
        """Return the workers of a local cluster; start the cluster if that is not done."""
        if self._local is None:
            distributed = distributed_package()
            self._local = distributed.LocalCluster(
                n_workers=count, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs="CRITICAL"
            )
            self._client = distributed.Client(self._local, set_as_default=False)
        elif len(self._local.workers) < count:
            self._local.scale(count)
        found = self.wait(count)
        if len(found) < count:
            raise MachineError(f"{count} Dask workers did not start within {_START:g} s")
        return found

    def close(self) -> None:
        """Disconnect, and end a local cluster."""
        if self._client is not None:
            self._client.close()
        if self._local is not None:
            self._local.close()
        self._client = self._local = None
