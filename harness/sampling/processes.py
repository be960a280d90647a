"""Executor with reading processes: started once, so that imports are not timed, and synchronized before each sample."""

from __future__ import annotations

from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from harness.errors import HarnessError, ended
from harness.sampling.executor import Executor, Readers, Settings, Share
from harness.sampling.parallel_sample import WorkerPart, combine
from harness.sampling.sample import Reading
from harness.sampling.spawning import started
from harness.sampling.worker import GRACE, WorkerError, told


class Processes(Executor):
    """Executor whose workers are processes on this machine."""

    name, order = "processes", 3
    worker = ("process", "processes")
    independent = True

    def start(self, settings: Settings) -> Readers:
        return ReadingProcesses()


class ReadingProcesses(Readers):
    """Processes, each of which reads one share at a time."""

    def __init__(self) -> None:
        self._running: list[tuple[SpawnProcess, Connection]] = []

    def read(self, share: Share, workers: int) -> Reading:
        while len(self._running) < workers:
            self._running.append(started(_serve, "harness-reader", daemon=True))
        try:
            return combine(_read([connection for _, connection in self._running[:workers]], share.split(workers)))
        except (EOFError, ConnectionError) as error:
            raise self._lost() from error

    def _lost(self) -> HarnessError:
        """End all processes, because the others wait for a lost one; return the error. The next read restarts them."""
        gone = wait([process.sentinel for process, _ in self._running], GRACE)
        for process, _ in self._running:
            if process.sentinel in gone:
                process.join(GRACE)  # the pipe of a dying process closes before its exit code is available
        codes = [process.exitcode for process, _ in self._running if process.exitcode is not None]
        for process, _ in self._running:
            process.kill()
        self.close()
        self._running.clear()
        return ended("a reading process", codes[0] if codes else None)

    def close(self) -> None:
        for process, connection in self._running:
            connection.close()
            process.join()


def _read(connections: list[Connection], work: list[Share]) -> list[WorkerPart]:
    for connection, share in zip(connections, work, strict=True):
        connection.send(share)
    ready = [connection.recv() for connection in connections]
    waiting = [connection for connection, answer in zip(connections, ready, strict=True) if answer == "ready"]
    for connection in waiting:
        connection.send("go" if len(waiting) == len(work) else "stop")
    # A process that cannot use the format has already answered with its error; that of the others follows from "stop".
    answers = [answer for answer in ready if answer != "ready"] + [connection.recv() for connection in waiting]
    for answer in answers:
        if not isinstance(answer, WorkerPart):
            raise WorkerError(*answer)
    return answers


def _serve(connection: Connection) -> None:
    def begin() -> None:
        connection.send("ready")
        if connection.recv() != "go":
            raise HarnessError("another process could not start")

    while True:
        share: Share = connection.recv()
        try:
            connection.send(share.take(begin))
        except Exception as error:  # noqa: BLE001 - reported to the process that asked
            connection.send(told(error))
