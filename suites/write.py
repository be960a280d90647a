"""How long writing takes: one layer at a time, as a model produces it."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest
from harness.workload import Absent, Access, PlanOptions, Suite, WriteAccess


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Write the tensors of one layer as a fresh archive, another layer in each round."""
    layers = manifest.layers()
    if not layers:
        return [Absent(name="layer", reason="the trace has no tensor that belongs to a layer")]
    rounds = tuple(tuple((s.path, s.path) for s in tensors) for tensors in layers.values())
    return [WriteAccess(name="layer", tensors=rounds)]


suite = Suite(
    name="write", description="time to write one layer as a new archive, and to have it on disk", order=20, plan=plan
)
