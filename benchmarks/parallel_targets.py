"""Speed of two processes relative to one in reading windows, measured in turn so that drift affects both equally."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.slim_targets import FoundSizes
from harness.analysis.statistics import Interval, compare
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.sampling.reading import Observed, ReadTask
from harness.sampling.verify import expectations
from harness.sampling.worker import Worker
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.windows import window_reads
from harness.workload import ReadAccess

FORMATS = ("hdf5", "zarr")
GOAL = 1.8

_TRACE, _N_RES, _WINDOWS, _ROUNDS = "synthetic:layers=2", 128, 960, 20


def process_speed(folder: Path, name: str, rounds: int = _ROUNDS) -> Interval:
    """Return the ratio of one process's time to that of two for the same windows, with its 95 % interval over rounds.

    Every sample is verified. Each round measures both, in alternating order.

    Parameters
    ----------
    folder : Path
        An empty folder.
    name : str
        The format.
    rounds : int
        Number of pairs.
    """
    backend, raw = load_format(name), folder / "t.raw"
    path = folder / f"t{backend.suffix}"
    trace = open_trace(_TRACE, _N_RES)
    manifest = write_archive(trace, load_format("raw"), raw)
    if path != raw:
        write_archive(trace, backend, path)
    paths = [spec.path for spec in manifest.with_role(Role.ATTENTION)]
    reads = window_reads([manifest[path] for path in paths], _WINDOWS, 32, np.random.default_rng(0))
    expected = expectations(raw, manifest, reads)
    times: dict[int, list[float]] = {1: [], 2: []}
    with Worker(600) as worker:
        for number in range(-1, rounds):  # the first starts processes and does not count
            for workers in (1, 2) if number % 2 else (2, 1):
                access = ReadAccess(name="windows", reads=reads, executor="processes", workers=workers)
                found: Observed = worker.do(
                    ReadTask(
                        backend=name, profile="tuned", archive=path, access=access, expected=expected, cache="warm"
                    )
                )
                if found.reading is None or found.reading.problem:
                    raise AssertionError(found.rejected or (found.reading and found.reading.problem))
                if number >= 0:
                    times[workers].append(found.reading.seconds)
    return compare(np.array(times[1]), np.array(times[2])).ratio


def process_speeds(folder: Path) -> Iterator[FoundSizes]:
    """Yield the goal for every format."""
    for name in FORMATS:
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            ratio = process_speed(Path(inner), name)
        text = f"windows, two processes over one, times as fast, {name}"
        yield FoundSizes(text=text, goal=GOAL, value=ratio.median, interval=ratio)


def main() -> int:
    """Print every goal with its measured value, and the ratio of the flat file; return 1 if a goal is missed."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as name:
        found = list(process_speeds(Path(name)))
        with tempfile.TemporaryDirectory(dir=name) as inner:
            raw = process_speed(Path(inner), "raw")
    for goal in found:
        print(goal)
    print(f"the flat file: {raw.median:.2f} ({raw.low:.2f} to {raw.high:.2f})")
    return int(not all(goal.met for goal in found))


if __name__ == "__main__":
    raise SystemExit(main())
