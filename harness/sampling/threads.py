"""Readers in the process that measures: its own thread, and several, each with a reader of its own or all with one."""

from __future__ import annotations

from harness.sampling.executor import Executor, Readers, Settings, Share
from harness.sampling.parallel_sample import take_threads
from harness.sampling.sample import Reading, take


class MainThread(Executor, Readers):
    """The thread that measures, alone."""

    name, order, parallel, unasked = "main", 0, False, False
    worker = ("thread", "threads")

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        return share.read_by(take, load_once=share.access.load_once)


class Threads(Executor, Readers):
    """Threads, each with a reader of its own."""

    name, order = "threads", 1
    worker, readers = ("thread", "threads"), "each its own reader"

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        return share.read_by(take_threads, workers=workers, shared=self.shared)


class SharedThreads(Threads):
    """Threads that use one reader."""

    name, order = "threads-shared", 2
    least, readers, shared, alone = 2, "one shared reader", True, "threads"
