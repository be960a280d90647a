"""How long writing takes: one layer at a time, as a model produces it."""

from __future__ import annotations

import numpy as np

from harness.suite import WRITE, AccessInfo, Criterion, Suite
from harness.trace.manifest import Manifest
from harness.workload import Access, PlanOptions, WriteAccess


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Write the tensors of one layer as a fresh archive, another layer in each round."""
    layers = manifest.layers()
    # Where no tensor belongs to a layer, one array at a time.
    parts = layers.values() or [[spec] for spec in manifest.tensors]
    rounds = tuple(tuple((s.path, s.path) for s in tensors) for tensors in parts)
    return [WriteAccess(name="layer" if layers else "array", tensors=rounds)]


suite = Suite(
    name="write",
    description="time to write one layer or array as a new archive, and to have it on disk",
    order=20,
    plan=plan,
    prefix="write",
    archives="archive",
    criterion=Criterion(
        name="writing", cells="one layer, or one array of a trace without layers, until on disk", short="write",
        accesses=("layer_durable", "array_durable"), since=9,
    ),
    accesses=(
        AccessInfo(name="archive", label="whole trace", once=True),
        AccessInfo(name="archive_durable", label="whole trace, until on disk", once=True),
        AccessInfo(name="layer", label="one layer"),
        AccessInfo(name="layer_durable", label="one layer, until on disk", cost=WRITE),
        AccessInfo(name="array", label="one array"),
        AccessInfo(name="array_durable", label="one array, until on disk", cost=WRITE),
    ),
)  # fmt: skip
