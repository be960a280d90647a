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
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

from distributed import Client

from harness.backends.archive import write_archive
from harness.backends.npz import NpzBackend
from harness.backends.raw import RawBackend
from harness.cli import main
from harness.errors import HarnessError
from harness.measure.dask_pool import DaskPool
from harness.measure.verify import expectations, read_id
from harness.records import read_samples
from harness.trace.sources import open_trace
from harness.workload import Read

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler, and its two workers, which nothing restarts."""
    folder = tmp_path_factory.mktemp("dask")
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    path = os.pathsep.join([str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)])
    environment = {**os.environ, "PYTHONPATH": path}
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    file = folder / "scheduler.json"
    started = [subprocess.Popen([*program, "--no-dashboard", "--scheduler-file", str(file)], env=environment, **quiet)]
    try:
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--no-nanny"]
        worker += ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
        started += [subprocess.Popen(worker, env=environment, **quiet) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("archives")
    trace = open_trace(TRACE, 40)
    manifest = write_archive(trace, RawBackend(), folder / "t.raw")
    write_archive(trace, NpzBackend(), folder / "t.npz")
    reads = [Read(path="attention/layer_0", selection=(slice(0, 1), slice(k, k + 8), slice(0, 8))) for k in range(12)]
    return folder / "t.npz", reads, expectations(folder / "t.raw", manifest, reads)


def test_workers_read_and_check_their_shares(cluster, archive):
    address, _ = cluster
    path, reads, expected = archive
    pool = DaskPool(address)
    try:
        reading = pool.read("npz", "tuned", path, reads, expected, 2)
        assert reading.problem == "" and reading.rejected == ""
        assert reading.bytes_returned == sum(expected[read_id(read)].nbytes for read in reads)
        assert len(reading.worker_seconds) == 2 and reading.seconds == max(reading.worker_seconds)
        assert reading.latencies is not None and 0 < reading.latencies[0] <= reading.latencies[2]
        wrong = {name: type(e)("0" * len(e.digest), e.dtype, e.shape, e.nbytes) for name, e in expected.items()}
        assert "differ from the source" in pool.read("npz", "tuned", path, reads, wrong, 2).problem
    finally:
        pool.close()


def test_an_archive_that_workers_do_not_see_is_said(cluster, archive, monkeypatch):
    """Under a relative path, this process and the workers, which were started elsewhere, mean different files."""
    path, reads, expected = archive
    monkeypatch.chdir(path.parent)
    pool = DaskPool(cluster[0])
    try:
        with pytest.raises(HarnessError, match="does not see the archive that was written here: give --out a folder"):
            pool.read("npz", "tuned", Path(path.name), reads, expected, 1)
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
    assert set(rows["status"]) == {"ok"} and set(rows["executor"]) == {"dask"} and set(rows["workers"]) == {1, 2}
    assert (rows["worker_seconds"].str.split().str.len() == rows["workers"]).all()
    assert rows["latency_p99_seconds"].notna().all() and rows["verified"].astype(bool).all()


def test_too_few_workers_and_no_scheduler_are_said_before_anything_is_written(cluster, tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["run", "--preset", "quick", "--out", str(folder), "--executors", "dask"]
    assert main([*argv, "--workers", "3", "--scheduler", cluster[0]]) == 2
    assert "has 2 workers and the run asks for 3" in capsys.readouterr().err
    started = time.monotonic()
    assert main([*argv, "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "There is no Dask scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert time.monotonic() - started < 60 and not folder.exists()
    assert main([*argv[:-2], "--scheduler", cluster[0]]) == 2
    assert "add --executors dask" in capsys.readouterr().err


def test_a_share_whose_worker_dies_is_read_again_and_its_time_does_not_count(archive):
    path, reads, expected = archive
    pool = DaskPool(None)
    try:
        pool.read("dask_slow:Slow", "tuned", path, reads, expected, 2)
        victim = next(iter(pool._cluster.workers.values())).pid
        timer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        timer.start()
        reading = pool.read("dask_slow:Slow", "tuned", path, reads, expected, 2)
        timer.join()
    finally:
        pool.close()
    assert reading.problem == "" and "a Dask worker died once" in reading.rejected
    assert reading.bytes_returned == sum(expected[read_id(read)].nbytes for read in reads)


def test_worker_after_worker_that_dies_fails_the_sample(archive):
    path, reads, expected = archive
    pool = DaskPool(None)
    try:
        with pytest.raises(HarnessError, match="Dask workers died one after the other"):
            pool.read("dask_slow:Deadly", "tuned", path, reads, expected, 1)
    finally:
        pool.close()
