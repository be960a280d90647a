"""A tensor that does not fit those before it is refused alone, when it is assigned."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from harness.trace.schema import SchemaError

PAIR = np.zeros((9, 9, 4), np.float32)


def test_what_cannot_stand_beside_the_others_is_refused_and_they_stay(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        out["pair/layer_0"] = PAIR
        out["outputs/x/y"] = [1]
        with pytest.raises(SchemaError, match=r"pair/layer_1: expected 9 residues along .*, got shape \(10,"):
            out["pair/layer_1"] = np.zeros((10, 10, 4))
        with pytest.raises(SchemaError, match="pair/layer_1: expected 9 residues"):
            out["pair/layer_1"] = np.zeros((10, 9, 4))
        for path, both in (("outputs/x", "outputs/x"), ("outputs", "outputs"), ("outputs/x/y/z", "outputs/x/y")):
            with pytest.raises(SchemaError, match=f"{both}: expected either a tensor or a group"):
                out[path] = [1]
            with pytest.raises(SchemaError, match=f"{both}: expected either a tensor or a group"):
                out.append(path, [1])
        out["pair/layer_1"] = PAIR
    with harness.open(tmp_path / "a.h5", verify=True) as trace:
        assert list(trace) == ["pair/layer_0", "outputs/x/y", "pair/layer_1"]


def test_the_stated_number_of_residues_counts(tmp_path):
    with harness.create(tmp_path / "a.h5", {"num_residues": 9}) as out:
        with pytest.raises(SchemaError, match="single/layer_0: expected 9 residues"):
            out["single/layer_0"] = np.zeros((8, 3))
        out["single/layer_0"] = np.zeros((9, 3))
    assert out.manifest is not None and out.manifest.metadata.num_residues == 9


def test_rows_that_are_added_count_at_the_end(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        out.append("outputs/rows", PAIR[:4], axes=("residue", "residue", "depth"))
        out["pair/layer_0"] = PAIR
        out.append("outputs/rows", PAIR[4:])
        with pytest.raises(SchemaError, match="outputs/others: expected 9 residues"):
            out.append("outputs/others", PAIR[:4, :8], axes=("residue", "residue", "depth"))
    assert out.manifest is not None and out.manifest["outputs/rows"].shape == (9, 9, 4)
    with (
        pytest.raises(SchemaError, match="outputs/rows: expected 9 residues"),
        harness.create(tmp_path / "b.h5") as out,
    ):
        out["pair/layer_0"] = PAIR
        out.append("outputs/rows", PAIR[:4], axes=("residue", "residue", "depth"))
    assert not (tmp_path / "b.h5").exists()


def test_a_tensor_that_was_written_may_grow_too(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        out["single/layer_0"] = np.zeros((5, 3))
        with pytest.raises(SchemaError, match="pair/layer_0: expected 5 residues"):
            out["pair/layer_0"] = PAIR
        out.append("single/layer_0", np.zeros((4, 3)))
        out["pair/layer_0"] = PAIR
    assert out.manifest is not None and out.manifest["single/layer_0"].shape == (9, 3)
