"""Run one command in a process of its own, and say what it took in memory and processor time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CEILING, _SECONDS = 8 << 30, 60  # of memory and time, so that an attack that gets through does not take the machine

# It measures itself: what a parent is told of its children's memory begins with its own.
_RUN = """
import json, sys, time
from harness.cli import main
code = main(sys.argv[2:])
peak = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "peak": peak, "seconds": time.process_time()}, file)
sys.exit(code)
"""


@dataclass(frozen=True)
class Taken:
    """What a command took.

    Attributes
    ----------
    code : int
        Its exit code; negative where it was killed, as by the limits here.
    peak : int
        The most memory that it had at once, in bytes; the limit's where it was killed.
    seconds : float
        Processor time; the limit's where it was killed.
    said : str
        Standard output and error.
    """

    code: int
    peak: int
    seconds: float
    said: str


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
        What it took.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.NamedTemporaryFile() as answer:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _RUN, answer.name, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=3 * _SECONDS,
                preexec_fn=_limit,
            )
        except subprocess.TimeoutExpired:
            return Taken(-1, _CEILING, 3.0 * _SECONDS, "it did not end")
        said = (done.stdout + done.stderr).decode(errors="replace")
        found = json.loads(Path(answer.name).read_text() or "{}")
        return Taken(done.returncode, found.get("peak", _CEILING), found.get("seconds", float(_SECONDS)), said)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
