"""Side of a comparison: a Python environment with some version of this project, and the processes that run in it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.extensions.compare import probe
from harness.sampling.interrupt import deferred, heard, kept_from_children

_GRACE = 5.0  # seconds for an idle process to end by itself, or an installer to clean up
_SHOWN = 300  # characters of what a process printed before it died


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sides of a comparison."""

    name: str  # ``base`` or ``head``.
    label: str  # Readable description: a commit, or an environment.
    python: Path  # The interpreter of its environment, or the one to build it with.
    # Identifies the sources to build from: a commit, or a digest of files; empty if `python` is used as it is.
    source: str = ""
    pins: tuple[str, ...] = ()  # Requirements in addition to the project.
    repository: Path | None = None  # Repository of the commit; None for the sources of this version.
    # Facts that its probe reports: Python, packages, formats, suites.
    facts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        """Return the beginning of a sentence about it."""
        return f"The {self.name}, {self.label},"


class NotComparable(UsageError):
    """The sides have nothing that could be compared, or differ in what must be equal."""


class SideError(HarnessError):
    """Failure of a side at a task; `what` continues the sentence."""

    def __init__(self, side: Side, what: str) -> None:
        super().__init__(f"{side.name} ({side.label}){what}")
        self.side = side
        self.reason = what.lstrip(": ").rstrip(".")


class Process:
    """The probe as a process in a side's environment.

    Parameters
    ----------
    side : Side
        Side whose interpreter runs it.
    folder : Path
        Its working directory.
    timeout : float
        Seconds after which a task counts as hung.
    """

    def __init__(self, side: Side, folder: Path, timeout: float) -> None:
        self.side, self._folder, self._timeout = side, folder, timeout
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with kept_from_children():
            return subprocess.Popen(
                # Isolated: neither the caller's variables nor the folder of the script decide what is imported.
                [str(self.side.python), "-I", str(Path(probe.__file__).resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=self._folder,
                start_new_session=True,
            )

    def restart(self) -> None:
        """Replace a process that died, hung or failed at a task with a fresh one; raise as `ask` does."""
        self._end()
        self._said.seek(0)
        self._said.truncate()
        self._process = self._started()
        self.ask("hello")

    def send(self, do: str, **task: Any) -> None:
        """Send a task without waiting for its answer; raise SideError if the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **task}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SideError(self.side, self._death()) from error

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to the last task.

        Raises
        ------
        SideError
            If the task failed, hung, or ended the process.
        """
        assert self._process.stdout is not None
        with heard():
            ready, _, _ = select.select([self._process.stdout], [], [], self._timeout)
            line = self._process.stdout.readline() if ready else b""
        if not ready:
            raise SideError(self.side, f" hung: no answer within {self._timeout:g} s.")
        if not line:
            raise SideError(self.side, self._death())
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise SideError(self.side, f": {answer['problem']}.")
        return answer

    def ask(self, do: str, **task: Any) -> dict[str, Any]:
        """Run a task and return its answer; raise as `send` and `receive` do."""
        self.send(do, **task)
        return self.receive()

    def _death(self) -> str:
        self._end()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        code, said = self._process.returncode, lines[-1][-_SHOWN:]
        return f": its process ended with exit code {code} and said: {said}."

    def _end(self) -> None:
        """Let the process end by itself; kill it if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # it is gone already
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._said.close()


def output(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a command without input; on Ctrl-C, end it with all that it started.

    Returns
    -------
    int
        Its exit code.
    str, str
        Its standard output and standard error.

    Raises
    ------
    OSError
        If it cannot be started.
    KeyboardInterrupt
        On Ctrl-C; none of its processes runs any more.
    """
    with deferred():
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # an installer starts others, which end with its group
        )
        try:
            with heard():
                out, err = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
    return process.returncode, out, err
