"""The process that measures: it takes one task after the other, and is killed and replaced when one hangs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Protocol

from harness import registry
from harness.errors import Cause, HarnessError, MachineError, cause_of, ended
from harness.extensions.dask.pool import DaskPool
from harness.extensions.object_store.stored import Stored
from harness.formats.base import Profile
from harness.sampling.accounting import LocalCounter, StoreCounter
from harness.sampling.interrupt import end_with, heard, kept_from_children
from harness.sampling.rehearsal import rehearsed
from harness.sampling.sample import Counter, Opener
from harness.sampling.together import Part, take_share
from harness.sampling.verify import Expected
from harness.workload import Read

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit open handles and library threads

_START = 120.0  # seconds for a worker to start
_GRACE = 5.0  # seconds for an idle worker to end by itself


class Task(Protocol):
    """Something a worker can do; pickled to it, so it names backends and traces instead of holding them."""

    def run(self, children: Children) -> Any:
        """Do it in the worker process and return what is pickled back."""


class WorkerError(HarnessError):
    """A task failed in the worker process.

    Parameters
    ----------
    text : str
        What happened.
    cause : {"", "machine"}
        What it is put down to.
    """

    def __init__(self, text: str, cause: Cause = "") -> None:
        super().__init__(text)
        self.cause = cause


class Worker:
    """A worker process that is started when first needed.

    Parameters
    ----------
    timeout : float
        Seconds after which a task counts as hung.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def do(self, task: Task) -> Any:
        """Run a task and return its result.

        Raises
        ------
        WorkerError
            When it failed, hung, or took the process down.
        """
        connection = self._start()
        try:
            connection.send(task)
            with heard():
                answered = connection.poll(self._timeout)
            if not answered:
                self.stop()
                raise WorkerError(f"hung: no answer within {self._timeout:.0f} s, so its process was stopped")
            kind, value = connection.recv()
        except (EOFError, ConnectionError) as error:
            found = ended("its process", self._exit_code())
            self.stop()
            raise WorkerError(str(found), found.cause) from error
        except BaseException:
            self.stop()
            raise
        if kind == "error":
            raise WorkerError(*value)
        return value

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(_GRACE)
        return self._process.exitcode

    def _why(self, error: Exception) -> str:
        if isinstance(error, EOFError | ConnectionError):
            return str(ended("it", self._exit_code()))
        return str(error)

    def _start(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            self.stop()
            self._connection, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(
                target=_serve, args=(theirs, os.getpid(), registry.allowed()), name="harness-worker"
            )
            try:
                with kept_from_children():
                    process.start()
                self._process = process
                theirs.close()
                # Starting is not part of a task, so a slow import does not count as a hang.
                if not self._connection.poll(_START):
                    raise MachineError(f"it took longer than {_START:g} s")
                self._connection.recv()
            except (MachineError, OSError, EOFError) as error:
                # No format has a part in it: what a task names is loaded later.
                said = f"the measuring process could not start ({self._why(error)})"
                self.stop()
                raise WorkerError(said, "machine") from error
        return self._connection

    def close(self) -> None:
        """Let the process end by itself, which it does when its connection closes; kill it when it does not."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.join(_GRACE)
        self.stop()

    def stop(self) -> None:
        """Kill the process and all that it started."""
        if self._process is not None and self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                # The worker leads a process group of its own; before it got there, only it can be killed.
                group = os.getpgid(self._process.pid)
                os.killpg(group, signal.SIGKILL) if group != os.getpgrp() else self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection, parent: int, allowed: tuple[registry.Name, ...]) -> None:
    """Answer tasks until the other side goes away."""
    end_with(parent)
    registry.allow(*allowed)
    os.setpgrp()  # so that it can be killed together with all that it starts
    connection.send("ready")
    with Children() as children:
        while True:
            try:
                task: Task = connection.recv()
            except (EOFError, OSError):
                return
            connection.send(_answer(task, children))


def _answer(task: Task, children: Children) -> tuple[str, Any]:
    try:
        return "ok", task.run(children)
    except Exception as error:  # noqa: BLE001 - a task's failure must not end the run
        if os.environ.get("HARNESS_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
        return "error", _told(error)


def _told(error: Exception) -> tuple[str, Cause]:
    """Put an error, which may be a library's and a page, on one line of a record, with what it is put down to."""
    if isinstance(error, HarnessError):
        return str(error).rstrip("."), cause_of(error)
    if isinstance(error, MemoryError):
        return "ran out of memory", cause_of(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}", cause_of(error)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one reading process is to do."""

    backend: str
    profile: Profile
    archive: Path
    reads: tuple[Read, ...]
    expected: dict[str, Expected]
    stored: Stored | None = None


def opener(backend: str, profile: Profile, stored: Stored | None) -> tuple[Opener, Counter]:
    """Return what opens an archive, from its folder or in a store, and what counts its reads."""
    found = rehearsed(backend, profile)
    if stored is None:
        return found, LocalCounter
    from harness.extensions.object_store.opening import StoredFormat

    return StoredFormat(found, stored), StoreCounter


class Children:
    """Reading processes for accesses over several processes: started once, so that imports are not timed."""

    def __init__(self) -> None:
        self._running: list[tuple[SpawnProcess, Connection]] = []
        self._dask: DaskPool | None = None

    def dask(self, scheduler: str | None) -> DaskPool:
        """Return the Dask workers, connected to once; `scheduler` as for `DaskPool`, and the same for a whole run."""
        self._dask = self._dask or DaskPool(scheduler)
        return self._dask

    def read(self, work: list[Share]) -> list[Part]:
        """Let one process do each share, all starting together, and return what `take_share` returned in each.

        Raises
        ------
        HarnessError
            When one of them failed.
        """
        while len(self._running) < len(work):
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(
                target=_serve_share,
                args=(theirs, os.getpid(), registry.allowed()),
                name="harness-reader",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._running.append((process, ours))
        try:
            return self._read([connection for _, connection in self._running[: len(work)]], work)
        except (EOFError, ConnectionError) as error:
            raise self._lost() from error

    def _read(self, connections: list[Connection], work: list[Share]) -> list[Part]:
        for connection, share in zip(connections, work, strict=True):
            connection.send(share)
        ready = [connection.recv() for connection in connections]
        waiting = [connection for connection, answer in zip(connections, ready, strict=True) if answer == "ready"]
        for connection in waiting:
            connection.send("go" if len(waiting) == len(work) else "stop")
        # One that failed to open has said so already; what the others answer after "stop" only echoes it.
        answers = [answer for answer in ready if answer != "ready"] + [connection.recv() for connection in waiting]
        for answer in answers:
            if not isinstance(answer, Part):
                raise WorkerError(*answer)
        return answers

    def _lost(self) -> HarnessError:
        """End all processes, because the others wait for one that is gone; the next read starts them anew."""
        wait([process.sentinel for process, _ in self._running], _GRACE)
        codes = [process.exitcode for process, _ in self._running if process.exitcode is not None]
        for process, connection in self._running:
            process.kill()
            process.join()
            connection.close()
        self._running.clear()
        return ended("a reading process", codes[0] if codes else None)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        if self._dask is not None:
            self._dask.close()
        for process, connection in self._running:
            connection.close()
            process.join()


def _serve_share(connection: Connection, parent: int, allowed: tuple[registry.Name, ...]) -> None:
    end_with(parent)
    registry.allow(*allowed)

    def wait() -> None:
        connection.send("ready")
        if connection.recv() != "go":
            raise HarnessError("another process failed to open the archive")

    while True:
        try:
            share: Share = connection.recv()
        except (EOFError, OSError):
            return
        try:
            backend, counter = opener(share.backend, share.profile, share.stored)
            connection.send(take_share(backend, share.archive, share.reads, share.expected, wait, counter))
        except Exception as error:  # noqa: BLE001 - reported to the process that asked
            connection.send(_told(error))
