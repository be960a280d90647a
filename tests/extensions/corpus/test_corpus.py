"""A corpus: lengths as in nature, the same values in both layouts, and reads that cover what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.corpus.source import STARTS, lengths, starts_of
from harness.extensions.corpus.suite import BATCH
from harness.suite import load_suite
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole
from harness.workload import Absent, PlanOptions, ReadAccess

TEXT = "corpus:proteins=5,layers=2,width=8"
OPTIONS = PlanOptions(workers=(("threads", 2),))


def plan(text: str, seed: int = 0):
    manifest = open_trace(text).manifest
    found = load_suite("corpus_access").plan(manifest, np.random.default_rng(seed), OPTIONS)
    for access in found:
        if isinstance(access, ReadAccess):
            access.check("corpus_access", manifest)
    return manifest, found


def test_lengths_have_the_mean_of_swiss_prot():
    drawn = lengths(0, 100_000)
    assert np.median(drawn) == pytest.approx(300, rel=0.01) and drawn.mean() == pytest.approx(367, rel=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_both_layouts_hold_the_same_rows(dtype):
    apart, together = open_trace(f"{TEXT},dtype={dtype}"), open_trace(f"{TEXT},dtype={dtype},layout=rows")
    rows, starts = read_whole(together, "rows/layer_1"), read_whole(together, STARTS)
    for number in range(5):
        own = read_whole(apart, f"proteins/{number}/layer_1")
        assert own.tobytes() == rows[starts[number] : starts[number + 1]].tobytes()
    assert starts[-1] == len(rows) and apart.manifest.nbytes == together.manifest.nbytes - starts.nbytes
    assert not np.array_equal(read_whole(together, "rows/layer_0"), rows)


@pytest.mark.parametrize("layout", ["proteins", "rows"])
def test_reads_are_of_one_layer_and_the_same_for_all_workers(layout):
    manifest, found = plan(f"{TEXT},layout={layout}")
    batches = [access for access in found if access.name == "row_batch"]
    assert [(access.executor, access.workers) for access in batches] == [("main", 1), ("threads", 2)]
    assert batches[0].reads == batches[1].reads and len(batches[0].reads) == BATCH
    once = next(access for access in found if access.name == "row_batch_load_once")
    assert once.load_once and once.reads == batches[0].reads and once.caches == ("warm",)
    whole = next(access for access in found if access.name == "layer_of_all")
    (layer,) = {manifest[read.path].layer for read in (*batches[0].reads, *whole.reads)}
    assert [read.path for read in whole.reads] == [spec.path for spec in manifest.tensors if spec.layer == layer]
    assert all(read.selection is None for read in whole.reads)


def test_other_seeds_read_other_layers():
    layers = {manifest[found[0].reads[0].path].layer for manifest, found in (plan(TEXT, seed) for seed in range(8))}
    assert layers == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_one_protein_is_the_same_in_both_layouts(seed):
    (apart, of_one), (_, of_rows) = plan(TEXT, seed), plan(f"{TEXT},layout=rows", seed)
    whole, (table, *layers) = of_one[-1], of_rows[-1].reads
    assert whole.name == of_rows[-1].name == "one_protein" and len(whole.reads) == len(layers) == 2
    together = open_trace(f"{TEXT},layout=rows")
    start, stop = read_whole(together, STARTS)[table.selection]
    for own, part in zip(whole.reads, layers, strict=True):
        assert part.selection[0] == slice(start, stop) and apart[own.path].layer == together.manifest[part.path].layer
        rows = read_whole(together, part.path)[part.selection]
        assert rows.tobytes() == read_whole(open_trace(TEXT), own.path).tobytes()


def test_a_corpus_of_rows_that_was_not_made_here_has_no_protein_to_read():
    manifest = open_trace(f"{TEXT},layout=rows").manifest
    assert starts_of(manifest) is not None
    for change in ({"seed": 1}, {"seed": None}, {"seed": -1}):
        other = dataclasses.replace(manifest, provenance=dataclasses.replace(manifest.provenance, **change))
        last = load_suite("corpus_access").plan(other, np.random.default_rng(0), OPTIONS)[-1]
        assert isinstance(last, Absent) and "which rows" in last.reason
    huge = dataclasses.replace(manifest.tensors[0], shape=(2**40,))
    assert starts_of(dataclasses.replace(manifest, tensors=(huge, *manifest.tensors[1:]))) is None


def test_a_batch_is_never_a_part_of_one():
    """Where a format reads a tensor for each row and that is too much, there is no batch row by row for any format."""
    manifest = open_trace(f"{TEXT},layout=rows").manifest
    most = manifest["rows/layer_0"].nbytes * BATCH
    for limit, there in ((None, True), (most, True), (most - 1, False)):
        planned = load_suite("corpus_access").plan(
            manifest, np.random.default_rng(0), PlanOptions(parallel_bytes=limit)
        )
        batches = [access for access in planned if access.name == "row_batch"]
        assert all(isinstance(access, ReadAccess) == there for access in batches)
        assert there or (len(batches) == 1 and "complete tensor for each row" in batches[0].reason)
        once = next(access for access in planned if access.name == "row_batch_load_once")
        assert len(once.reads) == BATCH


def test_nobody_loads_more_than_memory_for_a_batch():
    manifest = open_trace(f"{TEXT},layout=rows").manifest
    options = PlanOptions(whole_bytes=manifest["rows/layer_0"].nbytes - 1, block_bytes=64)
    planned = load_suite("corpus_access").plan(manifest, np.random.default_rng(0), options)
    once = next(access for access in planned if access.name == "row_batch_load_once")
    assert isinstance(once, Absent) and "nobody loads" in once.reason


def test_long_proteins_are_drawn_as_often_as_they_have_rows():
    manifest, found = plan("corpus:proteins=2,layers=1,width=1,seed=3")
    sizes = [spec.shape[0] for spec in manifest.tensors]
    drawn = sum(read.path == manifest.tensors[0].path for read in found[0].reads) / BATCH
    assert drawn == pytest.approx(sizes[0] / sum(sizes), abs=0.06)


def test_a_trace_that_is_no_corpus_says_so():
    found = plan("synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4,n_res=8")[1]
    assert all(isinstance(access, Absent) for access in found)


@pytest.mark.parametrize(
    ("text", "said"), [("proteins=0", "proteins"), ("layout=all", "layout"), ("proteins=40000", "layout=rows")]
)
def test_parameters_that_cannot_be_are_refused(text, said):
    with pytest.raises(UsageError, match=said):
        open_trace(f"corpus:{text}")
