"""The first layers of a trace, measured in place of all of them where all would not fit."""

from __future__ import annotations

import dataclasses

from harness.trace.manifest import Manifest
from harness.trace.stream import Trace, TraceView


def first_layers(trace: Trace, count: int) -> Trace:
    """Return a trace without its later layers, which its label then says.

    Parameters
    ----------
    trace : Trace
        Whose tensors without a layer are all kept.
    count : int
        How many layers are kept, at least 1.

    Returns
    -------
    Trace
        The same one where it has no more layers.
    """
    layers = list(trace.manifest.layers())
    if len(layers) <= count:
        return trace
    kept = {spec: spec.path for spec in trace.manifest.tensors if spec.layer is None or spec.layer in layers[:count]}
    view = TraceView(trace, kept)
    metadata = dataclasses.replace(
        trace.manifest.metadata, num_layers=trace.manifest.metadata.num_layers or len(layers)
    )
    view.manifest = dataclasses.replace(view.manifest, metadata=metadata)
    view.label = f"{trace.label} (first {count} of {len(layers)} layers)"
    return view


def layers_within(manifest: Manifest, nbytes: int) -> int:
    """Return how many of the first layers fit, with all tensors that belong to no layer.

    Parameters
    ----------
    manifest : Manifest
        What the trace holds.
    nbytes : int
        Bytes in memory, at most, unless the first layer alone takes more.

    Returns
    -------
    int
        At least 1, at most all layers.
    """
    layers, total = list(manifest.layers().values()), manifest.nbytes
    for count in range(len(layers), 1, -1):
        if total <= nbytes:
            return count
        total -= sum(spec.nbytes for spec in layers[count - 1])
    return 1
