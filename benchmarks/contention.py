"""What threads that read together wait for: how often a library's lock is held, and which threads work."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.run.machine import interpreter_lock
from harness.sampling.parallel_sample import shares
from harness.sampling.verify import Expected, check, expectations, read_id
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.windows import window_reads
from harness.workload import Read

FORMATS = ("raw", "npz", "hdf5", "zarr", "zarr-slim")
LOCKS: dict[str, tuple[str, Any]] = {"hdf5": ("the global lock of h5py", h5py._objects.phil)}
"""Name and object of the lock that the library of a format holds while it reads."""

_LOOK_EVERY = 0.0005  # seconds between two probes of a lock
_TRACE, _WINDOWS, _ROUNDS = "synthetic:layers=1", 96, 3


@dataclass(frozen=True)
class Waits:
    """Observations while threads read together."""

    # Seconds from the common start to the last end, and of processor time of the complete process meanwhile.
    wall: float
    cpu: float
    readers: float  # Processor time of the reading threads.
    # Name of the busiest of all other threads of Python, and its processor time.
    other: str
    most: float
    # How often the lock was probed, and how often it was held; 0 for a library without one.
    looks: int
    held: int


class Looker(threading.Thread):
    """Thread that repeatedly tries to acquire a lock without waiting, and counts how often another thread held it."""

    def __init__(self, lock: Any) -> None:
        super().__init__(name="looker", daemon=True)
        self._lock, self._ended = lock, threading.Event()
        self.looks = self.held = 0

    def run(self) -> None:
        """Probe the lock until `end` is called."""
        while not self._ended.wait(_LOOK_EVERY):
            self.looks += 1
            if self._lock.acquire(False):
                self._lock.release()
            else:
                self.held += 1

    def end(self) -> None:
        """Stop probing, and wait for the thread to end."""
        self._ended.set()
        self.join()


def look(name: str, archive: Path, reads: Sequence[Read], expected: Mapping[str, Expected], workers: int) -> Waits:
    """Read once with several threads, each with its own reader, and observe them meanwhile.

    Raises
    ------
    AssertionError
        If a value that was read is wrong.
    """
    backend, start = load_format(name), threading.Barrier(workers + 1)

    def work(share: Sequence[Read]) -> tuple[int, list[np.ndarray]]:
        with backend.reader(archive) as reader:
            start.wait()
            before = time.thread_time_ns()
            results = [reader.read(read.path, read.selection) for read in share]
            return time.thread_time_ns() - before, results

    looker = Looker(LOCKS[name][1]) if name in LOCKS else None
    with ThreadPoolExecutor(workers) as pool:
        given = shares(reads, workers)
        futures = [pool.submit(work, share) for share in given]
        before = _thread_times()
        start.wait(timeout=60)
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        if looker:
            looker.start()
        wait(futures)
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        if looker:
            looker.end()
        others = {key: spent - before.get(key, 0) for key, spent in _thread_times().items() if "Pool" not in key[0]}
    done = [future.result() for future in futures]
    for share, (_, results) in zip(given, done, strict=True):
        for read, result in zip(share, results, strict=True):
            problem = check(result, expected[read_id(read)])
            assert not problem, problem
    (other, _), most = max(others.items(), key=lambda item: item[1], default=(("", 0), 0))
    held = (looker.looks, looker.held) if looker else (0, 0)
    return Waits(wall / 1e9, cpu / 1e9, sum(used for used, _ in done) / 1e9, other, most / 1e9, *held)


def _thread_times() -> dict[tuple[str, int], int]:
    """Return the processor time so far, in nanoseconds, of every thread of Python but this one, by name and number."""
    found = {}
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.ident is not None and thread.is_alive():
            clock = time.pthread_getcpuclockid(thread.ident)
            found[thread.name, thread.ident] = time.clock_gettime_ns(clock)
    return found


def looks(folder: Path, name: str, n_res: int, workers: int, rounds: int = _ROUNDS) -> list[Waits]:
    """Write a trace in a format, and observe threads that read windows of it together; discard the first round."""
    backend, raw = load_format(name), folder / "t.raw"
    path = folder / f"t{backend.suffix}"
    trace = open_trace(_TRACE, n_res)
    manifest = write_archive(trace, load_format("raw"), raw)
    if path != raw:
        write_archive(trace, backend, path)
    paths = [spec.path for spec in manifest.with_role(Role.ATTENTION)]
    reads = window_reads([manifest[path] for path in paths], _WINDOWS, 32, np.random.default_rng(0))
    expected = expectations(raw, manifest, reads)
    return [look(name, path, reads, expected, workers) for _ in range(rounds + 1)][1:]


def line(name: str, found: Sequence[Waits]) -> str:
    """Return a line of text with the observations of a format, pooled over rounds."""
    cpu = sum(each.cpu for each in found)
    said = [f"{cpu / sum(each.wall for each in found):.2f} cores at work"]
    said.append(f"{sum(each.readers for each in found) / cpu:.0%} of it in the reading threads")
    if found[0].other and (most := sum(each.most for each in found) / cpu) > 0.01:
        said.append(f"{most:.0%} in {found[0].other}")
    if looked := sum(each.looks for each in found):
        said.append(f"{LOCKS[name][0]} held in {sum(each.held for each in found) / looked:.0%} of {looked} looks")
    return f"{name}: {', '.join(said)}"


def main() -> int:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--residues", type=int, default=256)
    parser.add_argument("--threads", type=int, default=8)
    asked = parser.parse_args()
    print(f"the interpreter's lock is {'on' if interpreter_lock() else 'off'}")
    for name in FORMATS:
        with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as folder:
            print(line(name, looks(Path(folder), name, asked.residues, asked.threads)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
