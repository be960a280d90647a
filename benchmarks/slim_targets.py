"""Goals of slimming: sizes, and processor time through maintained readers, in interleaved rounds of one process.

``python -m benchmarks.slim_targets``. Processor time includes opening; load from other processes affects it less.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.analysis.statistics import Interval, compare
from harness.errors import UsageError
from harness.formats.archive import archive_size, remove, write_archive
from harness.formats.base import load_format
from harness.trace.manifest import Manifest
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.trace.stream import Trace, TraceView
from harness.windows import window_reads
from harness.workload import Read

_ROUNDS = 30
_SOURCE, _N_RES = "synthetic:layers=1", 256

Arm = tuple[str, str, str]
"""A format, its profile, and the reader."""

_HDF5: Arm = ("hdf5", "tuned", "h5py")
_HDF5_SLIM: Arm = ("hdf5-slim", "tuned", "h5py")
_RAW: Arm = ("raw", "tuned", "")
_READERS = ("zarr-python", "zarrs", "tensorstore")
_FAST: tuple[Arm, ...] = tuple(("zarr-slim", "fast", reader) for reader in _READERS)


@dataclass(frozen=True, kw_only=True)
class FoundSizes:
    """A goal and its measured value."""

    text: str  # What was measured, of what.
    goal: float  # The smallest or the largest value that meets the goal.
    value: float  # The measured value.
    interval: Interval | None = None  # Interval of a median over rounds; None for a figure without chance.
    at_most: bool = False  # Whether the goal is the largest value that meets it.

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def __str__(self) -> str:
        spread = f" [{self.interval.low:.3g}, {self.interval.high:.3g}]" if self.interval else ""
        side = "at most" if self.at_most else "at least"
        return f"{'met   ' if self.met else 'MISSED'}  {self.value:6.3g}{spread:16}  {self.text} ({side} {self.goal:g})"


def sizes(folder: Path) -> Iterator[FoundSizes]:
    """Yield how many times smaller than float32 complete archives are, for real values that are installed."""
    for name, role, profile, least in (
        ("af2-1ubq", Role.PAIR, "tuned", 2.90),
        ("af2-1ubq", Role.PAIR, "cold", 2.98),
        ("vit-mnist", Role.ATTENTION, "cold", 1.27),
        ("antiberty", Role.ATTENTION, "cold", 1.25),
    ):
        try:
            trace = open_trace(name, None)
        except UsageError as error:
            print(f"not measured: {error}", flush=True)
            continue
        kept = trace.manifest.with_role(role)
        path = folder / f"size-{name}-{profile}"
        write_archive(TraceView(trace, {spec: spec.path for spec in kept}), load_format("zarr-slim"), path, profile)
        ratio = sum(spec.nbytes for spec in kept) / archive_size(path)[0]
        yield FoundSizes(
            text=f"float32 {role.value} of {name} over zarr-slim {profile}", goal=least, value=ratio, at_most=False
        )


def _accesses(manifest: Manifest) -> dict[str, Sequence[Read]]:
    pair, attention = manifest.with_role(Role.PAIR)[0], manifest.with_role(Role.ATTENTION)[0]
    head = (slice(2, 3), *(slice(0, n) for n in attention.shape[1:]))
    return {
        "layer": (Read(path=pair.path),),
        "head": (Read(path=attention.path, selection=head),),
        "windows": window_reads([pair], 50, 32, np.random.default_rng(0)),
    }


def _goals() -> Iterator[tuple[str, Sequence[Arm], Arm, float]]:
    """Yield an access, contenders of which the fastest counts, the arm to compare them with, and the largest ratio."""
    for reader, layer, windows in zip(_READERS, (1.0, 1.1, 0.8), (1.0, 0.7, 0.7), strict=True):
        yield "layer", [("zarr-slim", "fast", reader)], ("zarr", "tuned", reader), layer
        yield "windows", [("zarr-slim", "fast", reader)], ("zarr", "tuned", reader), windows
    for access, most in (("layer", 0.8), ("windows", 1.0), ("head", 1.0)):
        yield access, _FAST, _HDF5, most
    yield "windows", _FAST, _HDF5_SLIM, 1.2
    yield "layer", _FAST, _RAW, 2.0


def reading(folder: Path) -> Iterator[FoundSizes]:
    """Yield the ratio of slimmed Zarr's processor time to that of the compared arm, both from a closed archive."""
    trace, goals = open_trace(_SOURCE, _N_RES), list(_goals())
    arms = list(dict.fromkeys(arm for _, these, other, _ in goals for arm in (*these, other)))
    paths: dict[tuple[str, str], Path] = {}
    for name, profile, _ in arms:
        if (name, profile) not in paths:
            paths[name, profile] = folder / f"read-{name}-{profile}{load_format(name).suffix}"
            write_archive(trace, load_format(name), paths[name, profile], profile)
    for access, reads in _accesses(trace.manifest).items():
        wanted = [arm for arm in arms if any(a == access and arm in (*these, other) for a, these, other, _ in goals)]
        times = _times({arm: _reader_of(arm, paths[arm[:2]], reads) for arm in wanted})
        for _, these, other, most in (goal for goal in goals if goal[0] == access):
            best = min(these, key=lambda arm: float(np.median(times[arm])))
            ratio = compare(times[best], times[other]).ratio
            text = f"{access}: {' '.join(best)} over {' '.join(other)}"
            yield FoundSizes(text=text, goal=most, value=ratio.median, interval=ratio, at_most=True)


def _reader_of(arm: Arm, path: Path, reads: Sequence[Read]) -> Callable[[], object]:
    backend = load_format(arm[0])

    def read() -> None:
        with backend.reader(path, arm[2]) as reader:
            for each in reads:
                reader.read(each.path, each.selection)

    return read


def _times(doing: dict[Arm, Callable[[], object]]) -> dict[Arm, np.ndarray]:
    """Return the seconds of processor time of each arm by round; each round runs all arms, in rotating order."""
    names = list(doing)
    found: dict[Arm, list[float]] = {name: [] for name in names}
    for number in range(-1, _ROUNDS):  # the first is discarded
        for name in (names[number % len(names) :] + names)[: len(names)]:
            before = time.process_time()
            doing[name]()
            if number >= 0:
                found[name].append(time.process_time() - before)
    return {name: np.array(values) for name, values in found.items()}


def writing(folder: Path) -> Iterator[FoundSizes]:
    """Yield the ratio of the processor time of writing a pair layer to that of HDF5."""
    whole = open_trace(_SOURCE, _N_RES)
    pair = whole.manifest.with_role(Role.PAIR)[0]
    trace = TraceView(whole, {pair: pair.path})
    arms = {("zarr-slim", profile, ""): most for profile, most in (("fast", 0.8), ("tuned", 1.5))}
    times = _times({arm: _writer_of(arm, folder, trace) for arm in (*arms, _HDF5)})
    for arm, most in arms.items():
        ratio = compare(times[arm], times[_HDF5]).ratio
        yield FoundSizes(
            text=f"writing: {' '.join(arm)}over hdf5", goal=most, value=ratio.median, interval=ratio, at_most=True
        )


def _writer_of(arm: Arm, folder: Path, trace: Trace) -> Callable[[], object]:
    def write() -> None:
        path = folder / f"write-{arm[0]}-{arm[1]}"
        write_archive(trace, load_format(arm[0]), path, arm[1])
        remove(path)

    return write


if __name__ == "__main__":
    os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:1]))  # one processor, before a library starts threads
    with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as scratch:
        for measure in (sizes, reading, writing):
            for found in measure(Path(scratch)):
                print(found, flush=True)
