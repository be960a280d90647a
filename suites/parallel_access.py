"""How reading windows scales over threads and processes: the same work, split over more and more workers."""

from __future__ import annotations

import numpy as np

from harness.suite import READERS, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.windows import window_reads, windowed
from harness.workload import (
    Absent,
    Access,
    Cache,
    PlanOptions,
    Read,
    ReadAccess,
    whole_reads,
)


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw windows once, and plan the same ones for every number of workers.

    Only attention windows, unless a run requests all kinds; pair windows if the trace has no attention, array windows
    if it has neither. All kinds would double the time of the longest suite, mostly for NPZ, which reads a complete
    tensor for each window.

    The total is the same for every number of workers (strong scaling), and every window is drawn anew. If a worker
    read a few windows repeatedly, it would find them in its reader's chunk cache, which only some formats have.
    """
    everything = options.parallel == "all"
    planned: list[Access] = []
    found = [(kind, specs, count) for kind, specs, count in windowed(manifest, options) if specs]
    for kind, specs, count in found if everything else found[:1]:
        windows = _windows(specs, count, options)
        reads = window_reads(specs, windows, options.window, rng, by_bytes=options.by_bytes)
        planned += _by_all(f"window_{kind}", reads, options)
    for kind, specs, _ in found if everything else ():
        # One layer for each worker of the largest number; layers repeat if the trace has fewer.
        chosen = [specs[k % len(specs)] for k in range(_most(options))]
        planned += _by_all(f"layers_{kind}", sum((whole_reads(spec, options) for spec in chosen), ()), options)
    return planned or [Absent(name="window_attention", reason="the trace has no tensor with axes and values")]


def _by_all(name: str, reads: tuple[Read, ...], options: PlanOptions) -> list[ReadAccess]:
    # Only warm, unless a run requests all: every cold sample reads its archive from the disk again.
    caches: tuple[Cache, ...] = ("warm", "cold") if options.parallel == "all" else ("warm",)
    return [
        ReadAccess(name=name, reads=reads, executor=executor, workers=workers, caches=caches)
        for executor, workers in options.workers
    ]


def _most(options: PlanOptions) -> int:
    return max((workers for _, workers in options.workers), default=1)


def _windows(specs: list[TensorSpec], count: int, options: PlanOptions) -> int:
    """Return the number of windows to draw: as many as requested, fewer if that takes too long, in equal shares.

    Never fewer than the other suites read, which is also the number for a run that requests none.
    """
    if options.parallel_windows is None:
        return count
    most = _most(options)
    afforded = options.parallel_windows
    if options.parallel_bytes is not None:
        tensor = sum(spec.nbytes for spec in specs) / len(specs)
        afforded = min(afforded, int(options.parallel_bytes / tensor))
    return max(count, afforded // most * most)


suite = Suite(
    name="parallel_access",
    description="the same windows on threads and processes",
    order=60,
    plan=plan,
    accesses=(
        AccessInfo(name="window_attention", label="attention windows", cost=READERS),
        AccessInfo(name="window_pair", label="pair windows", cost=READERS),
        AccessInfo(name="window_array", label="array windows", cost=READERS),
        AccessInfo(name="layers_attention", label="attention layers"),
        AccessInfo(name="layers_pair", label="pair layers"),
        AccessInfo(name="layers_array", label="arrays"),
    ),
    plot=Plot(
        title="Parallel access: the same windows on threads and processes (time, lower is better)",
        columns="workers",
        note="Time for the whole plan: the same windows for every format and every number of workers. Of a trace with "
        "attention only attention windows are read, unless a run asks for all.",
    ),
    criterion=Criterion(
        name="parallel access", cells="windows and layers, with the most workers of each executor", short="parallel"
    ),
)
