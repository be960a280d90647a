"""Cost of checkpoints: the ratio of the time of writing a trace with them to that without, for each format.

``python -m benchmarks.checkpoints [N_RES] [ROUNDS]``. Both write the same trace of twelve layers, which is held in
memory, in turn and in alternating order; the wait for the disk is excluded. Ratios are medians over the rounds, of
wall-clock time and of processor time, which other processes on the machine disturb less.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from harness import registry
from harness.formats.archive import remove, write_archive
from harness.formats.base import Format, load_format
from harness.formats.recovered import RecoverableFormat
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, Trace, read_whole


class _Pause:
    """Stopwatch that adds up the seconds within its blocks."""

    def __init__(self) -> None:
        self.seconds, self._start = 0.0, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += time.perf_counter() - self._start


def write_once(trace: Trace, backend: Format, path: Path, *, checkpoints: bool) -> tuple[float, float]:
    """Write a trace; return the seconds of wall-clock and of processor time, without the wait for the disk."""
    waiting = _Pause()
    clock, processor = time.perf_counter(), time.process_time()
    write_archive(trace, backend, path, sync_stopwatch=waiting, keep_incomplete=checkpoints)
    clock, processor = time.perf_counter() - clock - waiting.seconds, time.process_time() - processor
    remove(path)
    return clock, processor


def main(n_res: int, rounds: int) -> int:
    """Print one line per format."""
    made = open_trace("synthetic:layers=12", n_res)
    trace = MemoryTrace(
        made.label, made.manifest, {spec.path: read_whole(made, spec.path) for spec in made.manifest.tensors}
    )
    print(f"{made.label}, {n_res} residues, {made.manifest.nbytes / 1e6:.0f} MB, {rounds} rounds")
    with tempfile.TemporaryDirectory(dir=".", prefix=".checkpoints-") as name:
        for listed in registry.listing("formats"):
            if listed.missing or not issubclass(listed.plugin, RecoverableFormat):
                continue
            backend, ratios = load_format(listed.name), []
            for number in range(rounds):
                times = {}
                for on in (False, True) if number % 2 else (True, False):
                    times[on] = write_once(trace, backend, Path(name) / "archive", checkpoints=on)
                ratios.append([with_ / without for with_, without in zip(times[True], times[False], strict=True)])
            clock, processor = (statistics.median(values) for values in zip(*ratios, strict=True))
            print(f"{listed.name:16} clock {clock:.3f}  processor {processor:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    raise SystemExit(main(*(given + [128, 10][len(given) :])))
