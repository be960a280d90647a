"""Readers in the process that measures: its own thread, and several, each with a reader of its own or all with one."""

from __future__ import annotations

from harness.sampling.executor import Executor, Readers, Settings, Share
from harness.sampling.sample import Reading, take
from harness.sampling.together import take_threads


class MainThread(Executor, Readers):
    """The thread that measures, alone."""

    name, order, parallel, unasked = "main", 0, False, False
    worker = ("thread", "threads")

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        backend, counter = share.opener()
        about = (backend, share.archive, share.reads, share.expected)
        return take(*about, load_once=share.load_once, counter=counter)


class Threads(Executor, Readers):
    """Threads, each with a reader of its own."""

    name, order = "threads", 1
    worker, readers = ("thread", "threads"), "each its own reader"

    def start(self, settings: Settings) -> Readers:
        return self

    def read(self, share: Share, workers: int) -> Reading:
        backend, counter = share.opener()
        about = (backend, share.archive, share.reads, share.expected)
        return take_threads(*about, workers, shared=self.shared, counter=counter)


class SharedThreads(Threads):
    """Threads that use one reader."""

    name, order = "threads-shared", 2
    least, readers, shared, alone = 2, "one shared reader", True, "threads"
