"""A trace cut to its first layers holds what the whole one does of them, and says so."""

from __future__ import annotations

import numpy as np
import pytest

from harness.trace.first_layers import first_layers, layers_within
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole

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
