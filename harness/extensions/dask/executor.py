"""The executor ``dask``: workers of a Dask cluster, the user's own or a local one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from harness.sampling.executor import Executor, Readers, Settings


class DaskWorkers(Executor):
    """Workers of one scheduler, one process each."""

    name, order, unasked = "dask", 4, False
    options: ClassVar[Mapping[str, tuple[str, str]]] = {
        "scheduler": ("ADDRESS", "Dask scheduler for the executor dask (default: a local cluster)")
    }
    stores = False  # each worker checks whether it sees the archive on a disk
    counted = False  # a worker may be on another machine
    aside = 128 << 10  # modules at first, /proc twice a second
    pausable = False  # its scheduler takes a silent worker for dead
    rejects = True
    worker = ("Dask worker", "Dask workers")

    def require(self, settings: Settings, most: int) -> None:
        from harness.extensions.dask.cluster import require_workers

        require_workers(settings.get("scheduler"), most)

    def here(self, settings: Settings) -> bool:
        return "scheduler" not in settings

    def start(self, settings: Settings) -> Readers:
        from harness.extensions.dask.pool import DaskPool

        return DaskPool(settings.get("scheduler"))
