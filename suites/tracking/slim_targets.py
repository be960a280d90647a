"""The goals of slimmed Zarr, each the median of ratios of reads that were taken in turn."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from harness.backends.archive import archive_size, write_archive
from harness.backends.base import Backend, Layout, Profile, load_backend
from harness.backends.hdf5 import Hdf5Backend
from harness.backends.matched import MATCHED_CODEC
from harness.errors import UsageError
from harness.measure.sample import take
from harness.measure.tasks import Stopwatch
from harness.measure.verify import expectations
from harness.trace.schema import Manifest, Role, TensorSpec
from harness.trace.sources import open_trace
from harness.trace.stream import TraceView
from harness.workload import Read, window_reads

_ROUNDS = 30
_SOURCE, _N_RES = "synthetic:layers=1", 256

Ratios = list[tuple[str, float, float]]
"""What was compared, the least that is wanted, and what was found."""


class _SameChunks(Hdf5Backend):
    """HDF5 with Blosc's zstd, level 3, at the chunks of zarr-slim: only the codec and the container differ."""

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        layout = load_backend("zarr-slim").layout(spec, profile)
        return dataclasses.replace(layout, codec=MATCHED_CODEC) if spec.shape else layout


def _accesses(manifest: Manifest) -> Mapping[str, tuple[Read, ...]]:
    pair, attention = manifest.with_role(Role.PAIR)[0], manifest.with_role(Role.ATTENTION)[0]
    rng = np.random.default_rng(0)
    head = (slice(2, 3), *(slice(0, n) for n in attention.shape[1:]))
    return {
        "pair layer": (Read(path=pair.path),),
        "one head": (Read(path=attention.path, selection=head),),
        "pair windows": window_reads(manifest, [pair.path], 20, 32, rng),
        "attention windows": window_reads(manifest, [attention.path], 20, 32, rng),
    }


def _times(
    arms: Mapping[str, tuple[Backend, Path]], raw: Path, manifest: Manifest
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Yield the seconds of each access in every arm, all arms in each round and in turning order."""
    names = list(arms)
    for access, reads in _accesses(manifest).items():
        expected = expectations(raw, manifest, reads)
        times: dict[str, list[float]] = {name: [] for name in arms}
        for number in range(_ROUNDS):
            for name in (names[number % len(names) :] + names)[: len(names)]:
                times[name].append(take(*arms[name], reads, expected).seconds)
        yield access, times


# Ratio of the first arm's time over the second's, at least.
_GOALS: tuple[tuple[str, str, str, float], ...] = (
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


def read_ratios(folder: Path) -> Ratios:
    """Return how many times faster slimmed Zarr reads than what it is compared with, warm."""
    trace = open_trace(_SOURCE, _N_RES)
    made: dict[str, tuple[Backend, Profile]] = {
        "raw": (load_backend("raw"), "tuned"),
        "hdf5 tuned": (load_backend("hdf5"), "tuned"),
        "hdf5 zstd-3": (_SameChunks(), "tuned"),
        "zarr (seed)": (load_backend("zarr"), "seed"),
        "zarr-slim": (load_backend("zarr-slim"), "tuned"),
        "zarr-slim-fast": (load_backend("zarr-slim-fast"), "tuned"),
    }
    arms, manifests = {}, {}
    for number, (name, (backend, profile)) in enumerate(made.items()):
        arms[name] = backend, folder / f"slim-{number}{backend.suffix}"
        manifests[name] = write_archive(trace, backend, arms[name][1], profile)
    found: Ratios = []
    for access, times in _times(arms, arms["raw"][1], manifests["raw"]):
        for wanted, slow, fast, least in _GOALS:
            if wanted == access:
                ratio = statistics.median(a / b for a, b in zip(times[slow], times[fast], strict=True))
                found.append((f"{access}, {slow} over {fast}", least, ratio))
    return found


def size_ratios(folder: Path) -> Ratios:
    """Return the size of a pair tensor as float32 over that of an archive of it alone, of a real one where there is."""
    found: Ratios = []
    try:
        trace = open_trace("af2-1ubq", None)
    except UsageError:
        trace = open_trace(_SOURCE, _N_RES)
    pair = trace.manifest.with_role(Role.PAIR)[0]
    for name, least in (("zarr-slim", 2.9), ("zarr-slim-fast", 2.4)):
        path = folder / f"size-{name}"
        write_archive(TraceView(trace, {pair: pair.path}), load_backend(name), path)
        found.append((f"float32 pair of {trace.label} over {name}", least, pair.nbytes / archive_size(path)[0]))
    return found


def write_speeds(folder: Path) -> Ratios:
    """Return the bytes a second that the writers take, without waiting for the disk."""
    found: Ratios = []
    trace = open_trace(_SOURCE, 512)
    for name, least in (("zarr-slim", 250e6), ("zarr-slim-fast", 1e9)):
        speeds = []
        for number in range(3):
            writing = Stopwatch()
            path = folder / f"write-{name}-{number}"
            write_archive(trace, load_backend(name), path, stopwatch=writing)
            speeds.append(trace.manifest.nbytes / writing.seconds)
        found.append((f"bytes per second of writing {name}", least, statistics.median(speeds)))
    return found
