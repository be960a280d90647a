"""A side of a comparison: a Python environment with some version of this project, and the process that runs in it."""

from __future__ import annotations

import json
import select
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.compare import probe
from harness.errors import HarnessError, UsageError
from harness.sampling.interrupt import heard, kept_from_children

_GRACE = 5.0  # seconds for an idle process to end by itself
_SHOWN = 300  # characters of what a process printed before it died


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared.

    Attributes
    ----------
    name : str
        ``base`` or ``head``.
    label : str
        What it is, for people: a commit, or an environment.
    python : Path
        The interpreter of its environment.
    facts : dict
        What its probe says of it: Python, packages, formats, suites.
    """

    name: str
    label: str
    python: Path
    facts: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


class NotComparable(UsageError):
    """The two have nothing that could be compared, or differ in what has to be equal."""


class SideError(HarnessError):
    """A side failed at a task.

    Parameters
    ----------
    side : Side
        Which.
    what : str
        What was wrong, in words.
    """

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
        self.close()
        self._said.seek(0)
        self._said.truncate()
        self._process = self._started()
        self.ask("hello")

    def send(self, do: str, **task: Any) -> None:
        """Ask for a task without waiting for it.

        Raises
        ------
        SideError
            When the process is gone.
        """
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
        self.close()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        code = self._process.returncode
        said = lines[-1][-_SHOWN:]
        return f": its process ended with exit code {code} and said: {said}."

    def close(self) -> None:
        """Let the process end; kill it when it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # it is gone already
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._said.close()
