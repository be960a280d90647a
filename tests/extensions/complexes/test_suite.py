"""Reads of a complex: what they cover, that large ones come in blocks, and what a trace without them says."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from harness.suite import load_suite
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, tensor
from harness.trace.sources import open_trace
from harness.workload import Absent, PlanOptions, ReadAccess

TEXT = (
    "synthetic:model=af3,layers=2,heads=2,single_dim=8,pair_dim=4,steps=3,diffusion_layers=2,diffusion_dim=8,samples=2"
)


def plan(manifest: Manifest, seed: int = 0, **options):
    found = load_suite("complex_read").plan(manifest, np.random.default_rng(seed), PlanOptions(**options))
    for access in found:
        if isinstance(access, ReadAccess):
            access.check("complex_read", manifest)
    return {access.name: access for access in found}


@pytest.mark.parametrize("seed", range(5))
def test_each_access_reads_what_it_says(seed):
    manifest = open_trace(f"{TEXT},seeds=2", 24).manifest
    found = plan(manifest, seed)
    step = [read.path for read in found["diffusion_step"].reads]
    assert len(step) == 2 and len({path.rpartition("/layer_")[0] for path in step}) == 1
    layer = [read.path for read in found["layer_over_steps"].reads]
    assert len(layer) == 3 and len({path.split("layer_")[1] for path in layer}) == 1
    assert len({path.split("/")[1] for path in layer}) == 1  # of one seed
    (rows,) = found["chain_rows"].reads
    spans = {(chain.start, chain.stop) for chain in manifest.chains}
    assert (rows.selection[0].start, rows.selection[0].stop) in spans and manifest[rows.path].role is Role.PAIR
    (block,) = found["chain_block"].reads
    assert {(part.start, part.stop) for part in block.selection[:2]} <= spans
    assert block.selection[0] != block.selection[1]
    sample = found["one_sample"].reads
    assert {read.path for read in sample} == {
        spec.path for spec in manifest.tensors if "sample" in spec.axes and "/seed_" in sample[0].path
        and spec.path.split("/")[1] == sample[0].path.split("/")[1]
    }  # fmt: skip
    assert len({read.selection[0].start for read in sample}) == 1


def test_large_parts_are_read_in_blocks_that_cover_them():
    manifest = open_trace(TEXT, 24).manifest
    (whole,) = plan(manifest)["chain_rows"].reads
    blocks = plan(manifest, whole_bytes=0, block_bytes=1000)["chain_rows"].reads
    assert len(blocks) > 1
    assert blocks[0].selection[0].start == whole.selection[0].start
    assert blocks[-1].selection[0].stop == whole.selection[0].stop
    assert [b.selection[0].start for b in blocks[1:]] == [b.selection[0].stop for b in blocks[:-1]]
    count = sum(prod(part.stop - part.start for part in block.selection) for block in blocks)
    assert count == prod(part.stop - part.start for part in whole.selection)


def test_a_trace_of_one_chain_says_what_it_lacks():
    found = plan(open_trace("synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4", 8).manifest)
    assert all(isinstance(access, Absent) for access in found.values())
    assert found["chain_rows"].reason == "the trace has no table of chains"


def test_samples_that_paths_name_are_read_whole():
    specs = [tensor(f"outputs/sample_{k}/{name}", (3, 3), axes=("token", "token")) for k in (0, 1) for name in "ab"]
    found = plan(Manifest(tensors=tuple(specs), provenance=Provenance(source="test")))
    assert [read.selection for read in found["one_sample"].reads] == [None, None]


def test_a_ranking_of_samples_is_of_no_sample():
    rows = tensor("outputs/ranking/ranking_score", (5,), axes=("sample",))
    alone = plan(Manifest(tensors=(rows,), provenance=Provenance(source="test")))["one_sample"]
    assert isinstance(alone, Absent) and alone.reason == "the trace has no samples"
    named = [tensor(f"outputs/sample_{k}/a", (3,), axes=("token",)) for k in (0, 1)]
    manifest = Manifest(tensors=(rows, *named), provenance=Provenance(source="test"))
    for seed in range(6):
        assert [read.path for read in plan(manifest, seed)["one_sample"].reads] != [rows.path]
