"""A sample by several workers: every read is timed, shares are even, and threads read right."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.row_files import read_samples
from harness.run.machine import interpreter_lock
from harness.sampling.parallel_sample import combine, shares, take_share, take_threads
from harness.sampling.verify import Expected, expectations
from harness.trace.sources import open_trace
from harness.workload import PlanOptions, Read


class Asked(NamedTuple):
    """An archive, and what is read of it."""

    archive: Path
    reads: list[Read]
    expected: dict[str, Expected]


@pytest.fixture
def asked(tmp_path):
    trace = open_trace("synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", 48)
    path = tmp_path / "t.raw"
    manifest = write_archive(trace, load_format("raw"), path)
    reads = [Read(path="attention/layer_0", selection=(slice(0, 1), slice(k, k + 8), slice(0, 9))) for k in range(40)]
    return Asked(path, reads, expectations(path, manifest, reads))


@pytest.mark.slow
def test_a_run_records_every_read_of_several_workers(measure):
    options = PlanOptions(attention_windows=6, workers=(("threads", 1), ("threads", 2), ("processes", 2)))
    folder, progress = measure(suites=("parallel_access",), options=dataclasses.replace(options, parallel_windows=12))
    assert progress.steps == progress.planned
    rows = read_samples(folder / "samples.csv")
    assert (rows["bytes_requested"] == 12 * 32 * 32 * 4).all()
    p50, p99 = rows["latency_p50_seconds"], rows["latency_p99_seconds"]
    assert (p50 > 0).all() and (p50 <= p99).all() and (p99 <= rows["seconds"]).all()
    assert (rows["cpu_seconds"] > 0).all()
    assert (rows["worker_seconds"].str.split().str.len() == rows["workers"]).all()


class Clock:
    """Advances by a step at every look: 1 ms, and 100 ms at the look after each 10th."""

    def __init__(self):
        self.now = self.looks = 0

    def __call__(self):
        self.looks += 1
        self.now += 100_000_000 if self.looks % 10 == 0 else 1_000_000
        return self.now


def test_percentiles_are_of_single_reads(asked):
    part = take_share(load_format("raw"), *asked, lambda: None, clock=Clock())
    reading = combine([part])
    assert len(part.marks) == 41 and reading.latencies == (0.001, 0.1, 0.1)  # 4 of 40 reads took 100 ms
    assert reading.seconds == pytest.approx(0.001 * 36 + 0.1 * 4) and reading.worker_seconds == (reading.seconds,)
    alone = take_threads(load_format("raw"), *asked, 1, shared=False, clock=Clock())
    assert alone.latencies == reading.latencies and alone.problem == ""


def test_shares_are_even():
    assert [len(share) for share in shares([Read(path="a")] * 240, 8)] == [30] * 8


@pytest.mark.skipif(interpreter_lock(), reason=f"Python {sys.version.split()[0]} runs with its interpreter lock")
def test_threads_read_right_without_the_interpreter_lock(asked):
    reading = take_threads(load_format("raw"), *asked, 4, shared=True)
    assert reading.problem == "" and not interpreter_lock()
