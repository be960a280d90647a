"""A corpus: lengths as in nature, the same values in both layouts, and reads that cover what they say."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.corpus.source import STARTS, lengths
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
    assert len({manifest[read.path].layer for read in batches[0].reads}) == 1
    whole = next(access for access in found if access.name == "layer_of_all")
    rows = sum(manifest[read.path].shape[0] for read in whole.reads)
    assert rows == sum(spec.shape[0] for spec in manifest.tensors if spec.layer == 0)
    last = found[-1]
    assert isinstance(last, Absent) if layout == "rows" else len(last.reads) == 2


def test_a_batch_is_smaller_where_a_format_reads_a_tensor_for_each_row():
    manifest = open_trace(f"{TEXT},layout=rows").manifest
    most = manifest["rows/layer_0"].nbytes * 40
    for options, count in (
        (PlanOptions(parallel_bytes=None), BATCH),
        (PlanOptions(parallel_bytes=most), 40),
        (PlanOptions(parallel_bytes=1), 16),
    ):
        planned = load_suite("corpus_access").plan(manifest, np.random.default_rng(0), options)
        assert len(planned[0].reads) == count


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
