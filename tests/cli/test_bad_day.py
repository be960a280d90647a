"""Two commands at once, signals, kills, destinations inside of sources: one sentence, and nothing is lost or left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.files import clear_partials, locked
from harness.formats.archive import verify_archive
from harness.row_files import read_samples
from harness.sampling.interrupt import ENDING
from tests.conftest import UNDRAWN, plain

pytestmark = pytest.mark.slow

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
RUN = [
    "--preset",
    "quick",
    "--readers",
    "stock",
    "--trace",
    TRACE,
    "--sizes",
    "16",
    "--formats",
    "npz,hdf5",
    "--suites",
    "layer_read",
]
KEY = ["suite", "access", "format", "cache", "executor", "workers", "round"]


def test_one_command_at_a_time_writes_into_a_run(tiny, sketched, tmp_path, capsys):
    done = Path(shutil.copytree(tiny, tmp_path / "results" / "tiny"))
    assert main(["report", str(done)]) == 0
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    with locked(done, "never said"):
        for command in (["run", "--resume", "--out"], ["report"], ["plot"]):
            assert main([*command, str(done)]) == 2
            assert "Another process of harness writes into" in plain(capsys.readouterr().err)
        assert main(["bundle", "--out", str(tmp_path / "b.zip"), str(done)]) == 0
        assert main(["show", str(done), "--answer"]) == 0
        assert "Another process" not in capsys.readouterr().err, "who reads waits for nobody"
    assert {path: path.read_bytes() for path in done.rglob("*") if path.is_file()} == before
    assert main(["report", str(done)]) == 0, "a lock goes with who held it"


def test_what_a_killed_process_was_writing_is_cleared(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    stale = tmp_path / f".report.md.{int(dead.stdout)}.partial"
    mine, other = tmp_path / f".report.md.{os.getpid()}.partial", tmp_path / "mine.partial"
    for path in (stale, mine, other):
        path.touch()
    clear_partials(tmp_path)
    assert not stale.exists() and mine.exists() and other.exists()


def of_session(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def struck(folder: Path, number: int) -> subprocess.Popen[str]:
    """Start a run, and send it a signal when it is taking samples."""
    command = [*UNDRAWN, "run", "--quiet", *RUN, "--rounds", "300", "--out", str(folder)]
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run under nohup inherit an ignored SIGHUP, and would pass it on.
        preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in ENDING],
    )
    samples = folder / "samples.csv"
    deadline = time.monotonic() + 120
    while not samples.exists() or samples.read_bytes().count(b"\n") < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    assert len(of_session(process.pid)) > 1
    process.send_signal(number)
    return process


def nobody_left(session: int) -> bool:
    deadline = time.monotonic() + 20
    while (left := of_session(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not left


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_puts_everything_away_and_says_how_to_continue(tmp_path, number):
    folder = tmp_path / "run"
    process = struck(folder, number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert f"Continue with: harness run --resume --out {folder}" in said and "Traceback" not in said
    assert nobody_left(process.pid) and not (folder / ".archives").exists()
    assert set(read_samples(folder / "samples.csv")["status"]) == {"ok"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    process = struck(tmp_path / "run", signal.SIGKILL)
    process.communicate(timeout=60)
    assert nobody_left(process.pid)


@pytest.mark.parametrize("suffix", [".zarr", ".slim.zarr"])
def test_a_destination_inside_of_an_archive_is_refused_before_anything_is_touched(tmp_path, capsys, suffix):
    source = tmp_path / f"a{suffix}"
    assert main(["convert", f"{TRACE},n_res=16", str(source)]) == 0
    (tmp_path / "link").symlink_to(source)
    before = sorted(source.rglob("*"))
    for destination in (source / "inner.zarr", source / "inputs" / "b.h5", tmp_path / "link" / "c.npz"):
        assert main(["convert", str(source), str(destination)]) == 2
        assert "lies inside the archive" in plain(capsys.readouterr().err)
    assert main(["run", *RUN, "--out", str(source / "run")]) == 2
    assert "lies inside the archive" in plain(capsys.readouterr().err)
    assert sorted(source.rglob("*")) == before and verify_archive(source) == []
