"""How many bytes and files an archive takes, and a result directory as it was written and slimmed."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest
from harness.workload import Absent, Access, PlanOptions, SizeAccess, Suite, filled


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Measure the whole trace, and its first layer with representations filled under one name and under both."""
    accesses: list[Access] = [SizeAccess(name="archive")]
    layers = list(manifest.layers())
    one = filled(manifest, layers[0], both=False) if layers else {}
    both = filled(manifest, layers[0], both=True) if layers else {}
    if one == both:
        reason = "the trace has no single or pair representation of a layer"
        return [
            *accesses,
            Absent(name="layer_filled_one", reason=reason),
            Absent(name="layer_filled_both", reason=reason),
        ]
    accesses.append(SizeAccess(name="layer_filled_one", tensors=tuple(one.items())))
    accesses.append(SizeAccess(name="layer_filled_both", tensors=tuple(both.items())))
    return accesses


suite = Suite(
    name="size",
    description="bytes and files, against float32 and native bytes",
    order=10,
    plan=plan,
)
