"""The project's goals of speed and memory: ratios and bounds, all measured in one run."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.parallel_targets import process_speeds
from benchmarks.slim_targets import FoundSizes, reading, sizes, writing
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.sampling.sample import take
from harness.sampling.verify import expectations
from harness.sampling.worker import Worker
from harness.sampling.writing import WriteTask
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.workload import Read

_ROUNDS = 40
_WRITE_LIMIT = 600e6


def overhead(folder: Path) -> float:
    """Return the ratio of a layer read's time in the harness to a bare loop of the same library (goal: within 2 %).

    Both read the same layer with h5py in one process, in turn; the result is the median of the ratios of pairs.
    """
    import h5py
    import hdf5plugin  # noqa: F401 - registers the filters for the bare loop

    backend, path, raw = load_format("hdf5"), folder / "a.h5", folder / "a.raw"
    trace = open_trace("synthetic:layers=1", 256)
    manifest = write_archive(trace, load_format("raw"), raw)
    write_archive(trace, backend, path)
    pair = manifest.with_role(Role.PAIR)[0].path
    reads = (Read(path=pair),)
    expected = expectations(raw, manifest, reads)
    ratios = []
    for number in range(2 * _ROUNDS):
        times = {}
        for who in ("harness", "bare") if number % 2 else ("bare", "harness"):
            if who == "harness":
                times[who] = take(backend, path, reads, expected).seconds
            else:
                with h5py.File(path, "r") as file:
                    start = time.perf_counter_ns()
                    array = file[pair][()]
                    times[who] = (time.perf_counter_ns() - start) / 1e9
                del array
        ratios.append(times["harness"] / times["bare"])
    return statistics.median(ratios)


def generator_speed() -> float:
    """Return the calibrated generator's rate in bytes per second (goal: 200 MB/s on one core)."""
    trace = open_trace("synthetic:layers=1", 512)
    start, done = time.perf_counter(), 0
    for spec in trace.manifest.tensors:
        done += sum(block.nbytes for block in trace.blocks(spec.path))
    return done / (time.perf_counter() - start)


def write_memory(folder: Path, name: str, layers: int) -> float:
    """Return the peak resident bytes of writing a trace of 1024 residues (goal: under 600 MB in every format)."""
    backend = load_format(name)
    with Worker(3600) as worker:
        task = WriteTask(
            backend=name,
            profile="tuned",
            source=f"synthetic:layers={layers}",
            n_res=1024,
            destination=folder / f"c{backend.suffix}",
            keep=False,
        )
        return float(worker.do(task).peak_rss_bytes or 0)


def own_goals(folder: Path, layers: int) -> Iterator[FoundSizes]:
    """Yield the goals of the harness itself: overhead, generator, and memory of writing."""
    deviation = abs(overhead(folder) - 1)
    yield FoundSizes(text="layer read, harness over bare loop, away from 1", goal=0.02, value=deviation, at_most=True)
    yield FoundSizes(text="generator, bytes per second", goal=2e8, value=generator_speed())
    for name in ("npz", "hdf5", "zarr", "zarr-slim"):
        text = f"peak bytes of memory of writing 1024 residues, {layers} layers, {name}"
        yield FoundSizes(text=text, goal=_WRITE_LIMIT, value=write_memory(folder, name, layers), at_most=True)


def main(layers: int) -> int:
    """Print every goal with its measured value; return 1 if one is missed."""
    missed = 0
    with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as name:
        folder = Path(name)
        goals = (own_goals(folder, layers), sizes(folder), reading(folder), writing(folder))
        for found in chain(*goals, process_speeds(folder)):
            missed += not found.met
            print(found, flush=True)
    return min(1, missed)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 12))
