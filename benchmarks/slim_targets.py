"""The goals of slimmed Zarr, each the median of ratios of reads that were taken in turn."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.analysis.statistics import Interval, compare, median_interval
from harness.errors import UsageError
from harness.formats.archive import archive_size, remove, write_archive
from harness.formats.base import Format, Layout, Profile, load_format
from harness.formats.hdf5 import Hdf5Format
from harness.formats.layout import MATCHED_CODEC
from harness.sampling.cache import chill
from harness.sampling.sample import take
from harness.sampling.verify import expectations
from harness.sampling.writing import Stopwatch
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.trace.sources import open_trace
from harness.trace.stream import TraceView
from harness.workload import Read, window_reads

_ROUNDS = 30
_SOURCE, _N_RES = "synthetic:layers=1", 256


@dataclass(frozen=True, kw_only=True)
class FoundSizes:
    """A goal and what was measured.

    Attributes
    ----------
    text : str
        What was measured, of what.
    goal : float
        The least that is wanted, or the most.
    value : float
        What was found.
    interval : Interval or None
        Of a median over rounds; None for a figure without chance.
    at_most : bool
        Whether the goal is the most that is wanted.
    """

    text: str
    goal: float
    value: float
    interval: Interval | None = None
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def __str__(self) -> str:
        spread = f" [{self.interval.low:.4g}, {self.interval.high:.4g}]" if self.interval else ""
        side = "at most" if self.at_most else "at least"
        return f"{'met   ' if self.met else 'MISSED'}  {self.value:9.4g}{spread:20}  {self.text} ({side} {self.goal:g})"


class _SameChunks(Hdf5Format):
    """HDF5 with Blosc's zstd, level 3, at the chunks of zarr-slim: only the codec and the container differ."""

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        layout = load_format("zarr-slim").layout(spec, profile)
        return dataclasses.replace(layout, codec=MATCHED_CODEC) if spec.shape else layout


def _accesses(manifest: Manifest) -> Mapping[str, tuple[Read, ...]]:
    pair, attention = manifest.with_role(Role.PAIR)[0], manifest.with_role(Role.ATTENTION)[0]
    rng = np.random.default_rng(0)
    head = (slice(2, 3), *(slice(0, n) for n in attention.shape[1:]))
    return {
        "pair layer": (Read(path=pair.path),),
        "one head": (Read(path=attention.path, selection=head),),
        "pair windows": window_reads([pair], 20, 32, rng),
        "attention windows": window_reads([attention], 20, 32, rng),
    }


