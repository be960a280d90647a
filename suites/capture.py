"""What a model waits for when its layers are written while it computes."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest
from harness.workload import Absent, Access, PlanOptions, StreamAccess, Suite

LAYERS = 2
"""Layers in one sample: while the second is produced, the first is written."""

LIMIT_BYTES = 2 << 30
"""Layers of one sample that take more are not streamed: the stand-in for a model holds them, and a copy of each."""


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Stream two layers, others in each round, with some computing before each of them."""
    layers = sorted({spec.layer for spec in manifest.tensors if spec.layer is not None})
    if len(layers) < LAYERS:
        return [Absent(name="stream", reason=f"the trace has fewer than {LAYERS} layers")]
    streamed = sum(spec.nbytes for spec in manifest.tensors if spec.layer in layers[:LAYERS])
    if streamed > LIMIT_BYTES:
        reason = f"{LAYERS} layers take {streamed / 1e9:.1f} GB, and what stands in for a model holds them in memory"
        return [Absent(name="stream", reason=reason)]
    rounds = tuple(
        tuple((s.path, s.path) for s in manifest.tensors if s.layer in layers[k : k + LAYERS])
        for k in range(len(layers) - LAYERS + 1)
    )
    return [StreamAccess(name="stream", tensors=rounds)]


suite = Suite(
    name="capture",
    description="time to hand layers to a writer while they are produced, and to have them on disk",
    order=25,
    plan=plan,
)
