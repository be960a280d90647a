"""The script for a cluster node, without Slurm: what it refuses, where it works, and what it copies back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "reference.sbatch"
PAGE = (ROOT / "docs" / "cluster.md").read_text()
# Stands for the three runs: says where it works and what it was asked for, and leaves results.
MAKE = """#!/bin/bash
mkdir -p results/mine results/mine-one-thread results/other
echo "$PWD $PIP_FIND_LINKS $*" | tee results/mine/asked
if [ -e "$HANG" ]; then exec sleep 60; fi
exit "$CODE"
"""
GIT = """#!/bin/bash
mkdir -p "$4/results/reference"
"""


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on a node: a clone, a local disk, and programs in place of git, make and stat."""
    for name in ("clone/results", "disk", "bin"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in {"make": MAKE, "git": GIT, "stat": '#!/bin/bash\necho "$KIND"\n'}.items():
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(tmp_path / "clone"),
        "LOCAL": str(tmp_path / "disk"),
        "NAME": "mine",
        "KIND": "xfs",
        "CODE": "0",
        "HANG": str(tmp_path / "hang"),
    }


def run(node: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", SCRIPT], env=node | more, capture_output=True, text=True, check=False)


def test_it_works_on_the_local_disk_and_copies_the_runs_back(node, tmp_path):
    done = run(node, BENCH="--rounds 10", WHEELS="/wheels")
    assert done.returncode == 0, done.stderr
    folder, wheels, *asked = (tmp_path / "clone/results/mine/asked").read_text().split()
    assert folder.startswith(str(tmp_path / "disk")) and wheels == "/wheels"
    assert asked == ["reference", "NAME=mine", "BENCH=--rounds", "10"]
    assert {path.name for path in (tmp_path / "clone/results").iterdir()} == {"mine", "mine-one-thread"}
    assert not list((tmp_path / "disk").iterdir())


def test_a_failure_is_told_and_leaves_nothing_on_the_node(node, tmp_path):
    assert run(node, CODE="3").returncode == 3
    assert (tmp_path / "clone/results/mine/asked").is_file() and not list((tmp_path / "disk").iterdir())


@pytest.mark.slow
def test_results_are_copied_before_the_time_limit(node, tmp_path):
    (tmp_path / "hang").touch()
    with subprocess.Popen(["bash", SCRIPT], env=node, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None and "reference NAME=mine" in job.stdout.readline()
        started = time.monotonic()
        job.send_signal(signal.SIGTERM)
        assert job.wait(timeout=30) == 143 and time.monotonic() - started < 30
    assert (tmp_path / "clone/results/mine/asked").is_file() and not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("kind", ["tmpfs", "nfs4", "lustre"])
def test_a_folder_whose_cache_cannot_be_emptied_is_refused(node, tmp_path, kind):
    done = run(node, KIND=kind)
    assert done.returncode == 2 and f"is on {kind}: name a folder on a local disk" in done.stderr
    assert not list((tmp_path / "disk").iterdir())


def test_it_asks_for_a_complete_node_and_the_page_names_its_variables():
    text = SCRIPT.read_text()
    for option in ("--exclusive", "--mem=0", "--signal=B:TERM@300"):
        assert f"#SBATCH {option}\n" in text
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
    assert named == {"HARNESS_DATA", *re.findall(r"\$\{(\w+):-", text)} - {
        "SLURM_SUBMIT_DIR",
        "SLURM_JOB_ID",
        "SLURM_TMPDIR",
        "TMPDIR",
        "running",
    }
    assert "examples/reference.sbatch" in PAGE
