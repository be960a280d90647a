"""Reads of the suites as asv benchmarks: the same plans, the same verified sample."""

from __future__ import annotations

import tempfile
from pathlib import Path

import harness.backends.archive as _archive
import harness.backends.base as _base
import harness.measure.sample as _sample
import harness.measure.schedule as _schedule
import harness.measure.verify as _verify
import harness.registry as _registry
import harness.trace.sources as _sources
import harness.workload as _workload

# Modules are imported under private names because asv takes every public class of a benchmark file for a benchmark.

_FORMATS = ["npz", "hdf5", "zarr", "zarr-slim"]
_CASES = ["full_read/all_tensors", "layer_read/attention_layer", "layer_read/head", "layer_read/pair_layer"]
_TRACE = "synthetic:layers=2"
_N_RES = 64


class Reads:
    """Warm reads of a small protein-like trace, by format and case."""

    version = "1"
    param_names = ("format", "case")
    params = (_FORMATS, _CASES)
    timeout = 300

    def setup_cache(self) -> str:
        """Write the archives once; returns their folder."""
        folder = Path(tempfile.mkdtemp(prefix="harness-asv-"))
        trace = _sources.open_trace(_TRACE, _N_RES)
        for name in ["raw", *_FORMATS]:
            backend = _base.load_backend(name)
            _archive.write_archive(trace, backend, folder / f"trace{backend.suffix}")
        return str(folder)

    def setup(self, folder: str, name: str, case: str) -> None:
        """Plan the case as a run with seed 0 would."""
        suite_name, _, access_name = case.partition("/")
        raw = Path(folder) / "trace.raw"
        with _archive.open_archive(raw) as (_, _, manifest):
            pass
        suite: _workload.Suite = _registry.load("suites", suite_name)
        rng = _schedule.generator(0, suite.name, _TRACE, _N_RES)
        plan = suite.plan(manifest, rng, _workload.PlanOptions())
        self._access = next(a for a in plan if a.name == access_name and isinstance(a, _workload.ReadAccess))
        self._backend = _base.load_backend(name)
        self._path = Path(folder) / f"trace{self._backend.suffix}"
        self._expected = _verify.expectations(raw, manifest, self._access.reads)
        self._take()

    def _take(self) -> _sample.Reading:
        reading = _sample.take(self._backend, self._path, self._access.reads, self._expected)
        if reading.problem:
            raise AssertionError(reading.problem)
        return reading

    def track_read(self, folder: str, name: str, case: str) -> float:
        """Median seconds of nine verified samples, opening not included."""
        times = sorted(self._take().seconds for _ in range(9))
        return times[len(times) // 2]

    track_read.unit = "seconds"  # type: ignore[attr-defined]

    def track_bytes_read(self, folder: str, name: str, case: str) -> float:
        """Bytes that one sample's read calls moved."""
        return float(self._take().bytes_read or 0)

    track_bytes_read.unit = "bytes"  # type: ignore[attr-defined]


class Sizes:
    """Archive sizes of the same trace."""

    version = "1"
    param_names = ("format",)
    params = (_FORMATS,)
    timeout = 300

    def setup_cache(self) -> dict[str, int]:
        """Write every archive and measure it."""
        sizes = {}
        with tempfile.TemporaryDirectory() as folder:
            for name in _FORMATS:
                backend = _base.load_backend(name)
                path = Path(folder) / f"trace{backend.suffix}"
                _archive.write_archive(_sources.open_trace(_TRACE, _N_RES), backend, path)
                sizes[name] = _archive.archive_size(path)[0]
        return sizes

    def track_size(self, sizes: dict[str, int], name: str) -> float:
        """Bytes of all files of the archive."""
        return float(sizes[name])

    track_size.unit = "bytes"  # type: ignore[attr-defined]
