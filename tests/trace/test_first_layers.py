"""A trace cut to its first layers holds what the whole one does of them, and says so."""

from __future__ import annotations

import numpy as np
import pytest

from harness.foreign.guessing import parse_rule
from harness.foreign.opening import Asked, open_paths
from harness.trace.first_layers import count_layers, first_layer_bytes, first_layers, layers_within
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole

STACKED = {
    "attention": np.arange(5 * 2 * 6 * 6, dtype=np.float32).reshape(5, 2, 6, 6),
    "hidden": np.arange(5 * 6 * 4, dtype=np.float16).reshape(5, 6, 4),
    "early": np.ones((2, 6, 4), np.float32),
    "mask": np.ones(6, bool),
}
TRACE = open_trace("synthetic:layers=4,heads=2,hidden_dim=8,pair_dim=4", 20)


def test_the_first_layers_are_the_same_and_the_label_says_how_many():
    cut = first_layers(TRACE, 2)
    assert cut.label == f"{TRACE.label} (first 2 of 4 layers)"
    assert {spec.layer for spec in cut.manifest.tensors} == {None, 0, 1}
    assert {spec for spec in TRACE.manifest.tensors if spec.layer is None} <= set(cut.manifest.tensors)
    for spec in cut.manifest.tensors:
        assert np.array_equal(read_whole(cut, spec.path), read_whole(TRACE, spec.path))


@pytest.mark.parametrize("count", [4, 9])
def test_a_trace_without_more_layers_stays_itself(count):
    assert first_layers(TRACE, count) is TRACE


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_as_many_layers_are_taken_as_fit(count):
    nbytes = first_layers(TRACE, count).manifest.nbytes
    assert layers_within(TRACE.manifest, nbytes) == count
    assert layers_within(TRACE.manifest, nbytes - 1) == max(1, count - 1)


@pytest.fixture
def stacked(tmp_path):
    np.savez(tmp_path / "mine.npz", **STACKED)
    rules = (parse_rule("early=array:layer,token,channel"),)
    return open_paths(Asked(paths=(tmp_path / "mine.npz",), rules=rules))


def test_arrays_that_hold_all_layers_are_cut_along_their_first_axis(stacked):
    cut = first_layers(stacked, 3)
    assert count_layers(stacked.manifest) == 5 and cut.label == "file:mine.npz (first 3 of 5 layers)"
    assert {spec.path: spec.shape[0] for spec in cut.manifest.tensors} == {
        "attention": 3, "hidden": 3, "early": 2, "mask": 6,
    }  # fmt: skip
    for path, array in STACKED.items():
        assert np.array_equal(read_whole(cut, path), array if path == "mask" else array[:3])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_as_many_of_stacked_layers_are_taken_as_fit(stacked, count):
    nbytes = first_layers(stacked, count).manifest.nbytes
    assert layers_within(stacked.manifest, nbytes) == count
    assert layers_within(stacked.manifest, nbytes - 1) == max(1, count - 1)
    assert first_layer_bytes(stacked.manifest) == first_layers(stacked, 1).manifest.nbytes


def test_later_layers_of_a_stacked_array_are_not_read(stacked, monkeypatch):
    read = []
    blocks = [STACKED["attention"][k : k + 1] for k in range(5)]
    monkeypatch.setattr(stacked, "blocks", lambda path: (read.append(len(read)) or block for block in blocks))
    assert np.array_equal(read_whole(first_layers(stacked, 2), "attention"), STACKED["attention"][:2])
    assert len(read) == 2


COMPLEX = "synthetic:model=af3,layers=2,heads=1,single_dim=4,pair_dim=2,steps=1,diffusion_layers=5,diffusion_dim=4"


def test_layers_of_a_diffusion_and_of_atoms_are_not_those_of_the_trunk():
    pytest.importorskip("harness.extensions.complexes", reason="the trace is that of another extension")
    trace = open_trace(COMPLEX, 12)
    assert count_layers(trace.manifest) == 2 and first_layers(trace, 2) is trace
    assert "sampled" not in trace.manifest.lacks
    cut = first_layers(trace, 1)
    assert cut.label == f"{trace.label} (first 1 of 2 layers)" and "sampled" in cut.manifest.lacks
    left = {spec.path for spec in trace.manifest.tensors} - {spec.path for spec in cut.manifest.tensors}
    assert left == {"single/layer_1", "pair/layer_1", "attention/pair_bias/layer_1"}
    assert first_layer_bytes(trace.manifest) == cut.manifest.nbytes
