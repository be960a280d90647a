"""Measuring process: runs one task after the other, and is killed and replaced if a task hangs."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from harness.capacity import processors
from harness.errors import Cause, HarnessError, MachineError, cause_of, ended
from harness.formats.settings import UnsupportedReader
from harness.sampling.budget import budgeted
from harness.sampling.executor import Readers, Settings, load_executor
from harness.sampling.interrupt import heard, kept_from_children
from harness.sampling.process_groups import MARK, ProcessGroup, kill_marked, lead, new_mark
from harness.sampling.spawning import started

_START = 120.0  # seconds for a worker to start
GRACE = 5.0  # seconds for an idle worker to end by itself, and for a thread to stop
_TERM = 1.0  # seconds for a worker to end after SIGTERM


class Task(Protocol):
    """A task for a worker; pickled to it, so it has names of backends and traces instead of objects.

    If it has an attribute ``pausable`` that is false, its process is not stopped afterwards.
    """

    def run(self, children: Children) -> Any:
        """Run in the worker process; the result is pickled back."""


class WorkerError(HarnessError):
    """A task failed in the worker process.

    Parameters
    ----------
    text : str
        What happened.
    cause : {"", "machine"}
        ``machine`` if the failure is due to the machine.
    unsupported : bool
        Whether a reader does not support the archive; this is no failure.
    """

    def __init__(self, text: str, cause: Cause = "", unsupported: bool = False) -> None:
        super().__init__(text)
        self.cause, self.unsupported = cause, unsupported


class Worker:
    """A worker process that is started when first needed.

    Parameters
    ----------
    timeout : float
        Seconds after which a task counts as hung.
    threads : int or None
        Number of processors that the process and its descendants may use, and of threads in the environment variables
        for libraries; None for all processors.

    Raises
    ------
    UsageError
        When `threads` exceeds the number of processors.
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

        Afterwards, unless the task is not pausable, every thread of the process and its descendants is stopped.
        Otherwise an idle thread pool that spins would slow down other measurements, unnoticed by an A/A control.

        Raises
        ------
        WorkerError
            When the task failed or hung, or the process ended.
        """
        self._resume()
        try:
            return self._do(task)
        finally:
            if getattr(task, "pausable", True):
                self._pause()

    def begin(self, task: Task) -> None:
        """Restart the process and send it a first task, without waiting; `finish` waits for both.

        Raises
        ------
        WorkerError
            When the process cannot start.
        """
        self.stop()
        try:
            self._spawn().send(task)
        except OSError as error:
            raise self._unstarted(error) from error
        except BaseException:
            self.stop()
            raise

    def finish(self) -> Any:
        """Wait for the task of `begin`, and return its result as `do` does; None if the process has ended since."""
        try:
            return None if self._connection is None else self._answered(self._ready())
        finally:
            self._pause()

    def _do(self, task: Task) -> Any:
        connection = self._connection
        if connection is None or not self.running:
            self.stop()
            self._spawn()
            connection = self._ready()
        try:
            connection.send(task)
        except (EOFError, ConnectionError) as error:
            raise self._lost(error) from error
        except BaseException:
            self.stop()
            raise
        return self._answered(connection)

    def _answered(self, connection: Connection) -> Any:
        try:
            with heard():
                answered = connection.poll(self._timeout)
            if not answered:
                raise WorkerError(f"hung: no answer within {self._timeout:.0f} s, so its process was stopped")
            kind, value = connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._lost(error) from error
        except BaseException:
            self.stop()
            raise
        if kind == "error":
            raise WorkerError(*value)
        return value

    def _lost(self, error: Exception) -> WorkerError:
        """Return an error that states how the process with the lost connection ended."""
        found = ended("its process", self._exit_code())
        self.stop()
        return WorkerError(str(found), found.cause)

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        wait([self._process.sentinel], GRACE)
        self._group.signal(signal.SIGKILL)  # before joining: afterwards another process may get its process ID
        self._process.join(GRACE)
        return self._process.exitcode

    def _spawn(self) -> Connection:
        self._mark = new_mark()
        try:
            with kept_from_children(), budgeted(self._threads, {MARK: self._mark}):
                self._process, self._connection = started(_serve, "harness-worker")
        except (MachineError, OSError) as error:
            raise self._unstarted(error) from error
        return self._connection

    def _ready(self) -> Connection:
        """Wait until the process has started; this is not part of a task, so a slow import does not count as a hang."""
        assert self._connection is not None
        try:
            if not self._connection.poll(_START):
                raise MachineError(f"it took longer than {_START:g} s")
            self._connection.recv()
        except (MachineError, OSError, EOFError) as error:
            raise self._unstarted(error) from error
        return self._connection

    def _unstarted(self, error: Exception) -> WorkerError:
        """Return an error that states why the process could not start; the cause is the machine, not a format."""
        gone = isinstance(error, EOFError | ConnectionError)
        why = ended("it", self._exit_code()) if gone else error
        self.stop()
        return WorkerError(f"the measuring process could not start ({why})", "machine")

    @property
    def running(self) -> bool:
        """Whether its process was started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def held_bytes(self) -> int:
        """Bytes of memory of the process and its descendants, without pages of files."""
        return self._group.held_bytes() if self.running else 0

    @property
    def _group(self) -> ProcessGroup:
        assert self._process is not None and self._process.pid is not None
        return ProcessGroup(self._process.pid, self._mark)

    def _pause(self) -> None:
        """Stop every thread of the process and its descendants; if one does not stop, kill them all."""
        if self.running:
            self._resting = self._group.stop(GRACE)
            if self._resting is None:
                self.stop()

    def _resume(self) -> None:
        if self._resting is not None and self.running:
            self._group.signal(signal.SIGCONT, self._resting)
        self._resting = None

    def release(self) -> None:
        """Resume the process and close its connection, so that it ends by itself; `close` waits for that."""
        self._resume()
        if self._connection is not None:
            self._connection.close()

    def close(self) -> None:
        """Let the process end by itself, and kill it if it does not."""
        self.release()
        if self._process is not None:
            wait([self._process.sentinel], GRACE)
            self._group.signal(signal.SIGTERM)  # includes descendants that are still running
            wait([self._process.sentinel], _TERM)
        self.stop()

    def stop(self) -> None:
        """Kill the process and all its descendants."""
        if self._process is not None:
            if self._process.exitcode is None:  # otherwise another process may have its process ID
                self._group.signal(signal.SIGKILL)
            self._process.join()
            kill_marked(self._mark)  # descendants that ignored SIGTERM, or were stopped when their leader ended
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection) -> None:
    """Answer tasks until the other side closes the connection."""
    lead()  # so that this process can be stopped and killed together with its descendants
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
    """Return the arguments of `WorkerError` for an error, with its text, which may be a library's, on one line."""
    if isinstance(error, HarnessError):
        unsupported = isinstance(error, UnsupportedReader) or getattr(error, "unsupported", False)
        return str(error).rstrip("."), cause_of(error), unsupported
    if isinstance(error, MemoryError):
        return "ran out of memory", cause_of(error), False
    return f"{type(error).__name__}: {' '.join(str(error).split())}", cause_of(error), False


class Children:
    """Resources that the tasks of one process share: the workers of each executor, started when first needed."""

    def __init__(self) -> None:
        self._readers: dict[str, Readers] = {}

    def readers(self, executor: str, settings: Settings) -> Readers:
        """Return the workers of an executor; its settings are the same for the complete run."""
        if executor not in self._readers:
            self._readers[executor] = load_executor(executor).start(settings)
        return self._readers[executor]

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for readers in self._readers.values():
            readers.close()
