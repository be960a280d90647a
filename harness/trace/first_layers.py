"""First layers of a trace, measured in place of all layers if all would not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, TraceView, first_rows


class _FirstRows(TraceView):
    """View of a trace with only the first rows of stacked tensors."""

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        spec = self.manifest[path]
        stacked = _is_stacked(spec)
        return first_rows(self._trace, self._source[path], spec.shape[0]) if stacked else super().blocks(path)


def first_layers(trace: Trace, count: int) -> Trace:
    """Return a trace without its later layers, and state this in its label.

    Parameters
    ----------
    trace : Trace
        Trace to cut. Tensors that belong to no layer of the trunk, such as those of a diffusion, are all kept. A tensor
        whose first axis is ``layer`` is cut along that axis.
    count : int
        Number of layers to keep, at least 1.

    Returns
    -------
    Trace
        The given trace if it has no more layers.
    """
    total = count_layers(trace.manifest)
    if total <= count:
        return trace
    numbers = list(trace.manifest.layers())[:count]
    kept = [spec for spec in trace.manifest.tensors if spec.layer is None or spec.layer in numbers]
    view = _FirstRows(trace, {_cut(spec, count): spec.path for spec in kept})
    metadata = dataclasses.replace(trace.manifest.metadata, num_layers=trace.manifest.metadata.num_layers or total)
    view.manifest = dataclasses.replace(view.manifest, metadata=metadata)
    view.label = f"{trace.label} (first {count} of {total} layers)"
    return view


def count_layers(manifest: Manifest) -> int:
    """Return the number of layers of a trace, in tensors of one layer each or stacked along a first axis ``layer``."""
    stacked = (spec.shape[0] for spec in manifest.tensors if _is_stacked(spec))
    return max(len(manifest.layers()), *stacked, 0)


def first_layer_bytes(manifest: Manifest) -> int:
    """Return the size of a trace that is cut to its first layer, in bytes."""
    first = next(iter(manifest.layers()), None)
    return sum(_cut(spec, 1).nbytes for spec in manifest.tensors if spec.layer in (None, first))


def layers_within(manifest: Manifest, nbytes: int) -> int:
    """Return how many first layers fit into a size, together with all tensors that belong to no layer.

    Parameters
    ----------
    manifest : Manifest
        Manifest of the trace.
    nbytes : int
        Maximum bytes in memory; the first layer alone may take more.

    Returns
    -------
    int
        At least 1, at most all layers.
    """
    layers = list(manifest.layers().values())
    stacked = [spec for spec in manifest.tensors if _is_stacked(spec)]
    total = manifest.nbytes
    for count in range(count_layers(manifest), 1, -1):
        if total <= nbytes:
            return count
        total -= sum(spec.nbytes for spec in layers[count - 1]) if count <= len(layers) else 0
        total -= sum(spec.nbytes // spec.shape[0] for spec in stacked if count <= spec.shape[0])
    return 1


def _is_stacked(spec: TensorSpec) -> bool:
    return spec.layer is None and spec.axes[:1] == ("layer",) and spec.nbytes > 0


def _cut(spec: TensorSpec, count: int) -> TensorSpec:
    if not _is_stacked(spec):
        return spec
    return dataclasses.replace(spec, shape=(min(count, spec.shape[0]), *spec.shape[1:]))
