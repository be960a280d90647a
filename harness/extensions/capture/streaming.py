"""Write layers while they are produced: how long a captured model has to wait, format by format.

A stand-in replaces the model, so that every format has the same producer on any machine. It pushes the layers of a
trace in memory, each as a fresh copy as hooks make them, and computes before each layer.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.extensions.capture.session import Destination, PreparedModel, Push, record
from harness.formats.archive import remove
from harness.formats.archive_trace import ArchiveTrace
from harness.sampling.counters import reset_peak_rss
from harness.sampling.sample import without_collection
from harness.sampling.self_test import rehearsed
from harness.sampling.worker import Children
from harness.sampling.writing import WriteTask, Written, written
from harness.trace.manifest import Manifest
from harness.trace.stream import MemoryTrace, TraceView, read_whole

CHANNELS = 128
"""Width of the pair representation of AlphaFold 2."""


class StandIn(PreparedModel):
    """Stand-in for a model: pushes the tensors of a trace in memory, layer by layer.

    Before each layer it computes one gated projection of a pair representation with as many values as the largest layer
    (AlphaFold 2, supplementary information, algorithm 11, its last two lines), on the threads that numpy uses. Blocks
    of real models compute far more for each kept value.

    Parameters
    ----------
    trace : MemoryTrace
        Trace to push.

    Attributes
    ----------
    seconds : float
        Time until the last tensor was pushed, in the last run.
    """

    def __init__(self, trace: MemoryTrace) -> None:
        self.manifest = trace.manifest
        self.seconds = 0.0
        layers = itertools.groupby(trace.manifest.tensors, key=lambda spec: spec.layer)  # split where the layer changes
        self._layers = [[(spec, read_whole(trace, spec.path)) for spec in specs] for _, specs in layers]
        largest = max(sum(array.size for _, array in layer) for layer in self._layers)
        rng = np.random.default_rng(0)
        self._values = rng.random((largest // CHANNELS + 1, CHANNELS), np.float32)
        self._gate, self._projection = rng.random((2, CHANNELS, CHANNELS), np.float32) - np.float32(0.5)
        self._compute()  # numpy starts its threads now, not during whichever format comes first

    def run(self, push: Push) -> None:
        start = time.perf_counter_ns()
        for layer in self._layers:
            self._compute()
            for spec, array in layer:
                push(spec.path, array.copy())
        self.seconds = (time.perf_counter_ns() - start) / 1e9

    def _compute(self) -> None:
        for part in np.array_split(self._values, max(1, len(self._values) // 4096)):  # keeps intermediate arrays small
            (1 + np.tanh(part @ self._gate)) * (part @ self._projection)  # a sigmoid, except for constant factors


@dataclass(frozen=True, kw_only=True)
class StreamTask(WriteTask):
    """Write an archive while its tensors are produced, read it back, and report; parameters are those of `WriteTask`.

    The source is a raw archive that holds the trace; tensors keep their names.
    """

    source: Path

    def run(self, children: Children) -> Written:
        """Run the stand-in and the writer; time until the producer has ended, and until everything is on disk."""
        backend = rehearsed(self.backend, self.profile).format
        archive = ArchiveTrace(self.source)
        view = TraceView(archive, {archive.manifest[source]: source for _, source in self.tensors or ()})
        arrays = {spec.path: read_whole(view, spec.path) for spec in view.manifest.tensors}
        model = StandIn(MemoryTrace(view.label, view.manifest, arrays))
        reset_peak_rss()
        with without_collection():
            start = time.perf_counter_ns()
            (manifest,) = record(model, [Destination(backend, self.destination)], profile=self.profile)
            total = (time.perf_counter_ns() - start) / 1e9
        found = written(
            self.destination,
            backend,
            manifest,
            seconds=model.seconds,
            sync_seconds=total - model.seconds,
            bfloat16=self.bfloat16,
            problems=_differences(manifest, archive.manifest),
        )
        remove(self.destination)
        return found


def _differences(written: Manifest, source: Manifest) -> list[str]:
    """Return a message for each tensor that was written with other values than the source has."""
    if not source.digests:
        raise HarnessError("The trace to stream has no digests, so archives written from it cannot be verified.")
    return [
        f"{path} has other values than the source" for path, d in written.digests.items() if source.digests[path] != d
    ]
