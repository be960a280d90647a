"""Suite that measures how long a model waits when its layers are written while it computes."""

from __future__ import annotations

from itertools import chain
from typing import ClassVar

import numpy as np

from harness.suite import Suite
from harness.trace.manifest import Manifest
from harness.workload import Absent, Access, PlanOptions, WriteAccess

LAYERS = 2
"""Layers in one sample: while the second is produced, the first is written."""

LIMIT_BYTES = 2 << 30
"""Layers of one sample with more bytes are not streamed: the stand-in for a model holds them, and a copy of each."""


class StreamAccess(WriteAccess):
    """Access that writes layers while they are produced, as a new archive in each sample."""

    task: ClassVar[str] = "harness.extensions.capture.streaming:StreamTask"


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan to stream two layers, others in each round, with some computation before each layer."""
    layers = list(manifest.layers().values())
    if len(layers) < LAYERS:
        return [Absent(name="stream", reason=f"the trace has fewer than {LAYERS} layers")]
    streamed = sum(spec.nbytes for tensors in layers[:LAYERS] for spec in tensors)
    if streamed > LIMIT_BYTES:
        reason = f"{LAYERS} layers take {streamed / 1e9:.1f} GB, and what stands in for a model holds them in memory"
        return [Absent(name="stream", reason=reason)]
    place = {spec.path: number for number, spec in enumerate(manifest.tensors)}
    rounds = tuple(
        tuple((path, path) for path in sorted((s.path for s in chain(*layers[k : k + LAYERS])), key=place.__getitem__))
        for k in range(len(layers) - LAYERS + 1)
    )
    return [StreamAccess(name="stream", tensors=rounds)]


suite = Suite(
    name="capture",
    description="time to hand layers to a writer while they are produced, and to have them on disk",
    order=25,
    plan=plan,
    note=(
        "A stand-in for a model hands over two layers of the trace and computes one gated projection of a pair "
        "representation with as many values before each. stream: until it had ended; stream_durable: until everything "
        "was on disk. Against raw, it is what a format costs the model."
    ),
)
