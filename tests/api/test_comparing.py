"""What is compared is taken for what it is: tensors of an open trace keep their role and axes."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from harness.api.comparing import _trace
from harness.errors import UsageError


def test_tensors_of_an_open_trace_keep_their_role_and_axes(tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "mine.npz", attn=rng.random((3, 9, 9)), s=rng.random((9, 4)))
    told = {"attn": "pair:channel,residue,residue", "s": "single:residue,channel"}
    with harness.open(tmp_path / "mine.npz", map=told) as trace:
        arrays = {"a[0]*": trace["attn"], "s": trace["s"], "number": np.array(2.0), "other": rng.random((2, 9, 9))}
        text = _trace(arrays, tmp_path / "place")
    with harness.open(tmp_path / "place" / "arrays.raw") as written:
        assert text == f"file:{tmp_path / 'place' / 'arrays.raw'}"
        found = {name: (str(array.role), array.axes) for name, array in written.items()}
    assert found == {
        "a_0__": ("pair", ("channel", "residue", "residue")),
        "s": ("single", ("residue", "channel")),
        "number": ("array", ()),
        "other": ("attention", ("head", "query", "key")),
    }


def test_what_numpy_makes_no_array_of_is_refused(tmp_path):
    with pytest.raises(UsageError, match="ragged: NumPy makes no array of this list"):
        harness.compare_formats({"ragged": [[1], [2, 3]]}, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arrays", [{}, {3: [1]}, [[1, 2]], np.ones(3), None])
def test_what_is_no_mapping_of_names_to_arrays_is_refused(tmp_path, arrays):
    with pytest.raises(UsageError, match=r"^compare_formats\(\) takes a path, an open trace, or at least one array by"):
        harness.compare_formats(arrays, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rounds", [0, "3", 1.5])
def test_rounds_that_cannot_be_are_refused(rounds):
    with pytest.raises(UsageError, match="rounds is a positive integer"):
        harness.compare_formats({"x": [1]}, rounds=rounds)
