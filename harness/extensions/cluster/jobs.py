"""Tasks through submitit, in processes of this machine or as jobs of Slurm; only this module imports submitit."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, UsageError

LOCAL, SLURM = "local", "slurm"
INSTALL = "trace-format-harness[cluster]"

_POLL = 1.0  # seconds between two checks whether a task has ended
_CANCELLED, _ASKED = 120.0, 5.0  # seconds that Slurm has to end tasks, and between two checks whether it did
_ANSWERED = 60.0  # seconds that a command of Slurm may take
_COMMANDS = ("sbatch", "srun", "sacct", "scancel")
_LOGGED = 300  # characters at the end of a log that a sentence quotes
_KIND = re.compile(r"^[\w.]+Error: ")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Result of a job that has ended."""

    value: Any = None  # What its function returned; None if it did not return.
    problem: str = ""  # Why it did not return; empty if it did.


@dataclass
class Jobs:
    """Tasks that are started and waited for."""

    kind: str  # Where tasks run: "local" or "slurm".
    folder: Path  # Folder for scripts, pickled arguments and answers, and logs; all nodes see it.
    minutes: int  # Time limit of a task.
    sbatch: Mapping[str, str] = field(default_factory=dict)  # Further options of ``sbatch``, without dashes.

    def __post_init__(self) -> None:
        self._running: list[Any] = []

    def require(self, *, here: bool = True) -> None:
        """Raise a UsageError if submitit is missing or, if `here`, tasks cannot be started."""
        registry.require_package("--cluster", "submitit", INSTALL)
        if not here or self.kind != SLURM:
            return
        if lost := [name for name in _COMMANDS if not shutil.which(name)]:
            raise UsageError(
                f"There is no Slurm here ({lost[0]} is missing): run this on a login node of the cluster, or use "
                "--cluster local."
            )
        _require_accounting()

    def start(self, name: str, function: Callable[..., object], *arguments: object, exclude: str = "") -> Any:
        """Start a task and return a job for `wait`; on Slurm, no node of `exclude` is used.

        Raises
        ------
        HarnessError
            If the task is refused, with the message of the command.
        """
        import submitit

        if self.kind == LOCAL:
            executor = submitit.LocalExecutor(self.folder, max_num_timeout=0)
            executor.update_parameters(timeout_min=self.minutes)
        else:
            executor = submitit.SlurmExecutor(self.folder, max_num_timeout=0)
            executor.update_parameters(**self._slurm(name, exclude))
        try:
            job = executor.submit(function, *arguments)
        except RuntimeError as error:  # raised by submitit: the command failed, or printed nothing that it knows
            raise HarnessError(
                f"The task {name} could not be started: {_last_line(error)}. Check --sbatch, and resume the run."
            ) from error
        self._running.append(job)
        return job

    def wait(self, job: Any) -> Ended:
        """Wait for the end of a job, however it ends, and return its result."""
        while not job.done():
            if self.kind == SLURM and job.state.upper() == "PREEMPTED":  # not done for submitit: it waits for a requeue
                job.cancel(check=False)
                self._running.remove(job)
                return Ended(problem="the task was pre-empted")
            time.sleep(_POLL)
        self._running.remove(job)
        try:
            return Ended(value=job.result())
        except Exception as error:  # noqa: BLE001 - whatever a task raised, submitit raises here
            return Ended(problem=f"the task ended without an answer (state {job.state}): {_last_line(error)}")

    def cancel(self) -> None:
        """End every task that was started and not waited for."""
        for job in self._running:
            job.cancel(check=False)
        until = time.monotonic() + _CANCELLED
        for job in self._running:
            while not job.done(force_check=True) and (self.kind == LOCAL or time.monotonic() < until):
                time.sleep(_POLL if self.kind == LOCAL else _ASKED)
        self._running.clear()

    def script(self, name: str, exclude: str) -> str:
        """Return the script that `start` would submit to Slurm; Slurm need not be installed."""
        import submitit

        class Preview(submitit.SlurmExecutor):
            @classmethod
            def affinity(cls) -> int:
                return 1  # it submits nothing

        executor = Preview(self.folder, max_num_timeout=0)
        executor.update_parameters(**self._slurm(name, exclude))
        text: str = executor._make_submission_file_text(executor._submitit_command_str, "preview")
        return text

    def _slurm(self, name: str, exclude: str) -> dict[str, Any]:
        """Return the parameters of a job: one task on a node of its own, with all of its memory, started once."""
        # A task that Slurm restarts by itself would collide with the one that is started in its place.
        typed = {key: value for key, value in self.sbatch.items() if key != "exclude"}
        more = {"mem": "0", "no-requeue": True, **typed}
        excluded = ",".join(filter(None, (self.sbatch.get("exclude", ""), exclude)))
        return {
            "job_name": name, "time": self.minutes, "nodes": 1, "ntasks_per_node": 1, "exclusive": True,
            "exclude": excluded or None, "wckey": None, "additional_parameters": more,
        }  # fmt: skip


def _require_accounting() -> None:
    """Raise a UsageError if Slurm keeps no accounts: without them, the failure of a task is not reported."""
    try:
        asked = subprocess.run(
            ["sacct", "--noheader", "--jobs", "1"], capture_output=True, text=True, timeout=_ANSWERED, check=False
        )
        failed, said = asked.returncode != 0, asked.stderr.strip() or f"exit code {asked.returncode}"
    except subprocess.TimeoutExpired:
        failed, said = True, f"no answer within {_ANSWERED:g} s"
    if failed:
        why = said.splitlines()[-1][:_LOGGED].rstrip(".")
        raise UsageError(
            f"The state of jobs is not known here, because sacct fails ({why}): use a cluster with "
            "accounting, or --cluster local."
        )


def _last_line(error: Exception) -> str:
    """Return the last line that a task logged, without the lines and rules that submitit adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    told = [line for line in lines if not line.startswith(("You can check", "or at paths", "- /"))]
    return _KIND.sub("", (told or ["nothing was logged"])[-1])[:_LOGGED].rstrip(".")
