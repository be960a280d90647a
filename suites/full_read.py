"""How long it takes to read everything."""

from __future__ import annotations

import numpy as np

from harness.suite import READ, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.workload import Access, PlanOptions, ReadAccess, whole_reads


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Read every byte of every tensor, in the order in which they were written."""
    reads = tuple(read for spec in manifest.tensors for read in whole_reads(spec, options))
    return [ReadAccess(name="all_tensors", reads=reads)]


suite = Suite(
    name="full_read",
    description="every byte of every tensor",
    order=30,
    plan=plan,
    accesses=(AccessInfo(name="all_tensors", label="everything", cost=READ, mix="full_read", several="full reads"),),
    plot=Plot(title="Full read: every byte of every tensor (time, lower is better)"),
    criterion=Criterion(name="full read", cells="every tensor, warm and cold", short="full"),
)
