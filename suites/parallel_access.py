"""How reading windows scales over threads and processes."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest, Role
from harness.workload import Absent, Access, PlanOptions, ReadAccess, Suite, window_reads


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw windows once and give the same ones to every number of workers.

    Attention windows, as the seed's; pair windows only of a trace without attention. Doing both would double the
    longest suite, most of it for NPZ, which reads a whole tensor for each window.
    """
    for kind, role, count in (
        ("attention", Role.ATTENTION, options.attention_windows),
        ("pair", Role.PAIR, options.pair_windows),
    ):
        paths = [spec.path for spec in manifest.with_role(role) if spec.items]
        if paths:
            reads = window_reads(manifest, paths, count, options.window, rng)
            return [
                # Warm only: workers share the page cache, so after the first of them nothing is cold.
                ReadAccess(name=f"window_{kind}", reads=reads, executor=executor, workers=workers, caches=("warm",))
                for executor, workers in options.workers
            ]
    return [Absent(name="window_attention", reason="the trace has neither attention nor pair tensors")]


suite = Suite(name="parallel_access", description="the same windows on threads and processes", order=60, plan=plan)
