"""Write tasks of a worker process: write an archive from a source, verify it, and measure time, size and memory."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.formats.archive import archive_size, remove, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import Format, Profile
from harness.formats.describing import Opened, ShowsStorage
from harness.formats.seal import read_seal
from harness.sampling.counters import peak_rss, reset_peak_rss
from harness.sampling.sample import Clock
from harness.sampling.self_test import rehearsed
from harness.sampling.verify import is_bfloat16
from harness.sampling.worker import Children
from harness.trace.first_layers import first_layers
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, Trace, TraceView


class Stopwatch:
    """Adds up the nanoseconds of `clock` spent inside its ``with`` blocks."""

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._clock = clock
        self._nanoseconds = self._start = 0

    @property
    def seconds(self) -> float:
        """Time so far, in seconds."""
        return self._nanoseconds / 1e9

    def __enter__(self) -> Stopwatch:
        self._start = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._nanoseconds += self._clock() - self._start


@dataclass(frozen=True, kw_only=True)
class Written:
    """Result of writing an archive."""

    manifest: Manifest  # With the digest of every tensor as it came from the source.
    seconds: float  # Time inside the format's writer.
    sync_seconds: float  # Additional time until the bytes were on disk.
    # Bytes and number of files of the archive.
    size_bytes: int
    files: int
    # Bytes of its tensors as arrays, and with 2 bytes for each value of a tensor that is exactly bfloat16.
    memory_bytes: int
    native_bytes: int
    peak_rss_bytes: int | None  # Peak resident size while writing.
    sha256: str  # The archive's seal: SHA-256 over every byte of it, in hexadecimal.
    problem: str  # First problem of the archive, such as from `verify_archive`; empty if there is none.
    # What a reader reports about the first tensor of each role, by path; only of archives that are kept.
    opened: dict[str, Opened] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WriteTask:
    """Write an archive, verify it, and return a `Written`.

    Attributes
    ----------
    backend : str
        The format.
    profile : Profile
        Settings of the format.
    source : str, MemoryTrace or Path
        The trace: as ``NAME[:key=value,...]``, as an object, or as the path of a raw archive.
    n_res : int or None
        Sequence length, for a trace that can be generated in any length.
    layers : int or None
        Number of first layers to write; None for all.
    tensors : tuple of (str, str) or None
        Names to write, each with the tensor that provides its values; None for all tensors unchanged.
    bfloat16 : frozenset of str
        Paths of the source tensors that are exactly bfloat16.
    destination : Path
        Path of the archive.
    keep : bool
        Whether to keep the archive.
    """

    pausable: ClassVar[bool] = True

    backend: str
    profile: Profile
    source: str | MemoryTrace | Path
    n_res: int | None = None
    layers: int | None = None
    tensors: tuple[tuple[str, str], ...] | None = None
    bfloat16: frozenset[str] = frozenset()
    destination: Path
    keep: bool = False

    @property
    def discarded(self) -> WriteTask:
        """The same task, without keeping the archive."""
        return replace(self, keep=False)

    def run(self, children: Children) -> Written:
        """Write, sync and verify; times only the calls of the format's writer and, separately, the sync."""
        backend = rehearsed(self.backend, self.profile).format
        trace, bfloat16 = _trace(self.source, self.n_res), self.bfloat16
        if self.layers is not None:
            trace = first_layers(trace, self.layers)
        if self.tensors is not None:
            trace = _view(trace, dict(self.tensors))
            bfloat16 = frozenset(name for name, source in self.tensors if source in bfloat16)
        writing, syncing = Stopwatch(), Stopwatch()
        reset_peak_rss()
        manifest = write_archive(
            trace, backend, self.destination, self.profile, stopwatch=writing, sync_stopwatch=syncing
        )
        found = written(
            self.destination,
            backend,
            manifest,
            seconds=writing.seconds,
            sync_seconds=syncing.seconds,
            bfloat16=bfloat16,
        )
        if not self.keep:
            remove(self.destination)
            return found
        return found if found.problem else replace(found, opened=_opened(self.destination, backend, manifest))


def written(
    archive: Path,
    backend: Format,
    manifest: Manifest,
    *,
    seconds: float,
    sync_seconds: float,
    bfloat16: Collection[str],
    problems: Sequence[str] = (),
) -> Written:
    """Verify and measure an archive that has just been written; the peak memory is that until the call.

    Parameters
    ----------
    archive : Path
        The complete, sealed archive.
    backend : Format
        Its format.
    manifest : Manifest
        Its manifest, as written.
    seconds, sync_seconds : float
        Time of writing, and of the sync to disk.
    bfloat16 : collection of str
        Paths of the tensors that are exactly bfloat16.
    problems : sequence of str
        Known problems of the archive.
    """
    peak = peak_rss()
    problems = [*problems, *verify_archive(archive, backend, own=True)]
    size, files = archive_size(archive)
    return Written(
        manifest=manifest,
        seconds=seconds,
        sync_seconds=sync_seconds,
        size_bytes=size,
        files=files,
        memory_bytes=manifest.nbytes,
        native_bytes=native_bytes(manifest, bfloat16),
        peak_rss_bytes=peak,
        sha256=read_seal(archive),
        problem=problems[0] if problems else "",
    )


def _opened(archive: Path, backend: Format, manifest: Manifest) -> dict[str, Opened]:
    """Return how the first tensor of each role is stored and read, from a separate reader."""
    with backend.reader(archive) as reader:
        if not isinstance(reader, ShowsStorage):
            return {}
        return {spec.path: reader.opened(spec.path) for spec in manifest.examples().values()}


def native_bytes(manifest: Manifest, bfloat16: Collection[str]) -> int:
    """Return the bytes of a trace if each value of tensors that are exactly bfloat16 takes 2 bytes."""
    return sum(spec.nbytes // 2 if spec.path in bfloat16 else spec.nbytes for spec in manifest.tensors)


def _trace(source: str | MemoryTrace | Path, n_res: int | None) -> Trace:
    if isinstance(source, Path):
        return ArchiveTrace(source)
    return open_trace(source, n_res) if isinstance(source, str) else source


def _view(trace: Trace, names: Mapping[str, str]) -> Trace:
    specs = {}
    for name, source in names.items():
        found = trace.manifest[source]
        specs[replace(found, path=name)] = source
    return TraceView(trace, specs)


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """Find the tensors of a raw archive that are exactly bfloat16."""

    archive: Path

    def run(self, children: Children) -> frozenset[str]:
        """Return their paths."""
        trace = ArchiveTrace(self.archive)
        floats = [spec.path for spec in trace.manifest.tensors if spec.dtype == np.dtype(np.float32).name]
        return frozenset(path for path in floats if is_bfloat16(trace.blocks(path)))
