"""What stands in for the commands of Slurm on one machine: ``python stand_in.py sbatch SCRIPT`` and its like.

It gives jobs numbers and nodes, runs their scripts, and knows their states. It shows that the harness and submitit ask
for what they say; it does not show that Slurm does what they expect.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

STATE = "HARNESS_TEST_SLURM"
"""Names the folder where jobs are kept.

A file ``next`` in it has a line for each job to come: ``run``, ``REFUSE``, or a state in which it ends before it
begins, such as ``NODE_FAIL``. A file ``no-accounting`` makes ``sacct`` fail.
"""

COMMANDS = ("sbatch", "srun", "sacct", "scancel")
NODES = ("node1", "node2", "node3")


def install(folder: Path) -> Path:
    """Write the commands into a folder for ``PATH``."""
    folder.mkdir(parents=True)
    for command in COMMANDS:
        path = folder / command
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {command} "$@"\n')
        path.chmod(0o755)
    return folder


def _state(job: str) -> Path:
    return Path(os.environ[STATE]) / f"{job}.state"


def sbatch(script: str) -> int:
    folder = Path(os.environ[STATE])
    due = (folder / "next").read_text().split() if (folder / "next").exists() else []
    (folder / "next").write_text("\n".join(due[1:]))
    what = due[0] if due else "run"
    if what == "REFUSE":
        print("sbatch: error: Batch job submission failed: Invalid partition name specified", file=sys.stderr)
        return 1
    number = 1 + len(list(folder.glob("*.sh")))
    job, text = str(number), Path(script).read_text()
    (folder / f"{job}.sh").write_text(text)
    excluded = re.search(r"^#SBATCH --exclude=(.*)$", text, re.MULTILINE)
    out = excluded[1].strip("'").split(",") if excluded else []
    first = (number - 1) % len(NODES)
    node = next(name for name in (*NODES[first:], *NODES[:first]) if name not in out)
    _state(job).write_text(f"{'RUNNING' if what == 'run' else what}|{node}")
    if what == "run":
        command = [sys.executable, "-S", __file__, "_serve", job, node]
        quiet = subprocess.DEVNULL
        served = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        (folder / f"{job}.pid").write_text(str(served.pid))
    print(f"Submitted batch job {job}")
    return 0


def _serve(job: str, node: str) -> int:
    about = {
        "SLURM_JOB_ID": job, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0",
        "SLURM_JOB_NODELIST": node, "SLURMD_NODENAME": node, "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    }  # fmt: skip
    script = Path(os.environ[STATE]) / f"{job}.sh"
    code = subprocess.run(["bash", str(script)], env=os.environ | about, check=False).returncode
    if _state(job).read_text().startswith("RUNNING"):
        _state(job).write_text(f"{'FAILED' if code else 'COMPLETED'}|{node}")
    return code


def srun(*arguments: str) -> int:
    rest, places = list(arguments), {}
    while rest and rest[0].startswith("--"):
        option = rest.pop(0)
        if option in ("--output", "--error"):
            places[option] = rest.pop(0).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
    with Path(places["--output"]).open("a") as out, Path(places["--error"]).open("a") as error:
        return subprocess.run(rest, stdout=out, stderr=error, check=False).returncode


def sacct(*arguments: str) -> int:
    if (Path(os.environ[STATE]) / "no-accounting").exists():
        print("Slurm accounting storage is disabled", file=sys.stderr)
        return 1
    if "--parsable2" in arguments:
        print("JobID|State|NodeList")
        for option, job in pairwise(arguments):
            if option == "-j" and _state(job).exists():
                print(f"{job}|{_state(job).read_text()}")
    return 0


def scancel(job: str) -> int:
    _state(job).write_text("CANCELLED by 1|")
    served = _state(job).with_suffix(".pid")
    if served.exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(served.read_text()), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    known = {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel, "_serve": _serve}
    sys.exit(known[sys.argv[1]](*sys.argv[2:]))
