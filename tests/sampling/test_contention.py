"""What threads wait for is seen: a lock that is held, a thread that does the work, and that every read is timed."""

from __future__ import annotations

import dataclasses
import sys
import threading

import pytest

from harness.extensions.breakdown.explaining import ROUNDS
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.row_files import read_contention, read_samples
from harness.sampling.contention import ContentionTask, interpreter_lock
from harness.sampling.together import combine, shares, take_share, take_threads
from harness.sampling.verify import expectations
from harness.sampling.worker import Children
from harness.trace.sources import open_trace
from harness.workload import PlanOptions, Read, ReadAccess
from tests.conftest import TINY


@pytest.fixture
def task(tmp_path_factory):
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        backend = load_format(name)
        trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 48)
        manifest = write_archive(trace, load_format("raw"), folder / "t.raw")
        path = folder / f"t{backend.suffix}"
        if name != "raw":
            write_archive(trace, backend, path)
        reads = [
            Read(path="attention/layer_0", selection=(slice(0, 1), slice(k, k + 8), slice(0, 9))) for k in range(40)
        ]
        expected = expectations(folder / "t.raw", manifest, reads)
        access = ReadAccess(name="windows", reads=tuple(reads), executor="threads", workers=2)
        return ContentionTask(backend=name, profile="tuned", archive=path, access=access, expected=expected)

    return make


def test_the_lock_of_h5py_and_the_loop_of_zarr_are_seen(task):
    with Children() as children:
        hdf5, zarr, raw = (task(name).run(children) for name in ("hdf5", "zarr", "raw"))
    assert (hdf5.status, zarr.status, raw.status) == ("ok", "ok", "ok")
    assert "h5py" in hdf5.lock and hdf5.lock_looks is not None and 0 <= hdf5.lock_held <= hdf5.lock_looks
    assert zarr.lock == "" and zarr.lock_looks is None
    assert zarr.busiest_thread == "zarr_io" and zarr.busiest_thread_seconds > 0
    assert hdf5.reader_cpu_seconds > 0 and hdf5.wall_seconds > 0 and raw.cpu_seconds > 0
    assert hdf5.interpreter_lock == interpreter_lock()


def test_a_held_lock_is_counted_and_a_free_one_is_not():
    from harness.sampling.contention import _Looker

    lock = threading.Lock()
    free = _Looker(lock)
    free.start()
    while free.looks < 5:
        pass
    free.end()
    assert free.held == 0
    with lock:
        busy = _Looker(lock)
        busy.start()
        while busy.looks < 5:
            pass
        busy.end()
    assert busy.held == busy.looks


def test_wrong_values_are_no_look(task):
    right = task("hdf5")
    wrong = {name: dataclasses.replace(found, digest="0" * len(found.digest)) for name, found in right.expected.items()}
    with Children() as children:
        found = dataclasses.replace(right, expected=wrong).run(children)
    assert found.status == "failed" and "differ from the source" in found.reason


def test_a_run_looks_at_the_most_threads_and_records_every_read(measure):
    options = PlanOptions(attention_windows=6, workers=(("threads", 1), ("threads", 2), ("processes", 2)))
    folder, progress = measure(suites=("parallel_access",), options=dataclasses.replace(options, parallel_windows=12))
    assert progress.steps == progress.planned
    seen = read_contention(folder / "contention.csv")
    assert set(seen["workers"]) == {2} and set(seen["status"]) == {"ok"} and len(seen) == 2 * ROUNDS
    rows = read_samples(folder / "samples.csv")
    assert (rows["bytes_requested"] == 12 * 32 * 32 * 4).all()
    p50, p99 = rows["latency_p50_seconds"], rows["latency_p99_seconds"]
    assert (p50 > 0).all() and (p50 <= p99).all() and (p99 <= rows["seconds"]).all()
    assert (rows["cpu_seconds"] > 0).all()
    assert (rows["worker_seconds"].str.split().str.len() == rows["workers"]).all()
    _, again = measure(folder, suites=("parallel_access",), options=dataclasses.replace(options, parallel_windows=12))
    assert again.steps == again.planned and len(read_contention(folder / "contention.csv")) == len(seen)
    assert TINY.options.parallel_windows is None


class Clock:
    """Advances by a step at every look: 1 ms, and 100 ms at the look after each 10th."""

    def __init__(self):
        self.now = self.looks = 0

    def __call__(self):
        self.looks += 1
        self.now += 100_000_000 if self.looks % 10 == 0 else 1_000_000
        return self.now


def test_percentiles_are_of_single_reads(task):
    made = task("raw")
    part = take_share(load_format("raw"), made.archive, made.access.reads, made.expected, lambda: None, clock=Clock())
    reading = combine([part])
    assert len(part.marks) == 41 and reading.latencies == (0.001, 0.1, 0.1)  # 4 of 40 reads took 100 ms
    assert reading.seconds == pytest.approx(0.001 * 36 + 0.1 * 4) and reading.worker_seconds == (reading.seconds,)
    alone = take_threads(
        load_format("raw"), made.archive, made.access.reads, made.expected, 1, shared=False, clock=Clock()
    )
    assert alone.latencies == reading.latencies and alone.problem == ""


def test_shares_are_even():
    assert [len(share) for share in shares([Read(path="a")] * 240, 8)] == [30] * 8


@pytest.mark.skipif(interpreter_lock(), reason=f"Python {sys.version.split()[0]} runs with its interpreter lock")
def test_threads_read_right_without_the_interpreter_lock(task):
    made = task("raw")
    reading = take_threads(load_format("raw"), made.archive, made.access.reads, made.expected, 4, shared=True)
    assert reading.problem == "" and not interpreter_lock()
