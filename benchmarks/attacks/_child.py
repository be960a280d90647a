"""Run one command in a process of its own, and say what it took in memory and processor time."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cli import main

_CEILING, _SECONDS, _WAIT = 8 << 30, 60, 90  # so that an attack that gets through does not take the machine

for _name in ("archives", "capture", "convert", "evidence", "history", "imports", "predictions", "running", "tuning"):
    importlib.import_module(f"harness.cli.{_name}")  # before processes are forked, so that none counts it


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    code: int  # Its exit code; negative where it was killed, as by the limits here.
    peak: int  # The most memory that it had at once, in bytes; the limit's where it was killed.
    seconds: float  # Processor time; the limit's where it was killed.
    said: str  # Standard output and error.


def run(arguments: Sequence[str], folder: Path) -> Taken:
    """Run ``harness`` with some arguments in a folder.

    Parameters
    ----------
    arguments : sequence of str
        Of the command line.
    folder : Path
        Where it runs.

    Returns
    -------
    Taken
        What it took, beyond a process that has imported everything.
    """
    said, answer = folder.with_suffix(".said"), folder.with_suffix(".answer")
    pid = os.fork()
    if pid == 0:
        _work(arguments, folder, said, answer)
    status = _waited(pid)
    text = said.read_text(errors="replace") if said.exists() else ""
    if status is None:
        return Taken(-1, _CEILING, float(_WAIT), f"{text} it did not end in {_WAIT} s")
    found = json.loads(answer.read_text()) if answer.exists() else {"peak": _CEILING, "seconds": float(_SECONDS)}
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Taken(code, found["peak"], found["seconds"], text)


def _work(arguments: Sequence[str], folder: Path, said: Path, answer: Path) -> None:
    """Run in this process, and end it."""
    code = 70
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        before, start = _memory("VmRSS"), time.process_time()
        resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        code = main(arguments)
        answer.write_text(json.dumps({"peak": _memory("VmHWM") - before, "seconds": time.process_time() - start}))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 70
    except BaseException:  # noqa: BLE001 - whatever it is, the attack got through
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def _waited(pid: int) -> int | None:
    """Wait for a process; kill it, and return None, when it takes too long."""
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None
