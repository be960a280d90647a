"""How long it takes to read everything."""

from __future__ import annotations

import numpy as np

from harness.trace.schema import Manifest
from harness.workload import Access, PlanOptions, Read, ReadAccess, Suite


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Read every byte of every tensor, in the order in which they were written."""
    return [ReadAccess(name="all_tensors", reads=tuple(Read(path=spec.path) for spec in manifest.tensors))]


suite = Suite(name="full_read", description="every byte of every tensor", order=30, plan=plan)
