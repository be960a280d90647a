"""A side of a comparison: a Python environment with some version of this project, and the processes that run in it."""

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

_GRACE = 5.0  # seconds for an idle process to end by itself, or an installer to tidy up
_SHOWN = 300  # characters of what a process printed before it died


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    name: str  # ``base`` or ``head``.
    label: str  # What it is, for people: a commit, or an environment.
    python: Path  # The interpreter of its environment, or to build that with.
    # Identifies the sources to build from: a commit, or a digest of files; empty where `python` is used as it is.
    source: str = ""
    pins: tuple[str, ...] = ()  # Requirements besides the project.
    repository: Path | None = None  # Where the commit is; None for the sources of this version.
    # What its probe says of it: Python, packages, formats, suites.
    facts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        """Begin a sentence about it."""
        return f"The {self.name}, {self.label},"


class NotComparable(UsageError):
    """The two have nothing that could be compared, or differ in what has to be equal."""


class SideError(HarnessError):
    """A side failed at a task; `what` says how, as the sentence goes on."""

    def __init__(self, side: Side, what: str) -> None:
        super().__init__(f"{side.name} ({side.label}){what}")
        self.side = side
        self.reason = what.lstrip(": ").rstrip(".")


class Process:
    """The probe, running in a side's environment.

    Parameters
    ----------
    side : Side
        Whose interpreter runs it.
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
        """Put a fresh process in place of one that died, hung or failed at a task; errors as `ask`."""
        self._end()
        self._said.seek(0)
        self._said.truncate()
        self._process = self._started()
        self.ask("hello")

    def send(self, do: str, **task: Any) -> None:
        """Ask for a task without waiting for it; raises SideError when the process is gone."""
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
            When the task failed, hung, or took the process down.
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
        """Run a task and return its answer; errors as `send` and `receive`."""
        self.send(do, **task)
        return self.receive()

    def _death(self) -> str:
        self._end()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        code, said = self._process.returncode, lines[-1][-_SHOWN:]
        return f": its process ended with exit code {code} and said: {said}."

    def _end(self) -> None:
        """Let the process end; kill it when it does not."""
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
    """Run a command that reads nothing, and end it with all that it started when Ctrl-C comes.

    Returns
    -------
    int
        Its exit code.
    str, str
        What it said on standard output and on standard error.

    Raises
    ------
    OSError
        When it cannot be started.
    KeyboardInterrupt
        When Ctrl-C came; nothing of it runs any more.
    """
    with deferred():
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # an installer starts others, which go with its group
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
