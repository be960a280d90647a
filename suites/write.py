"""How long writing takes: one layer at a time, as a model produces it."""

from __future__ import annotations

import numpy as np

from harness.suite import WRITE, AccessInfo, Criterion, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.workload import Access, PlanOptions, WriteAccess


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan writing the tensors of one layer as a new archive, another layer in each round."""
    layers = manifest.layers()
    # If no tensor belongs to a layer, write one array at a time.
    parts = layers.values() or [[spec] for spec in _arrays(manifest, options)]
    rounds = tuple(tuple((s.path, s.path) for s in tensors) for tensors in parts)
    return [WriteAccess(name="layer" if layers else "array", tensors=rounds)]


def _arrays(manifest: Manifest, options: PlanOptions) -> list[TensorSpec]:
    """Return the arrays to write; if plans go by bytes, the largest first, without empty ones and scalars."""
    if not options.by_bytes:
        return list(manifest.tensors)
    filled = [spec for spec in manifest.tensors if spec.items]
    parts = [spec for spec in filled if spec.shape] or filled or list(manifest.tensors)
    return sorted(parts, key=lambda spec: -spec.nbytes)


suite = Suite(
    name="write",
    description="time to write one layer or array as a new archive, and to have it on disk",
    order=20,
    plan=plan,
    prefix="write",
    archives="archive",
    criterion=Criterion(
        name="writing", cells="one layer, or one array of a trace without layers, until on disk", short="write",
        accesses=("layer_durable", "array_durable"),
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
