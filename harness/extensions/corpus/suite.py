"""How long whoever trains on a corpus waits: random rows over all proteins, a layer of all, one protein whole."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from harness.suite import AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.workload import Absent, Access, PlanOptions, Read, ReadAccess, whole_reads

BATCH, _LEAST = 1024, 16
"""Rows of a batch, as sparse autoencoders are trained with; and at least, where a format reads a tensor for each."""


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw a batch of rows of one layer, by one reader and by several; read one layer of all, and one protein."""
    layers: defaultdict[int, list[TensorSpec]] = defaultdict(list)
    for spec in manifest.tensors:
        if spec.axes in (("position", "channel"), ("row", "channel")) and spec.layer is not None and spec.items:
            layers[spec.layer].append(spec)
    if not layers:
        reason = "the trace is no corpus: it has no rows of many proteins"
        return [Absent(name=name, reason=reason) for name in ("row_batch", "layer_of_all", "one_protein")]
    chosen = layers[sorted(layers)[int(rng.integers(len(layers)))]]
    batch = _batch(chosen, _rows(chosen, options), rng)
    workers = [("main", 1), *options.workers]
    return [
        *(ReadAccess(name="row_batch", reads=batch, executor=executor, workers=n) for executor, n in workers),
        ReadAccess(name="layer_of_all", reads=tuple(read for spec in chosen for read in whole_reads(spec, options))),
        _protein(manifest, rng),
    ]


def _rows(specs: list[TensorSpec], options: PlanOptions) -> int:
    """Return how many rows to read: as many as `PlanOptions.parallel_bytes` allows, as for windows."""
    if options.parallel_bytes is None:
        return BATCH
    tensor = sum(spec.nbytes for spec in specs) / len(specs)
    return max(_LEAST, min(BATCH, int(options.parallel_bytes / tensor)))


def _batch(specs: list[TensorSpec], count: int, rng: np.random.Generator) -> tuple[Read, ...]:
    """Draw rows with equal probability over all proteins, with replacement."""
    ends = np.cumsum([spec.shape[0] for spec in specs])
    rows = rng.integers(int(ends[-1]), size=count)
    reads = []
    for row in rows.tolist():
        place = int(np.searchsorted(ends, row, side="right"))
        spec = specs[place]
        within = row - (int(ends[place - 1]) if place else 0)
        reads.append(Read(path=spec.path, selection=(slice(within, within + 1), slice(0, spec.shape[1]))))
    return tuple(reads)


def _protein(manifest: Manifest, rng: np.random.Generator) -> Access:
    """Plan all layers of one protein; of a corpus of rows, only its own table says which rows they are."""
    found: defaultdict[str, list[TensorSpec]] = defaultdict(list)
    for spec in manifest.tensors:
        if spec.axes == ("position", "channel") and spec.layer is not None:
            found[spec.path.rpartition("/")[0]].append(spec)
    if not found:
        return Absent(name="one_protein", reason="the rows of all proteins are in one tensor")
    specs = list(found.values())[int(rng.integers(len(found)))]
    return ReadAccess(name="one_protein", reads=tuple(Read(path=spec.path) for spec in specs))


suite = Suite(
    name="corpus_access",
    description="random rows over all proteins of a corpus, one layer of all, one protein",
    order=55,
    plan=plan,
    optional=True,
    title="Corpus",
    accesses=(
        AccessInfo(name="row_batch", label="random rows of one layer"),
        AccessInfo(name="layer_of_all", label="one layer of every protein"),
        AccessInfo(name="one_protein", label="all layers of one protein"),
    ),
    plot=Plot(title="Corpus: what training reads (time, lower is better)", columns="access"),
    criterion=Criterion(
        since=9,
        name="corpus", cells="random rows, one layer of all proteins, one protein, warm and cold", short="corpus"
    ),
)  # fmt: skip
