"""Plans are pure: the same manifest and seed give the same accesses, inside the tensors, for every format alike."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from harness import registry
from harness.run.schedule import generator
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import tensor
from harness.trace.sources import open_trace
from harness.workload import (
    Absent,
    PlanOptions,
    Read,
    ReadAccess,
    SizeAccess,
    WriteAccess,
    requested_bytes,
    whole_reads,
)

PROTEIN = open_trace("synthetic:layers=3,heads=2,hidden_dim=8,pair_dim=4", 50).manifest
VISION = Manifest(
    tensors=(tensor("attention/layer_0", (3, 2, 50, 50)), tensor("outputs/logits", (3, 10))),
    provenance=Provenance(source="test"),
)
NAMES = registry.names("suites")


def plan(name, manifest, seed=0, options=None):
    return registry.load("suites", name).plan(manifest, generator(seed, name), options or PlanOptions())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("manifest", [PROTEIN, VISION], ids=["protein", "vision"])
def test_a_plan_is_repeatable_and_stays_inside_the_tensors(name, manifest):
    accesses = plan(name, manifest)
    assert accesses == plan(name, manifest)
    assert len({(a.name, getattr(a, "executor", ""), getattr(a, "workers", 0)) for a in accesses}) == len(accesses)
    for access in accesses:
        for read in access.reads if isinstance(access, ReadAccess) else ():
            spec = manifest[read.path]
            for part, length in zip(read.selection or (), spec.shape, strict=bool(read.selection)):
                assert 0 <= part.start < part.stop <= length and part.step is None


def test_full_read_asks_for_every_byte():
    (access,) = plan("full_read", PROTEIN)
    assert [read.path for read in access.reads] == [spec.path for spec in PROTEIN.tensors]
    assert all(read.selection is None for read in access.reads)


def test_layer_read_asks_for_a_layer_a_head_and_a_pair_layer():
    layer, head, pair = plan("layer_read", PROTEIN)
    assert layer.reads[0].path.startswith("attention/") and pair.reads[0].path.endswith("pair_repr")
    assert [s.stop - s.start for s in head.reads[0].selection] == [1, 50, 50]
    *_, absent = plan("layer_read", VISION)
    assert isinstance(absent, Absent) and "pair" in absent.reason


def test_windows_are_32_square_spread_over_heads_and_layers():
    accesses = {a.name: a for a in plan("random_access", PROTEIN, options=PlanOptions(attention_windows=200))}
    windows = accesses["window_attention"].reads
    assert {tuple(s.stop - s.start for s in read.selection) for read in windows} == {(1, 32, 32)}
    assert len({read.path for read in windows}) == 3 and len({read.selection[0].start for read in windows}) == 2
    assert {tuple(s.stop - s.start for s in r.selection) for r in accesses["window_pair"].reads} == {(32, 32, 4)}
    once = accesses["window_pair_load_once"]
    assert once.load_once and once.reads == accesses["window_pair"].reads


def test_a_window_of_a_short_axis_takes_it_whole():
    short = Manifest(tensors=(tensor("attention/layer_0", (2, 20, 20)),), provenance=Provenance(source="test"))
    read = plan("random_access", short)[0].reads[0]
    assert [s.stop - s.start for s in read.selection] == [1, 20, 20]


def test_vision_windows_are_of_one_image_and_head():
    for read in plan("random_access", VISION)[0].reads:
        assert [s.stop - s.start for s in read.selection] == [1, 1, 32, 32]


def test_every_number_of_workers_gets_the_same_windows():
    accesses = plan("parallel_access", PROTEIN)
    assert all(access.reads == accesses[0].reads for access in accesses)
    cases = {(access.executor, access.workers) for access in accesses}
    assert cases >= {*(("threads", n) for n in (1, 2, 4, 8)), *(("processes", n) for n in (1, 2, 4))}
    assert ("threads-shared", 8) in cases


def test_many_windows_are_equal_shares_and_bounded_by_what_whole_tensors_would_cost():
    many = PlanOptions(attention_windows=5, parallel_windows=100)
    assert {len(access.reads) for access in plan("parallel_access", PROTEIN, options=many)} == {96}  # for 8 workers
    large = open_trace("synthetic:layers=1,heads=16", 4096).manifest  # 1 GiB a tensor
    assert {len(access.reads) for access in plan("parallel_access", large, options=many)} == {5}
    many = dataclasses.replace(many, parallel_bytes=None)
    assert {len(access.reads) for access in plan("parallel_access", large, options=many)} == {96}


def test_sizes_are_given_with_both_groups_filled_and_with_one():
    archive, one, both = plan("size", PROTEIN)
    assert isinstance(archive, SizeAccess) and archive.tensors is None
    assert {"single/layer_0", "pair/layer_0"} == set(dict(both.tensors)) - set(dict(one.tensors))
    assert dict(both.tensors)["pair/layer_0"] == "activations/layer_0/pair_repr"


def test_writing_takes_another_layer_in_each_round():
    (access,) = plan("write", PROTEIN)
    assert isinstance(access, WriteAccess) and len(access.tensors) == 3
    assert all(f"layer_{k}" in name for k, round_ in enumerate(access.tensors) for name, _ in round_)


def test_the_seed_decides_what_is_drawn():
    assert plan("random_access", PROTEIN, seed=0) != plan("random_access", PROTEIN, seed=1)


SMALL = PlanOptions(whole_bytes=5000, block_bytes=3000)


@pytest.mark.parametrize(("suite", "access"), [("full_read", "all_tensors"), ("layer_read", "pair_layer")])
def test_a_large_tensor_is_read_as_consecutive_blocks_of_rows(suite, access):
    planned = {a.name: a for a in plan(suite, PROTEIN, options=SMALL)}[access]
    whole = {a.name: a for a in plan(suite, PROTEIN)}[access]
    assert requested_bytes(PROTEIN, planned.reads) == requested_bytes(PROTEIN, whole.reads)
    blocks = [read for read in planned.reads if PROTEIN[read.path].nbytes > SMALL.whole_bytes]
    assert blocks
    for path, reads in itertools.groupby(blocks, key=lambda read: read.path):
        parts = [read.selection for read in reads]
        assert [part[0].start for part in parts] == [0, *(part[0].stop for part in parts[:-1])]
        assert parts[-1][0].stop == PROTEIN[path].shape[0]
        for read in (Read(path=path, selection=part) for part in parts):
            assert (
                requested_bytes(PROTEIN, [read]) <= SMALL.block_bytes
                or read.selection[0].stop - 1 == read.selection[0].start
            )
    for read in planned.reads:
        assert PROTEIN[read.path].nbytes > SMALL.whole_bytes or read.selection is None


def test_a_tensor_of_1024_residues_is_still_one_read():
    spec = tensor("pair/layer_0", (1024, 1024, 128))
    assert whole_reads(spec, PlanOptions()) == (Read(path=spec.path),)
    assert len(whole_reads(tensor("pair/layer_0", (4096, 4096, 128)), PlanOptions())) == 32


def test_what_would_hold_a_large_tensor_is_absent_and_says_why():
    once = {a.name: a for a in plan("random_access", PROTEIN, options=SMALL)}
    assert isinstance(once["window_pair_load_once"], Absent) and "GB" in once["window_pair_load_once"].reason
    assert isinstance(once["window_pair"], ReadAccess)
