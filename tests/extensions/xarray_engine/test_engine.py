"""Archives as xarray opens them: what is asked for is read, under names that xarray can have."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import h5py
import numpy as np
import pytest

import harness
from harness.api.open_files import StoredTrace
from harness.errors import UsageError
from harness.formats.selection import lengths

xarray = pytest.importorskip("xarray", reason="the extra 'xarray' is not installed")
TraceBackend = pytest.importorskip("harness.extensions.xarray_engine.backend").TraceBackend

RNG = np.random.default_rng(11)
ARRAYS = {
    "attention/layer_0": RNG.random((4, 9, 9), np.float32),
    "attention/msa_row/layer_0": RNG.random((2, 9, 9), np.float32),
    "pair/layer_0": RNG.normal(size=(9, 9, 3)),
    "structure/ptm": np.float32(0.5),
}


@pytest.fixture(params=["h5", "slim.zarr"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a.{request.param}"
    with harness.create(path, {"model_name": "mine"}) as out:
        for name, array in ARRAYS.items():
            out[name] = array
        out.write("outputs/wide", np.zeros((5, 5)), axes=("pair_channel", "pair_channel"))
    return path


def test_the_engine_is_registered_with_xarray():
    (point,) = entry_points(group="xarray.backends", name="trace-harness")
    assert point.load() is TraceBackend and not TraceBackend().guess_can_open("a.slim.zarr")


def test_a_tree_has_the_tensors_of_each_group_and_reads_what_is_asked_for(archive, monkeypatch):
    asked = []
    whole = StoredTrace.read

    def noted(self, path, selection):
        asked.append((path, selection and lengths(selection)))
        return whole(self, path, selection)

    monkeypatch.setattr(StoredTrace, "read", noted)
    with xarray.open_datatree(archive, engine=TraceBackend) as tree:
        assert asked == [] and tree.attrs == {"model_name": "mine", "num_residues": 9}
        assert set(tree.groups) == {"/", "/attention", "/attention/msa_row", "/pair", "/structure", "/outputs"}
        found = tree["attention/layer_0"].isel(head=1, residue=[7, 2], residue_2=slice(None, None, -4))
        np.testing.assert_array_equal(found, ARRAYS["attention/layer_0"][1, [7, 2]][:, ::-4])
        assert asked == [("attention/layer_0", (1, 6, 9))] and found.attrs == {"role": "attention"}
        assert tree["attention/msa_row/layer_0"].dims == ("head_of_2", "residue", "residue_2")
        assert tree["outputs/wide"].dims == ("pair_channel_of_5", "pair_channel_2")
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(tree[name], array)
    with pytest.raises(UsageError, match="was closed"):
        tree["outputs/wide"].load()


def test_a_dataset_has_a_group_or_all_tensors_under_their_names(archive):
    with xarray.open_dataset(archive, engine=TraceBackend, drop_variables="pair/layer_0") as flat:
        assert list(flat) == [name for name in (*ARRAYS, "outputs/wide") if name != "pair/layer_0"]
        np.testing.assert_array_equal(flat["structure/ptm"], 0.5)
    with xarray.open_dataset(archive, engine=TraceBackend, group="attention") as group:
        assert list(group) == ["layer_0"]
    with pytest.raises(UsageError, match="no group of tensors named '/attentoin'; did you mean '/attention'"):
        xarray.open_dataset(archive, engine=TraceBackend, group="attentoin")
    groups = xarray.open_groups(archive, engine=TraceBackend, drop_variables=["layer_0"])
    assert set(groups) == {"/", "/structure", "/outputs"}
    groups["/"].close()


def test_a_trace_and_a_tensor_become_xarray_objects(archive):
    with harness.open(archive) as trace:
        pair = trace["pair/layer_0"].to_xarray()
        assert (pair.name, pair.dims, pair.dtype) == ("layer_0", ("residue", "residue_2", "pair_channel"), np.float64)
        np.testing.assert_array_equal(pair[2, 3:5], ARRAYS["pair/layer_0"][2, 3:5])
        np.testing.assert_array_equal(trace.to_xarray()["pair/layer_0"], ARRAYS["pair/layer_0"])


def test_an_axis_with_the_name_of_a_scalar_is_another_dimension(tmp_path):
    maps = RNG.random((2, 4, 9, 9))
    np.savez(tmp_path / "run.npz", layer=12, attn=maps)
    with harness.open(tmp_path / "run.npz") as trace:
        assert trace["attn"].axes == ("layer", "head", "query", "key") == trace["attn"].to_xarray().dims
        tree = trace.to_xarray()
        assert tree["attn"].dims == ("layer_of_2", "head", "query", "key") and tree["layer"] == 12
        np.testing.assert_array_equal(tree["attn"], maps)
        tree.to_dataset().to_zarr(tmp_path / "again.zarr", consolidated=False)
    with harness.open(tmp_path / "again.zarr") as again:
        assert again["attn"].axes == ("layer", "head", "query", "key")


def test_a_scalar_in_a_group_takes_its_name_and_its_path(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        out["outputs/layer"] = 3
        out.write("outputs/maps", np.ones((2, 2, 5)), axes=("layer", "layer", "outputs/layer"))
    dims = ("layer_of_2", "layer_2", "outputs/layer_of_5")
    with xarray.open_datatree(tmp_path / "a.h5", engine=TraceBackend) as tree:
        assert tree["outputs/maps"].dims == dims and tree["outputs/layer"] == 3
    with xarray.open_dataset(tmp_path / "a.h5", engine=TraceBackend) as flat:
        assert flat["outputs/maps"].dims == dims and flat["outputs/layer"] == 3


def test_tensors_that_are_called_as_an_axis_are_no_error(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["token"], file["x/token"], file["x/y/token"] = np.arange(9), np.arange(9), np.arange(9)[::-1]
        file["head"], file["attn"] = RNG.random((9, 4)), RNG.random((9, 9, 9))
    told = {"*token": "array:token", "head": "array:head,channel", "attn": "attention:head,token,key"}
    with harness.open(tmp_path / "theirs.h5", map=told) as trace:
        tree = trace.to_xarray()
        for path, array in trace.items():
            np.testing.assert_array_equal(tree[path], array)


def test_chunks_are_those_that_are_stored(archive):
    pytest.importorskip("dask", reason="the extra 'dask' is not installed")
    with xarray.open_dataset(archive, engine=TraceBackend, group="pair", chunks={}) as opened:
        assert opened["layer_0"].chunks is not None
        np.testing.assert_array_equal(opened["layer_0"].mean("residue"), ARRAYS["pair/layer_0"].mean(0))
