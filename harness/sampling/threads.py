"""Executors in the measuring process: its main thread, and several threads with separate readers or a shared one."""

from __future__ import annotations

from harness.sampling.executor import Executor, Readers, Settings, Share
from harness.sampling.parallel_sample import take_threads
from harness.sampling.sample import Reading, take


class MainThread(Executor, Readers):
    """Executor that reads in the main thread."""

    name, order, parallel, unasked = "main", 0, False, False
    worker = ("thread", "threads")

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        return share.read_by(take, load_once=share.access.load_once)


class Threads(Executor, Readers):
    """Executor whose workers are threads, each with its own reader."""

    name, order = "threads", 1
    worker, readers = ("thread", "threads"), "each its own reader"

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        return share.read_by(take_threads, workers=workers, shared=self.shared)


class SharedThreads(Threads):
    """Executor whose workers are threads that share one reader."""

    name, order = "threads-shared", 2
    least, readers, shared, alone = 2, "one shared reader", True, "threads"
