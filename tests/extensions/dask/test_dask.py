"""Reads on the workers of a Dask cluster: a real scheduler and real workers, each a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

from distributed import Client

from harness.cli import main
from harness.errors import HarnessError
from harness.extensions.dask.pool import DaskPool
from harness.formats.archive import write_archive
from harness.formats.npz import NpzFormat
from harness.formats.raw import RawFormat
from harness.row_files import read_samples
from harness.sampling.executor import Share
from harness.sampling.verify import expectations, read_id
from harness.trace.sources import open_trace
from harness.workload import Read, ReadAccess
from tests.conftest import allow

pytestmark = pytest.mark.slow

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
PATH = str(Path(__file__).parents[3])


@contextmanager
def started(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Give the address of a scheduler, and its process and those of its two workers, which nothing restarts."""
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": PATH}
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    file = folder / "scheduler.json"
    running = [subprocess.Popen([*program, "--no-dashboard", "--scheduler-file", str(file)], env=environment, **quiet)]
    try:
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-nanny"]
        worker += ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        running += [subprocess.Popen(worker, env=environment, **quiet) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not _whole(file) and time.monotonic() < deadline:
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, running
    finally:
        for process in running:
            process.kill()
            process.wait()


def _whole(file: Path) -> bool:
    return file.exists() and file.read_text().rstrip().endswith("}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    with started(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("archives")
    trace = open_trace(TRACE, 40)
    manifest = write_archive(trace, RawFormat(), folder / "t.raw")
    write_archive(trace, NpzFormat(), folder / "t.npz")
    reads = [Read(path="attention/layer_0", selection=(slice(0, 1), slice(k, k + 8), slice(0, 8))) for k in range(12)]
    expected = expectations(folder / "t.raw", manifest, reads)
    access = ReadAccess(name="parts", reads=tuple(reads))
    return Share(backend="npz", profile="tuned", archive=folder / "t.npz", access=access, expected=expected)


def test_workers_read_and_check_their_shares(cluster, share):
    address, _ = cluster
    pool = DaskPool(address)
    try:
        reading = pool.read(share, 2)
        assert reading.problem == "" and reading.rejected == ""
        assert reading.bytes_returned == sum(share.expected[read_id(read)].nbytes for read in share.access.reads)
        assert len(reading.worker_seconds) == 2 and reading.seconds == max(reading.worker_seconds)
        assert reading.latencies is not None and 0 < reading.latencies[0] <= reading.latencies[2]
        wrong = {name: type(e)("0" * len(e.digest), e.dtype, e.shape, e.nbytes) for name, e in share.expected.items()}
        assert "differ from the source" in pool.read(replace(share, expected=wrong), 2).problem
    finally:
        pool.close()


def test_an_archive_that_workers_do_not_see_is_said(cluster, share, monkeypatch):
    """Under a relative path, this process and the workers, which were started elsewhere, mean different files."""
    monkeypatch.chdir(share.archive.parent)
    pool = DaskPool(cluster[0])
    try:
        with pytest.raises(HarnessError, match="does not see the archive that was written here: give --out a folder"):
            pool.read(replace(share, archive=Path(share.archive.name)), 1)
    finally:
        pool.close()


def test_a_run_on_the_users_scheduler_has_every_cell(cluster, tmp_path, capsys):
    folder = tmp_path / "run"
    argv = [
        "run",
        "--preset",
        "quick",
        "--sizes",
        "40",
        "--trace",
        TRACE,
    ]
    argv += ["--formats", "hdf5", "--baseline", "hdf5", "--suites", "parallel_access", "--rounds", "2", "--quiet"]
    argv += ["--executors", "dask", "--workers", "1,2", "--scheduler", cluster[0], "--out", str(folder)]
    assert main(argv) == 0, capsys.readouterr().err
    rows = read_samples(folder / "samples.csv")
    assert rows.loc[rows["status"] != "ok", "reason"].tolist() == []
    assert set(rows["executor"]) == {"dask"} and set(rows["workers"]) == {1, 2}
    assert (rows["worker_seconds"].str.split().str.len() == rows["workers"]).all()
    assert rows["latency_p99_seconds"].notna().all() and rows["verified"].astype(bool).all()


def test_too_few_workers_and_no_scheduler_are_said_before_anything_is_written(cluster, tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["run", "--preset", "quick", "--readers", "stock", "--out", str(folder), "--executors", "dask"]
    assert main([*argv, "--workers", "3", "--scheduler", cluster[0]]) == 2
    assert "has 2 of the 3 workers that the run asks for" in capsys.readouterr().err
    assert main([*argv, "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "There is no Dask scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert not folder.exists()
    assert main([*argv[:-2], "--scheduler", cluster[0]]) == 2
    assert "add --executors dask" in capsys.readouterr().err


def test_a_sample_whose_worker_dies_is_rejected_and_the_next_one_is_read(share):
    allow("tests.extensions.dask.dask_slow:Slow")
    pool = DaskPool(None)
    try:
        pool.read(replace(share, backend="tests.extensions.dask.dask_slow:Slow"), 2)
        victim = next(iter(pool._cluster._local.workers.values())).pid
        timer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        timer.start()
        reading = pool.read(replace(share, backend="tests.extensions.dask.dask_slow:Slow"), 2)
        timer.join()
        again = next(found for found in (pool.read(share, 2) for _ in range(2)) if not found.rejected)
    finally:
        pool.close()
    assert "a Dask worker died" in reading.rejected
    assert again.problem == ""
    assert again.bytes_returned == sum(share.expected[read_id(read)].nbytes for read in share.access.reads)


def test_worker_after_worker_that_dies_fails_the_sample(share):
    allow("tests.extensions.dask.dask_slow:Deadly")
    pool, deadly = DaskPool(None), replace(share, backend="tests.extensions.dask.dask_slow:Deadly")
    try:
        assert all("died" in pool.read(deadly, 1).rejected for _ in range(2))
        with pytest.raises(HarnessError, match="Dask workers died one after the other"):
            pool.read(deadly, 1)
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("victim", "reason"), [(0, "connection to the Dask scheduler at .* was lost"), (1, "has 1 of the 2 workers")]
)
def test_a_run_goes_on_when_its_scheduler_or_a_worker_is_killed(tmp_path, victim, reason):
    folder, mark = tmp_path / "run", str(tmp_path)
    (tmp_path / "dask").mkdir()
    with started(tmp_path / "dask") as (address, processes):
        argv = [
            "--preset",
            "quick",
            "--trace",
            "synthetic:layers=1",
            "--sizes",
            "64",
            "--formats",
            "hdf5,zarr-slim",
            "--quiet",
            "--readers",
            "stock",
        ]
        argv += ["--suites", "parallel_access", "--executors", "dask", "--workers", "1,2", "--rounds", "2"]
        argv += ["--baseline", "hdf5", "--scheduler", address, "--out", str(folder)]
        run = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": PATH, "HARNESS_TEST_MARK": mark},
        )
        while len(_lines(folder / "samples.csv")) < 2 and run.poll() is None:  # until there is a first sample
            time.sleep(0.01)
        processes[victim].kill()
        said, _ = run.communicate()
    rows = read_samples(folder / "samples.csv")
    assert run.returncode == 1 and "Traceback" not in said
    *told, onward = [line for line in said.splitlines() if line.startswith("harness: ")]
    assert told and all("failed in" in line for line in told) and "this machine failed, not the format" in onward
    cells = rows.groupby(["format", "workers"])["status"].agg(list).to_dict()
    assert set(cells) == {(name, n) for name in ("raw", "hdf5", "zarr-slim", "a/a") for n in (1, 2)}
    assert all(statuses[-1] == "failed" or len(statuses) == 2 for statuses in cells.values())
    good, failed = rows[rows["status"] == "ok"], rows[rows["status"] == "failed"]
    assert len(good) and good["verified"].astype(bool).all() and good["seconds"].gt(0).all()
    assert (good["bytes_returned"] == good["bytes_requested"]).all()
    assert (
        len(failed)
        and failed["cause"].eq("machine").all()
        and failed["seconds"].isna().all()
        and failed["reason"].str.contains(reason).any()
    )
    assert "\n" not in "".join(failed["reason"]) and failed["reason"].iloc[-1] in (folder / "report.md").read_text()
    assert set(rows["status"]) <= {"ok", "failed", "rejected"}
    assert not [process for process in Path("/proc").glob("[0-9]*") if mark in _environment(process)]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _environment(process: Path) -> str:
    try:
        return (process / "environ").read_text(errors="replace").partition("HARNESS_TEST_MARK=")[2].partition("\0")[0]
    except OSError:
        return ""  # it is another's, or gone
