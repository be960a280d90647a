"""Killed at any moment, or with a full disk, nothing is lost, and the same command finishes what was begun."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from benchmarks.attacks.slim_kills import WAYS, KillCase, kill_at_random, kill_before_each_step
from benchmarks.directories import af2, af3, digests, openfold3
from harness.cli import main
from harness.errors import HarnessError
from harness.extensions.result_directories import disk
from harness.extensions.result_directories.reading import read_file
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim

pytestmark = pytest.mark.slow


@pytest.fixture
def case(tmp_path, request):
    (tmp_path / "scratch").mkdir()
    return KillCase(request.param(tmp_path / "job", 4), tmp_path / "scratch")


def whole(folder: Path, before: dict[str, str]) -> None:
    """Every file that was there is there, or can be read with the same bytes."""
    for name, digest in before.items():
        assert disk.digest(read_file(folder, name).data) == digest, name


@pytest.mark.parametrize("case", [af2, af3], indirect=True)
def test_killed_at_random_moments(case):
    tally = kill_at_random(case, 20, random.Random(20))
    assert not tally.problems
    assert tally.resumed


@pytest.mark.parametrize(
    ("case", "ways"), [(af2, ("slim", "minimal")), (af3, ("smallest", "unslim"))], indirect=["case"]
)
def test_killed_before_each_step_on_disk(case, ways):
    for way in ways:
        tally = kill_before_each_step(case, way)
        assert not tally.problems, way
        assert tally.kills == tally.resumed > 10, way


@pytest.mark.parametrize("case", [af3], indirect=True)
def test_a_file_that_is_gone_for_a_moment_is_found_to_be_lost(case, monkeypatch):
    kept = (case.job / "job_data.json").read_bytes()

    def careless(folder):
        (folder / "job_data.json").unlink(missing_ok=True)
        (folder / "ranking_scores.csv").chmod(0o644)
        (folder / "job_data.json").write_bytes(kept)

    monkeypatch.setitem(WAYS, "slim", careless)
    assert "slim, step 2: job_data.json is lost" in kill_before_each_step(case, "slim").problems


@pytest.mark.parametrize("room", [0, 1, 20_000, 60_000])
def test_a_full_disk_leaves_the_originals_whole(tmp_path, monkeypatch, capsys, room):
    folder = af2(tmp_path / "job")
    before = digests(folder)
    left = [room]
    fill = disk._fill

    def full(handle, data):
        left[0] -= len(data)
        if left[0] < 0:
            fill(handle, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        fill(handle, data)

    with monkeypatch.context() as patched:
        patched.setattr(disk, "_fill", full)
        assert main(["slim", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "No space left on device; no file is lost: free some space" in said and len(said.splitlines()) == 1
    assert not list(folder.glob(f".*{disk.PARTIAL}"))
    whole(folder, before)
    assert not slim(folder, "slim").problems
    left[0] = room
    with monkeypatch.context() as patched:
        patched.setattr(disk, "_fill", full)
        with pytest.raises(HarnessError, match="no file is lost"):
            unslim(folder)
    whole(folder, before)
    assert not unslim(folder).problems
    assert digests(folder) == before


@pytest.mark.parametrize(
    ("make", "plain", "broken", "files"),
    [(af2, "best", "container.inflate", 3), (openfold3, "none", "coding.decode_text", 2)],
)
def test_what_does_not_come_back_is_not_removed(tmp_path, monkeypatch, make, plain, broken, files):
    folder = make(tmp_path / "job")
    before = digests(folder)
    with monkeypatch.context() as patched:
        patched.setattr(f"harness.extensions.result_directories.{broken}", lambda *given, **_: bytes(given[-1]))
        done = slim(folder, "slim", plain=plain)
    assert len(done.problems) == files
    assert digests(folder).items() >= before.items()
    whole(folder, before)


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []
    replace = Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
    )
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append("replace"), replace(path, to)))
    disk.write_whole(tmp_path / "file", b"content")
    assert done == [f".file.{os.getpid()}{disk.PARTIAL}", "replace", tmp_path.name]


def test_two_at_once_are_kept_apart(tmp_path):
    folder = af2(tmp_path / "job", 8)
    with disk.changing(folder), pytest.raises(HarnessError, match="another process"):
        slim(folder, "slim")
