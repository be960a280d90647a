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
    """Draw windows once and give the same ones to every number of workers.

    Attention windows; pair windows only of a trace without attention, and windows of arrays of one without either,
    unless a run asks for all. Doing all would double the longest suite, most of it for NPZ, which reads a whole tensor
    for each window.

    The total is the same for every number of workers (strong scaling), and every window is drawn anew: a worker that
    read the same few again would find them in its reader's chunk cache, where one format has such a cache and another
    has not.
    """
    everything = options.parallel == "all"
    planned: list[Access] = []
    found = [(kind, specs, count) for kind, specs, count in windowed(manifest, options) if specs]
    for kind, specs, count in found if everything else found[:1]:
        windows = _windows(specs, count, options)
        reads = window_reads(specs, windows, options.window, rng, by_bytes=options.by_bytes)
        planned += _by_all(f"window_{kind}", reads, options)
    for kind, specs, _ in found if everything else ():
        # One for each worker of the largest crew, the same layer again where a trace has fewer.
        chosen = [specs[k % len(specs)] for k in range(_most(options))]
        planned += _by_all(f"layers_{kind}", sum((whole_reads(spec, options) for spec in chosen), ()), options)
    return planned or [Absent(name="window_attention", reason="the trace has no tensor with axes and values")]


def _by_all(name: str, reads: tuple[Read, ...], options: PlanOptions) -> list[ReadAccess]:
    # Warm alone unless all is asked for: a cold sample reads its archive from the disk again, each time.
    caches: tuple[Cache, ...] = ("warm", "cold") if options.parallel == "all" else ("warm",)
    return [
        ReadAccess(name=name, reads=reads, executor=executor, workers=workers, caches=caches)
        for executor, workers in options.workers
    ]


def _most(options: PlanOptions) -> int:
    return max((workers for _, workers in options.workers), default=1)


def _windows(specs: list[TensorSpec], count: int, options: PlanOptions) -> int:
    """Say how many windows to draw: as many as were asked for, fewer where that takes too long, equal shares for all.

    Never fewer than the other suites read, which is what a run without a number of its own gets.
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
