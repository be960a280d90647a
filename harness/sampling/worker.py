"""The process that measures: it takes one task after the other, and is killed and replaced when one hangs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, Protocol

from harness import registry
from harness.capacity import capacity, processors
from harness.errors import Cause, HarnessError, MachineError, cause_of, ended
from harness.formats.settings import UnsupportedReader
from harness.sampling.budget import budgeted, own_processors
from harness.sampling.executor import Readers, Settings, load_executor
from harness.sampling.interrupt import end_with, heard, kept_from_children
from harness.sampling.process_groups import MARK, ProcessGroup, lead, new_mark

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit open handles and library threads

_START = 120.0  # seconds for a worker to start
GRACE = 5.0  # seconds for an idle worker to end by itself, and for a thread to stop
_TERM = 1.0  # seconds for one that was asked to end to do so


class Task(Protocol):
    """Something a worker can do; pickled to it, so it names backends and traces instead of holding them.

    Where it has an attribute ``pausable`` that is false, its process is not stopped afterwards.
    """

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
    unsupported : bool
        Whether a reader cannot read the archive: there is nothing to measure, and nothing has failed.
    """

    def __init__(self, text: str, cause: Cause = "", unsupported: bool = False) -> None:
        super().__init__(text)
        self.cause, self.unsupported = cause, unsupported


def started(serve: Callable[[Connection], None], name: str, **settings: Any) -> tuple[SpawnProcess, Connection]:
    """Start a process that serves the other end of a connection, may import the same, and ends with this one.

    It runs nothing of the script that called, which may be a person's own and do all of its work again.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_run, args=(serve, theirs, os.getpid(), registry.allowed()), name=name, **settings)
    with _without_script():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the module that was started as a script: a spawned process would import it first."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _run(
    serve: Callable[[Connection], None], connection: Connection, parent: int, allowed: tuple[registry.Name, ...]
) -> None:
    end_with(parent)
    capacity(), own_processors()  # as the process was started; what runs in it later may give itself more
    registry.allow(*allowed)
    with suppress(EOFError, ConnectionError):  # the other side has gone away
        serve(connection)


class Worker:
    """A worker process that is started when first needed.

    Parameters
    ----------
    timeout : float
        Seconds after which a task counts as hung.
    threads : int or None
        The processors that it and what it starts may use, and what libraries are told of it; None for all there are.

    Raises
    ------
    UsageError
        When there are not so many.
    """

    def __init__(self, timeout: float, *, threads: int | None = None) -> None:
        if threads is not None:
            processors(threads)
        self._timeout, self._threads, self._mark = timeout, threads, ""
        self._resting: list[int] | None = None  # the processes that are stopped
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    def do(self, task: Task) -> Any:
        """Run a task and return its result.

        Afterwards every thread of the process and of all that it started is stopped, unless the task may not be: an
        idle pool of threads that spins would slow down what others measure, unseen by an A/A control.

        Raises
        ------
        WorkerError
            When it failed, hung, or took the process down.
        """
        self._resume()
        try:
            return self._do(task)
        finally:
            if getattr(task, "pausable", True):
                self._pause()

    def _do(self, task: Task) -> Any:
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
        wait([self._process.sentinel], GRACE)
        self._group.signal(signal.SIGKILL)  # before its end is noted, or its number may be that of another process
        self._process.join(GRACE)
        return self._process.exitcode

    def _start(self) -> Connection:
        if self._process is not None and self._connection is not None and self._process.is_alive():
            return self._connection
        self.stop()
        try:
            self._mark = new_mark()
            with kept_from_children(), budgeted(self._threads, {MARK: self._mark}):
                self._process, self._connection = started(_serve, "harness-worker")
            # Starting is not part of a task, so a slow import does not count as a hang.
            if not self._connection.poll(_START):
                raise MachineError(f"it took longer than {_START:g} s")
            self._connection.recv()
        except (MachineError, OSError, EOFError) as error:
            # No format has a part in it: what a task names is loaded later.
            gone = isinstance(error, EOFError | ConnectionError)
            why = ended("it", self._exit_code()) if gone else error
            self.stop()
            raise WorkerError(f"the measuring process could not start ({why})", "machine") from error
        return self._connection

    @property
    def running(self) -> bool:
        """Whether its process was started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def held_bytes(self) -> int:
        """Memory that it and what it started hold for themselves."""
        return self._group.held_bytes() if self.running else 0

    @property
    def _group(self) -> ProcessGroup:
        assert self._process is not None and self._process.pid is not None
        return ProcessGroup(self._process.pid, self._mark)

    def _pause(self) -> None:
        """Stop every thread of the process and of all that it started; one that does not stop is killed."""
        if self.running:
            self._resting = self._group.stop(GRACE)
            if self._resting is None:
                self.stop()

    def _resume(self) -> None:
        if self._resting is not None and self.running:
            self._group.signal(signal.SIGCONT, self._resting)
        self._resting = None

    def close(self) -> None:
        """Let the process end by itself, which it does when its connection closes; end it when it does not."""
        self._resume()
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            wait([self._process.sentinel], GRACE)
            self._group.signal(signal.SIGTERM)  # also what it started and did not end
            wait([self._process.sentinel], _TERM)
        self.stop()

    def stop(self) -> None:
        """Kill the process and all that it started."""
        if self._process is not None:
            if self._process.exitcode is None:  # or its number may be that of another process
                self._group.signal(signal.SIGKILL)
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection) -> None:
    """Answer tasks until the other side goes away."""
    lead()  # so that it can be stopped and killed together with all that it starts
    connection.send("ready")
    with Children() as children:
        while True:
            connection.send(_answer(connection.recv(), children))


def _answer(task: Task, children: Children) -> tuple[str, Any]:
    try:
        return "ok", task.run(children)
    except Exception as error:  # noqa: BLE001 - a task's failure must not end the run
        if os.environ.get("HARNESS_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
        return "error", told(error)


def told(error: Exception) -> tuple[str, Cause, bool]:
    """Put an error, which may be a library's and a page, on one line of a record, as `WorkerError` takes it."""
    if isinstance(error, HarnessError):
        unsupported = isinstance(error, UnsupportedReader) or getattr(error, "unsupported", False)
        return str(error).rstrip("."), cause_of(error), unsupported
    if isinstance(error, MemoryError):
        return "ran out of memory", cause_of(error), False
    return f"{type(error).__name__}: {' '.join(str(error).split())}", cause_of(error), False


class Children:
    """What the tasks of one process share: the readers of each executor, started when they are first needed."""

    def __init__(self) -> None:
        self._readers: dict[str, Readers] = {}

    def readers(self, executor: str, settings: Settings) -> Readers:
        """Return the readers of an executor; its settings are the same for a whole run."""
        if executor not in self._readers:
            self._readers[executor] = load_executor(executor).start(settings)
        return self._readers[executor]

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for readers in self._readers.values():
            readers.close()
