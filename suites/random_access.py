"""How long it takes to read small windows here and there."""

from __future__ import annotations

import numpy as np

from harness.suite import READ, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.windows import window_reads, windowed
from harness.workload import Absent, Access, PlanOptions, ReadAccess, rest


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw windows over heads, layers and pair tensors; plan the same ones again as load once, then slice."""
    accesses: list[Access] = []
    for kind, specs, count in windowed(manifest, options):
        name = f"window_{kind}"
        if not specs:
            reason = f"the trace has no {kind} tensor"
            accesses += [Absent(name=name, reason=reason), Absent(name=f"{name}_load_once", reason=reason)]
            continue
        reads = window_reads(specs, count, options.window, rng, by_bytes=options.by_bytes)
        accesses.append(ReadAccess(name=name, reads=reads))
        if (largest := max((manifest[read.path].nbytes for read in reads), default=0)) > options.whole_bytes:
            reason = f"nobody loads a tensor of {largest / 1e9:.1f} GB into memory for a window of it"
            accesses.append(Absent(name=f"{name}_load_once", reason=reason))
            continue
        # The sensible use of a format without partial reads. Warm only: cold, it is a full read.
        accesses.append(ReadAccess(name=f"{name}_load_once", reads=reads, load_once=True, caches=("warm",)))
    return accesses + rest(manifest, options)


_ALONE = "A window is read on its own, not cut from a tensor that is in memory already."
_ONCE = "Load once: each tensor that the plan touches is read whole, once, and the windows are taken from memory."

suite = Suite(
    name="random_access",
    description="32 x 32 windows over heads, layers, pair tensors and arrays",
    order=50,
    plan=plan,
    accesses=(
        AccessInfo(
            name="window_attention", label="attention windows", cost=READ, several="attention windows", assumes=_ALONE,
            per_sample=lambda options: options.attention_windows,
        ),
        AccessInfo(
            name="window_pair", label="pair windows", cost=READ, several="pair windows", assumes=_ALONE,
            per_sample=lambda options: options.pair_windows,
        ),
        AccessInfo(
            name="window_array", label="array windows", cost=READ, several="array windows", assumes=_ALONE,
            per_sample=lambda options: options.pair_windows, in_place_of=("window_attention", "window_pair"),
        ),
        AccessInfo(
            name="window_attention_load_once", label="attention windows, load once", variant_of="window_attention",
            variant="load once", note=_ONCE,
        ),
        AccessInfo(
            name="window_pair_load_once", label="pair windows, load once", variant_of="window_pair",
            variant="load once", note=_ONCE,
        ),
        AccessInfo(
            name="window_array_load_once", label="array windows, load once", variant_of="window_array",
            variant="load once", note=_ONCE,
        ),
        AccessInfo(name="rest", label="windows of tensors of another role"),
    ),
    plot=Plot(
        title="Random access: small windows here and there (time for all windows, lower is better)",
        columns="access",
        note="Time for the whole plan: the same windows, in the same order, for every format.",
    ),
    criterion=Criterion(
        name="random access", cells="windows of attention, pair tensors, arrays, each read on its own, warm and cold",
        # Load once is in essence the read of a full layer, which has its own criterion.
        accesses=("window_attention", "window_pair", "window_array"), short="windows",
    ),
)  # fmt: skip
