"""Waiting times of training on a corpus: random rows over all proteins, a layer of all, one complete protein."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from harness.extensions.corpus.source import PROTEIN_AXES, ROW_AXES, STARTS, starts_of
from harness.suite import AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.workload import Absent, Access, PlanOptions, Read, ReadAccess, whole_reads

NAME, ROWS, ONCE, LAYER, PROTEIN = "corpus_access", "row_batch", "row_batch_load_once", "layer_of_all", "one_protein"
"""The suite, and its accesses."""

BATCH = 1024
"""Rows of a batch, as in the training of sparse autoencoders."""


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan a batch of rows of one layer, by one reader and by several; one layer of all proteins; and one protein."""
    layers: defaultdict[int, list[TensorSpec]] = defaultdict(list)
    for spec in manifest.tensors:
        if spec.axes in (PROTEIN_AXES, ROW_AXES) and spec.layer is not None and spec.items:
            layers[spec.layer].append(spec)
    if not layers:
        reason = "the trace is no corpus: it has no rows of many proteins"
        return [Absent(name=name, reason=reason) for name in (ROWS, ONCE, LAYER, PROTEIN)]
    chosen = layers[sorted(layers)[int(rng.integers(len(layers)))]]
    return [
        *_batches(manifest, _batch(chosen, rng), options),
        ReadAccess(name=LAYER, reads=tuple(read for spec in chosen for read in whole_reads(spec, options))),
        _protein(manifest, rng),
    ]


def _batches(manifest: Manifest, batch: tuple[Read, ...], options: PlanOptions) -> list[Access]:
    """Plan a batch row by row, and again as load once, then slice: never a part of a batch, which is not comparable."""
    touched = {read.path: manifest[read.path].nbytes for read in batch}
    each = sum(touched[read.path] for read in batch)
    planned: list[Access] = []
    if options.parallel_bytes is not None and each > options.parallel_bytes:
        reason = (
            f"a format of the run reads a complete tensor for each row, {each / 1e9:.3g} GB for {len(batch)} rows: "
            "leave that format out to measure the others"
        )
        planned.append(Absent(name=ROWS, reason=reason))
    else:
        workers = [("main", 1), *options.workers]
        planned += (ReadAccess(name=ROWS, reads=batch, executor=executor, workers=n) for executor, n in workers)
    if (held := sum(touched.values())) > options.whole_bytes:
        reason = f"nobody loads {held / 1e9:.1f} GB into memory for {len(batch)} rows"
        return [*planned, Absent(name=ONCE, reason=reason)]
    # What a sensible user does if a format has no partial reads. Warm only: cold, it reads a layer of all.
    return [*planned, ReadAccess(name=ONCE, reads=batch, load_once=True, caches=("warm",))]


def _batch(specs: list[TensorSpec], rng: np.random.Generator) -> tuple[Read, ...]:
    """Draw rows with equal probability over all proteins, with replacement."""
    ends = np.cumsum([spec.shape[0] for spec in specs])
    reads = []
    for row in rng.integers(int(ends[-1]), size=BATCH).tolist():
        place = int(np.searchsorted(ends, row, side="right"))
        spec = specs[place]
        within = row - (int(ends[place - 1]) if place else 0)
        reads.append(Read(path=spec.path, selection=(slice(within, within + 1), slice(0, spec.shape[1]))))
    return tuple(reads)


def _protein(manifest: Manifest, rng: np.random.Generator) -> Access:
    """Plan all layers of one protein; in a corpus of rows, its entry in the table of starts and then its rows."""
    found: defaultdict[str, list[TensorSpec]] = defaultdict(list)
    for spec in manifest.tensors:
        if spec.axes == PROTEIN_AXES and spec.layer is not None:
            found[spec.path.rpartition("/")[0]].append(spec)
    if found:
        specs = list(found.values())[int(rng.integers(len(found)))]
        return ReadAccess(name=PROTEIN, reads=tuple(Read(path=spec.path) for spec in specs))
    starts = starts_of(manifest)
    if starts is None:
        return Absent(name=PROTEIN, reason="nothing in the manifest says which rows are of one protein")
    number = int(rng.integers(len(starts) - 1))
    rows = slice(int(starts[number]), int(starts[number + 1]))
    layers = [spec for spec in manifest.tensors if spec.axes == ROW_AXES and spec.layer is not None]
    return ReadAccess(
        name=PROTEIN,
        reads=(
            Read(path=STARTS, selection=(slice(number, number + 2),)),
            *(Read(path=spec.path, selection=(rows, slice(0, spec.shape[1]))) for spec in layers),
        ),
    )


suite = Suite(
    name=NAME,
    description="random rows over all proteins of a corpus, one layer of all, one protein",
    order=55,
    plan=plan,
    optional=True,
    title="Corpus",
    accesses=(
        AccessInfo(name=ROWS, label="random rows of one layer"),
        AccessInfo(
            name=ONCE, label="random rows of one layer, load once", variant_of=ROWS, variant="load once",
            note="Load once: each tensor that the batch touches is read whole, once; rows are taken from memory.",
        ),
        AccessInfo(name=LAYER, label="one layer of every protein"),
        AccessInfo(name=PROTEIN, label="all layers of one protein"),
    ),
    plot=Plot(title="Corpus: what training reads (time, lower is better)", columns="access"),
    criterion=Criterion(
        name="corpus", cells="random rows, one layer of all proteins, one protein, warm and cold",
        accesses=(ROWS, LAYER, PROTEIN), short="corpus",
    ),
)  # fmt: skip
