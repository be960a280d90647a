"""Killed at any moment, or with a full disk, nothing is lost, and the same command finishes what was begun."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from pathlib import Path

import pytest
from directories import af2, af3, digests

from harness.cli import main
from harness.errors import HarnessError
from harness.predictions import disk, slimming
from harness.predictions.consumers import read_file
from harness.predictions.manifest import NAME
from harness.predictions.restoring import unslim
from harness.predictions.slimming import slim

MOMENTS = int(os.environ.get("HARNESS_SLIM_KILLS", "40"))


def child(work) -> int:
    """Run work in a process of its own; forked, so that its moments are not all spent in importing."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def whole(folder: Path, before: dict[str, str]) -> None:
    """Every file that was there is there, or can be read with the same bytes."""
    for name, digest in before.items():
        assert disk.digest(read_file(folder, name).data) == digest, name


@pytest.mark.parametrize("make", [af2, af3])
def test_killed_at_random_moments(tmp_path, make):
    folder = make(tmp_path / "job", 8)
    before = digests(folder)
    start = time.perf_counter()
    slim(folder, "slim")
    span = [time.perf_counter() - start]
    start = time.perf_counter()
    unslim(folder)
    span.append(time.perf_counter() - start)
    chance = random.Random(20)
    for moment in range(MOMENTS // 2):
        work = (lambda: slim(folder, "slim"), lambda: unslim(folder))[moment % 3 == 2]
        pid = child(work)
        time.sleep(1.2 * span[moment % 3 == 2] * chance.random())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        whole(folder, before)
        if moment % 4 == 3:
            assert not slim(folder, "slim").problems
            assert not unslim(folder).problems
            assert digests(folder) == before


@pytest.mark.parametrize("make", [af2, af3])
@pytest.mark.parametrize("way", ["slim", "unslim"])
def test_killed_before_each_step_on_disk(tmp_path, monkeypatch, make, way):
    folder = make(tmp_path / "job", 4)
    before = digests(folder)
    steps, real = [0, 0], {name: getattr(Path, name) for name in ("replace", "unlink", "open")}

    def step(name):
        def stepped(path, *arguments, **options):
            if name != "open" or "w" in "".join(map(str, arguments)):
                steps[0] += 1
                if steps[0] == steps[1]:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real[name](path, *arguments, **options)

        return stepped

    for name in real:
        monkeypatch.setattr(Path, name, step(name))
    for stop in range(1, 1000):
        if way == "unslim" and not (folder / NAME).exists():
            slim(folder, "slim")

        def work(stop=stop):
            steps[:] = [0, stop]
            (slim(folder, "slim") if way == "slim" else unslim(folder))

        _, status = os.waitpid(child(work), 0)
        whole(folder, before)
        if not os.WIFSIGNALED(status):
            break  # it had fewer steps than this
        assert not slim(folder, "slim").problems
        unslim(folder)
        assert digests(folder) == before
    assert stop > 10


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


def test_what_does_not_come_back_is_not_removed(tmp_path, monkeypatch):
    folder = af2(tmp_path / "job")
    before = digests(folder)
    with monkeypatch.context() as patched:
        patched.setattr("harness.predictions.coding.decode_text", lambda stored, size: bytes(size))
        done = slim(folder, "slim")
    assert len(done.problems) == 3
    assert all(digests(folder)[path.name] == before[path.name] for path in folder.glob("result_*.pkl"))
    assert len(list(folder.glob("result_*.pkl"))) == 3
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
    with disk.locked(folder), pytest.raises(HarnessError, match="another process"):
        slimming.slim(folder, "slim")
