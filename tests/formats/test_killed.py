"""Killed at any moment, or with a full disk, the writing of an archive leaves all that it had noted as whole."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.formats.archive import verify_archive
from harness.formats.recovery import incomplete_path
from harness.trace.incomplete import stage_of
from tests.formats.killing import Killer, layers, listed
from tests.formats.samples import KEEPING

pytestmark = pytest.mark.slow


def has_layer(noted: list[str]) -> bool:
    """Say whether a whole layer was noted; the first tensor is an input and belongs to none."""
    return len(noted) > 1


def assert_left_well(answer: dict[str, Any], destination: Path, size: str = "small") -> None:
    """Check what a process left that was killed or whose disk was full: all that it had noted, and nothing else."""
    arrays = {spec.path: array for spec, array in layers(size).items()}
    noted, left = answer["noted"], {path.name for path in destination.parent.iterdir()}
    visible = {name for name in left if not name.startswith(".")}
    if destination.name in visible:
        assert noted == list(arrays)
        assert verify_archive(destination) == []
        return
    assert visible <= {f"{destination.name}.incomplete"}
    assert visible or not (noted if answer["killed"] else has_layer(noted))  # who is not killed tidies what is no layer
    if visible and noted:
        found = listed(incomplete_path(destination), arrays)
        assert found[: len(noted)] == noted
        assert len({stage_of(path) for path in found[len(noted) :]}) <= 1  # a layer that was noted and not yet told


@pytest.mark.parametrize("name", KEEPING)
def test_killed_before_an_operation(name: str, tmp_path: Path, killer: Killer) -> None:
    """Before each in the formats that do most between two layers; before every fourth in the others."""
    noted = set()
    for stop in range(0, 1000, 1 if name in ("hdf5", "zarr-slim") else 4):
        destination = tmp_path / str(stop) / "archive"
        destination.parent.mkdir()
        answer = killer(name, destination, stop=stop)
        assert answer["killed"] in (0, signal.SIGKILL)
        assert_left_well(answer, destination)
        noted.add(len(answer["noted"]))
        if not answer["killed"]:
            break  # it had fewer operations than this
        shutil.rmtree(destination.parent)
    assert stop >= 40 and noted >= {0, 1, 4, 9}  # tensors: none, the input, one layer, all
    assert {path.name for path in destination.parent.iterdir()} == {"archive"}


@pytest.mark.parametrize("name", KEEPING)
def test_killed_at_random_moments(name: str, tmp_path: Path, killer: Killer) -> None:
    whole = killer(name, tmp_path / "whole", "large")
    assert not whole["said"] and not whole["killed"]
    chance = random.Random(name)
    for moment in range(3):
        destination = tmp_path / str(moment) / "archive"
        destination.parent.mkdir()
        answer = killer(name, destination, "large", after=whole["seconds"] * chance.random())
        assert_left_well(answer, destination, "large")
        shutil.rmtree(destination.parent)


@pytest.mark.parametrize("name", KEEPING)
def test_a_full_disk(name: str, tmp_path: Path, killer: Killer) -> None:
    said = []
    for limit in (3_000, 12_000, 20_000, 40_000):
        destination = tmp_path / str(limit) / "archive"
        destination.parent.mkdir()
        answer = killer(name, destination, limit=limit)
        assert not answer["killed"]
        assert_left_well(answer, destination)
        said.append(answer["said"])
        if answer["said"]:
            assert "\n" not in answer["said"]
            kept = has_layer(answer["noted"])
            assert ("archive.incomplete holds what was whole: " in answer["said"]) == kept
            assert incomplete_path(destination).exists() == kept
    assert said[0]


FULL = """
import sys
from pathlib import Path
from tests.formats.killing import layers
from harness.testing.samples import StepTrace
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.errors import HarnessError

for keep in (False, True):
    try:
        write_archive(StepTrace(layers("large")), load_format(sys.argv[1]), Path(sys.argv[2]), keep_incomplete=keep)
    except HarnessError as error:
        print(error)
print(*(path.name for path in Path(sys.argv[2]).parent.iterdir()))
"""


@pytest.mark.parametrize("name", ["hdf5", "zarr-slim"])
def test_a_disk_that_is_really_full(name: str, tmp_path: Path) -> None:
    """A small one is mounted where that is allowed. The process then ends by itself, when HDF5 has crashed others."""
    if subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("this user may not mount a small disk; another test limits the size of files")
    mount = f"mount -t tmpfs -o size=2m none {shlex.quote(str(tmp_path))}"
    program = shlex.join([sys.executable, "-W", "ignore", "-c", FULL, name, str(tmp_path / "archive")])
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {program}"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    plain, kept, left = done.stdout.splitlines()
    assert f"{name} failed " in plain and "holds what was whole" not in plain
    assert f"{name} failed " in kept and "archive.incomplete holds what was whole: " in kept
    assert left == "archive.incomplete"
