"""Cost of a live capture compared with the bare model: time in interleaved rounds, peak memory in fresh processes."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.extensions.capture.inputs import Query
from harness.extensions.capture.models import evoformer
from harness.extensions.capture.plan import CaptureSettings, layer_bytes
from harness.extensions.capture.session import BUFFERED_LAYERS, Destination, Push, record
from harness.formats.archive import remove, write_archive
from harness.formats.base import load_format
from harness.sampling.counters import peak_rss, reset_peak_rss
from harness.trace.stream import MemoryTrace

if TYPE_CHECKING:
    from harness.extensions.capture.evoformer import PreparedEvoformer

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
FORMATS = ("npz", "hdf5", "zarr", "zarr-slim")
ARMS = ("bare", "hooks", "collect", *(f"stream {name}" for name in FORMATS))
COLLECTED = "hdf5"  # the format in which the arm ``collect`` writes at the end
TIME_GOAL, MEMORY_GOAL = 1.05, 2.0


@dataclass(frozen=True)
class Times:
    """Seconds of one run: of the model, until everything is on disk, and of processor time of all threads together."""

    model: float
    disk: float
    cpu: float


@dataclass(frozen=True)
class Size:
    """Size of the computation: blocks in one pass; copies of ubiquitin in one chain; rows of the alignment."""

    blocks: int
    copies: int
    rows: int


class _Timed:
    """A model whose run is timed separately from the work of the writers after it."""

    def __init__(self, model: PreparedEvoformer) -> None:
        self.model, self.manifest, self.seconds = model, model.manifest, 0.0

    def run(self, push: Push) -> None:
        start = time.perf_counter()
        self.model.run(push)
        self.seconds = time.perf_counter() - start


def prepare(size: Size) -> PreparedEvoformer:
    """Prepare the Evoformer on copies of ubiquitin, with every kind of attention that is kept by default."""
    sequence = UBIQUITIN * size.copies
    row = np.frombuffer(sequence.encode(), np.uint8)
    msa = np.tile(row, (size.rows, 1))
    query = Query(name="ubiquitin", sequence=sequence, msa=msa, deletions=np.zeros(msa.shape, np.int32), files=())
    settings = CaptureSettings(blocks=size.blocks, recycles=0, msa_depth=size.rows, attention=evoformer.attention)
    return evoformer.open(settings, query)  # type: ignore[return-value]


def run_arm(arm: str, model: PreparedEvoformer, folder: Path) -> Times:
    """Run the model once as an arm does, and return its times."""
    timed = _Timed(model)
    start, cpu = time.perf_counter(), time.process_time()
    if arm == "bare":
        model.compute()
        timed.seconds = time.perf_counter() - start
    elif arm == "hooks":
        timed.run(lambda path, array: None)
    elif arm == "collect":
        found: dict[str, np.ndarray] = {}
        timed.run(found.__setitem__)
        path = folder / f"collected{load_format(COLLECTED).suffix}"
        write_archive(MemoryTrace("collected", model.manifest, found), load_format(COLLECTED), path)
        remove(path)
    else:
        backend = load_format(arm.removeprefix("stream "))
        path = folder / f"streamed{backend.suffix}"
        record(timed, [Destination(backend, path)])  # type: ignore[arg-type]
        remove(path)
    return Times(timed.seconds, time.perf_counter() - start, time.process_time() - cpu)


def measure_times(size: Size, rounds: int, folder: Path) -> dict[str, list[Times]]:
    """Run every arm once per round, in a new random order each round; discard the first round."""
    model = prepare(size)
    rng = np.random.default_rng(0)
    found: dict[str, list[Times]] = {arm: [] for arm in ARMS}
    for number in range(rounds + 1):
        for arm in rng.permutation(ARMS):
            gc.collect()
            times = run_arm(str(arm), model, folder)
            if number:
                found[str(arm)].append(times)
                print(f"round {number} {arm}: {times}", flush=True)
    return found


def measure_memory(arm: str, size: Size, folder: Path) -> int:
    """Return the peak resident bytes of one arm; to be called in its own process."""
    model = prepare(size)
    small = prepare(Size(1, 1, 1))
    for warmed in ARMS:  # load libraries and their buffers before anything is counted
        run_arm(warmed, small, folder)
    model.compute()
    gc.collect()
    reset_peak_rss()
    run_arm(arm, model, folder)
    return int(peak_rss() or 0)


# With this, large blocks come from the system and return to it at once, so that the peak is the memory in use and not
# what the allocator kept. The allocator reads it when a process starts.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def _in_fresh_process(arm: str, size: Size, folder: Path) -> int:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_memory, arm, size, folder).result()


def _ratio(times: dict[str, list[Times]], arm: str, pick: Callable[[Times], float]) -> float:
    return statistics.median(pick(a) / pick(b) for a, b in zip(times[arm], times["hooks"], strict=True))


def report_times(times: dict[str, list[Times]]) -> bool:
    """Print medians, and medians of ratios to the arm ``hooks`` paired by round; return whether the goal is met."""
    columns: tuple[Callable[[Times], float], ...] = (lambda t: t.model, lambda t: t.disk, lambda t: t.cpu)
    print(f"{'':18}" + "".join(f"{name:>11}{'to hooks':>10}" for name in ("model s", "on disk s", "cpu s")))
    for arm, runs in times.items():
        cells = [f"{statistics.median(map(pick, runs)):11.2f}{_ratio(times, arm, pick):10.3f}" for pick in columns]
        print(f"{arm:18}" + "".join(cells))
    best = min(_ratio(times, arm, columns[0]) for arm in ARMS if arm.startswith("stream"))
    print(f"{'met   ' if best <= TIME_GOAL else 'MISSED'} model while streaming over hooks, best format: {best:.3f}")
    return best <= TIME_GOAL


def report_memory(size: Size, folder: Path) -> bool:
    """Print peak memory beyond the arm ``hooks``, in layers; return whether the goal is met."""
    layer = layer_bytes(prepare(size).manifest.tensors)
    os.environ.update(_ALLOCATOR)
    peaks = {arm: _in_fresh_process(arm, size, folder) for arm in ARMS}
    print(f"one layer: {layer:,} bytes; at most {BUFFERED_LAYERS} held; {size.blocks} blocks")
    met = True
    for arm, peak in peaks.items():
        beyond = (peak - peaks["hooks"]) / layer
        good = not arm.startswith("stream") or beyond <= MEMORY_GOAL
        met = met and good
        print(f"{'' if good else 'MISSED '}{arm:20} peak {peak / 1e6:9.1f} MB, {beyond:7.2f} layers beyond the hooks")
    return met


def main() -> int:
    """Print the measurements; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=48)
    parser.add_argument("--copies", type=int, default=1, help="of ubiquitin's 76 residues, for times")
    parser.add_argument("--memory-copies", type=int, default=2, help="the same for memory")
    parser.add_argument("--rows", type=int, default=32, help="of the alignment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("time", "memory"))
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory(dir=".", prefix=".capture-cost-") as name:
        if options.only != "memory":
            size = Size(options.blocks, options.copies, options.rows)
            met = report_times(measure_times(size, options.rounds, Path(name)))
        if options.only != "time":
            met = report_memory(Size(options.blocks, options.memory_copies, 4), Path(name)) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
