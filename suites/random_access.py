"""How long it takes to read small windows here and there."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest, Role
from harness.workload import Absent, Access, PlanOptions, ReadAccess, Suite, window_reads


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw windows over heads, layers and pair tensors; the same once more as load once, then slice."""
    accesses: list[Access] = []
    for kind, role, count in (
        ("attention", Role.ATTENTION, options.attention_windows),
        ("pair", Role.PAIR, options.pair_windows),
    ):
        name = f"window_{kind}"
        paths = [spec.path for spec in manifest.with_role(role) if spec.items]
        if not paths:
            reason = f"the trace has no {kind} tensor"
            accesses += [Absent(name=name, reason=reason), Absent(name=f"{name}_load_once", reason=reason)]
            continue
        reads = window_reads(manifest, paths, count, options.window, rng)
        accesses.append(ReadAccess(name=name, reads=reads))
        if (largest := max((manifest[read.path].nbytes for read in reads), default=0)) > options.whole_bytes:
            reason = f"nobody loads a tensor of {largest / 1e9:.1f} GB into memory for a window of it"
            accesses.append(Absent(name=f"{name}_load_once", reason=reason))
            continue
        # What a sensible user does where a format has no partial reads. Warm only: cold, it is a full read.
        accesses.append(ReadAccess(name=f"{name}_load_once", reads=reads, load_once=True, caches=("warm",)))
    return accesses


suite = Suite(
    name="random_access", description="32 x 32 windows over heads, layers and pair tensors", order=50, plan=plan
)