def _times(
    arms: Mapping[str, tuple[Format, Path]], raw: Path, manifest: Manifest, accesses: Iterable[str], cold: bool
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Yield the seconds of each access in every arm, all arms in each round and in turning order."""
    names = list(arms)
    for access in accesses:
        reads = _accesses(manifest)[access]
        expected = expectations(raw, manifest, reads)
        times: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(_ROUNDS):
            for name in (names[number % len(names) :] + names)[: len(names)]:
                if cold:
                    chill(arms[name][1])
                times[name].append(take(*arms[name], reads, expected).seconds)
        yield access, times


# Ratio of the first arm's time over the second's, at least.
_COLD: tuple[tuple[str, str, str, float], ...] = (("pair layer", "raw", "zarr-slim-fast", 1.0),)
_WARM: tuple[tuple[str, str, str, float], ...] = (
    ("pair layer", "hdf5 zstd-3", "zarr-slim", 1.5),
    ("pair windows", "hdf5 zstd-3", "zarr-slim", 1.0),
    ("attention windows", "hdf5 zstd-3", "zarr-slim", 1.0),
    ("one head", "hdf5 zstd-3", "zarr-slim", 1.0),
    ("pair layer", "zarr (seed)", "zarr-slim", 3.0),
    ("pair windows", "zarr (seed)", "zarr-slim", 2.0),
    ("one head", "zarr (seed)", "zarr-slim", 10.0),
    ("pair layer", "raw", "zarr-slim-fast", 0.5),
    ("pair windows", "hdf5 tuned", "zarr-slim-fast", 1.0),
    ("attention windows", "hdf5 tuned", "zarr-slim-fast", 1.0),
)


def read_ratios(folder: Path) -> Iterator[FoundSizes]:
    """Yield how many times faster slimmed Zarr reads than what it is compared with."""
    trace = open_trace(_SOURCE, _N_RES)
    made: dict[str, tuple[Format, Profile]] = {
        "raw": (load_format("raw"), "tuned"),
        "hdf5 tuned": (load_format("hdf5"), "tuned"),
        "hdf5 zstd-3": (_SameChunks(), "tuned"),
        "zarr (seed)": (load_format("zarr"), "seed"),
        "zarr-slim": (load_format("zarr-slim"), "tuned"),
        "zarr-slim-fast": (load_format("zarr-slim-fast"), "tuned"),
    }
    arms, manifests = {}, {}
    for number, (name, (backend, profile)) in enumerate(made.items()):
        arms[name] = backend, folder / f"slim-{number}{backend.suffix}"
        manifests[name] = write_archive(trace, backend, arms[name][1], profile)
    for goals, cold in ((_WARM, False), (_COLD, True)):
        compared = {name: arms[name] for name in arms if any(name in goal for goal in goals)}
        accesses = dict.fromkeys(access for access, *_ in goals)
        for access, times in _times(compared, arms["raw"][1], manifests["raw"], accesses, cold):
            for wanted, slow, fast, least in goals:
                if wanted == access:
                    ratio = compare(np.array(times[slow]), np.array(times[fast])).ratio
                    text = f"{access}, {'cold' if cold else 'warm'}, {slow} over {fast}"
                    yield FoundSizes(text=text, goal=least, value=ratio.median, interval=ratio)


def sizes(folder: Path) -> Iterator[FoundSizes]:
    """Yield how much smaller slimmed Zarr is, and in how many files; of real values where there are."""
    try:
        trace = open_trace("af2-1ubq", None)
    except UsageError:
        trace = open_trace(_SOURCE, _N_RES)
    pair = trace.manifest.with_role(Role.PAIR)[0]
    for name, least in (("zarr-slim", 2.9), ("zarr-slim-fast", 2.4)):
        path = folder / f"size-{name}"
        write_archive(TraceView(trace, {pair: pair.path}), load_format(name), path)
        text = f"float32 pair of {trace.label} over {name}"
        yield FoundSizes(text=text, goal=least, value=pair.nbytes / archive_size(path)[0])
    layers = open_trace("synthetic:layers=12,filled=both", 128)
    representations = {spec: spec.path for spec in layers.manifest.tensors if spec.role in (Role.PAIR, Role.SINGLE)}
    for text, both in (
        ("12 layers, both groups filled, without attention", TraceView(layers, representations)),
        ("12 layers, both groups filled, with attention", layers),
    ):
        found = {}
        for name, profile in (("zarr", "seed"), ("zarr-slim", "tuned")):
            path = folder / f"both-{name}-{len(both.manifest.tensors)}"
            write_archive(both, load_format(name), path, profile)  # type: ignore[arg-type]
            found[name] = archive_size(path)
        ratio = found["zarr"][0] / found["zarr-slim"][0]
        yield FoundSizes(text=f"{text}: zarr (seed) over zarr-slim", goal=2.2, value=ratio)
    yield FoundSizes(text="files of these 12 layers in zarr-slim", goal=40, value=found["zarr-slim"][1], at_most=True)


def write_speeds(folder: Path) -> Iterator[FoundSizes]:
    """Yield the bytes a second that the writers take, without waiting for the disk."""
    trace = open_trace(_SOURCE, 512)
    for name, least in (("zarr-slim", 250e6), ("zarr-slim-fast", 1e9)):
        speeds = []
        for number in range(7):
            writing = Stopwatch()
            path = folder / f"write-{name}-{number}"
            write_archive(trace, load_format(name), path, stopwatch=writing)
            speeds.append(trace.manifest.nbytes / writing.seconds)
            remove(path)
        interval = median_interval(np.array(speeds))
        text = f"bytes per second of writing {name}"
        yield FoundSizes(text=text, goal=least, value=interval.median, interval=interval)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as scratch:
        for measure in (sizes, read_ratios, write_speeds):
            for found in measure(Path(scratch)):
                print(found, flush=True)
