"""The archive schema in HDF5, all layers in one array, and the stage of vision transformers: the same tensors."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import harness
from harness import limits
from harness.errors import UsageError
from harness.extensions.importing import vizfold_layout
from harness.foreign.source import SourceError
from harness.limits import LimitError
from harness.trace.manifest import Metadata
from tests.outputs import HEADS, LAYERS, N, attention, same, values
from tests.program_outputs import Arrays, imported, read_source

SINGLE, PAIR = values(1, LAYERS, N, 6), values(2, LAYERS, N, N, 4)
MAPS = np.stack([attention(layer) for layer in range(LAYERS)])


def schema_tensors() -> Arrays:
    """Tensors of two layers and one step, by the names of the schema."""
    found: Arrays = {"inputs/msa": np.arange(3 * N).reshape(3, N), "structure/ptm": np.array(0.5)}
    for layer in range(LAYERS):
        found[f"activations/layer_{layer}/single_repr"] = SINGLE[layer]
        found[f"pair/layer_{layer}"] = PAIR[layer]
        found[f"attention/layer_{layer}"] = MAPS[layer]
    return found | {"recycle/step_0/pair_repr": PAIR[0], "outputs/coordinates": values(3, N, 3)}


def stacked(found: Arrays) -> Arrays:
    """The same with all layers of a kind in one array, as the schema is drawn."""
    rest = {name: array for name, array in found.items() if "layer_" not in name and "step_" not in name}
    layers = {"activations/layers/single_repr": SINGLE, "pair/layers": PAIR, "attention/layers": MAPS}
    return rest | layers | {"recycle/steps/pair_repr": PAIR[:1]}


def grouped(found: Arrays) -> Arrays:
    """The same with groups ``layers`` of padded names."""
    names = {name: name.replace("/layer_", "/layers/layer_0").replace("/step_", "/steps/step_0") for name in found}
    return {names[name]: array for name, array in found.items()}


def in_hdf5(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.create_dataset("inputs/sequence", data="ACDEFGHIKLM"[:N])
        metadata = file.create_group("metadata")
        metadata.attrs.update({"model_name": "openfold", "num_recycles": 3, "mood": "good"})
        metadata.create_dataset("model_version", data="v2.2")
        metadata.create_dataset("representation_names", data=["single", "pair"])
        metadata.create_dataset("num_layers", data=LAYERS)
    return path


def in_zarr(path: Path, arrays: Arrays) -> Path:
    root = zarr.create_group(path)
    for name, array in arrays.items():
        root.create_array(name, data=array)
    root.create_group("metadata").attrs.update({"sequence": "ACDEFGHIKLM"[:N], "model_name": "openfold"})
    return path


@pytest.mark.parametrize("write", [in_hdf5, in_zarr])
@pytest.mark.parametrize("shape", [dict, stacked, grouped])
def test_each_layout_gives_the_tensors_of_the_schema(tmp_path, write, shape):
    path = write(tmp_path / ("Run.vizfold.h5" if write is in_hdf5 else "run.zarr"), shape(schema_tensors()))
    found, manifest = imported(path)
    same(found, schema_tensors() | {"inputs/sequence": np.frombuffer(b"ACDEFGHIKLM"[:N], np.uint8)})
    assert manifest["attention/layer_1"].axes == ("head", "residue", "residue")
    assert manifest.metadata.model_name == "openfold" and manifest.metadata.num_residues == N
    if write is in_hdf5:
        assert manifest.metadata == Metadata(
            model_name="openfold", model_version="v2.2", num_layers=LAYERS, num_residues=N, num_recycles=3,
            representation_names=("single", "pair"),
        )  # fmt: skip
        assert manifest.provenance.note == 'it also states {"mood": "good"}'


@pytest.mark.parametrize("write", [in_hdf5, in_zarr])
def test_stacked_layers_are_read_by_index(tmp_path, write):
    path = write(tmp_path / ("Run.vizfold.h5" if write is in_hdf5 else "run.zarr"), stacked(schema_tensors()))
    with harness.open(path) as trace:
        assert (trace["attention/layer_1"][0] == MAPS[1, 0]).all()
        assert (trace["pair/layer_0"][2:5, -1, ::2] == PAIR[0, 2:5, -1, ::2]).all()
        assert (np.asarray(trace["activations/layer_1/single_repr"]) == SINGLE[1]).all()


def test_maps_with_heads_last_are_read_by_index(tmp_path):
    path = in_zarr(tmp_path / "run.zarr", {"attention/layer_0": np.moveaxis(MAPS[0], 0, -1).copy()})
    with harness.open(path) as trace:
        assert (trace["attention/layer_0"][1, 2:4] == MAPS[0, 1, 2:4]).all()
        assert (np.asarray(trace["attention/layer_0"]) == MAPS[0]).all()


def test_an_array_without_an_axis_of_layers_is_one_layer_and_told(tmp_path):
    found, manifest = imported(in_hdf5(tmp_path / "x.h5", {"attention/layers": MAPS[0], "single/layers": SINGLE[0]}))
    assert found["attention/layer_0"].tobytes() == MAPS[0].tobytes()
    assert "attention/layers has no axis of layers, and is taken as layer 0" in (manifest.provenance.note or "")


@pytest.mark.parametrize("many", [False, True])
def test_the_stage_of_vision_transformers_keeps_its_axes(tmp_path, many):
    maps, image = values(1, LAYERS, 1, HEADS, 5, 5), values(2, 1, 3, 8, 8)
    layers = {"attention/layers": maps} if many else {f"attention/layer_{k}": maps[k] for k in range(LAYERS)}
    found, manifest = imported(in_zarr(tmp_path / "trace.zarr", {"inputs/processed_image": image} | layers))
    del found["inputs/sequence"]
    same(found, {"inputs/processed_image": image, "attention/layer_0": maps[0], "attention/layer_1": maps[1]})
    assert manifest["attention/layer_1"].axes == ("image", "head", "token", "token")
    assert manifest["inputs/processed_image"].axes == ("image", "image_channel", "row", "column")


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"attention/layers": values(1, 2, 2, HEADS, N, N)}, "attention of one layer is"),
        ({"attention/layers": MAPS, "attention/layer_1": MAPS[1]}, "attention/layer_1 is also in"),
        ({"pair/layers": PAIR, "single/layers": SINGLE[:, 1:]}, f"expected {N - 1} residues|expected {N} residues"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arrays, part):
    with pytest.raises(SourceError, match=part):
        read_source(in_hdf5(tmp_path / "x.h5", arrays))


def also(path: Path, name: str, array: np.ndarray) -> None:
    """Add an array to a store that is there."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.create_dataset(name, data=array)
    else:
        zarr.open_group(path).create_array(name, data=array)


@pytest.mark.parametrize("write", [in_hdf5, in_zarr])
def test_a_large_array_among_metadata_is_a_tensor_and_no_text(tmp_path, write):
    path = write(tmp_path / ("x.h5" if write is in_hdf5 else "x.zarr"), {"single/layer_0": SINGLE[0]})
    table = np.arange(40 * 40).reshape(40, 40)
    also(path, "metadata/table", table)
    also(path, "metadata/layers", np.arange(2000))
    also(path, "metadata/few", np.arange(3))
    found, manifest = imported(path)
    assert found["_metadata/table"].tobytes() == table.tobytes() and found["_metadata/layers"].shape == (2000,)
    note = manifest.provenance.note or ""
    assert "metadata/table is stored as _metadata/table" in note
    assert '"few": [0, 1, 2]' in note and '"table"' not in note


def test_bits_of_values_among_metadata_are_not_read_as_numbers(tmp_path):
    root = zarr.create_group(tmp_path / "x.zarr", zarr_format=2)
    root.create_array("single/layer_0", data=SINGLE[0])
    bits = np.array([0x3F80, 0x4000], "<u2")  # 1 and 2 in bfloat16
    root.create_array("metadata/scale", data=bits.view("V2"))
    found, manifest = imported(tmp_path / "x.zarr")
    assert found["_metadata/scale"].tobytes() == bits.tobytes() and manifest["_metadata/scale"].values == "bfloat16"
    assert "also states" not in (manifest.provenance.note or "")


@pytest.mark.parametrize("write", [in_hdf5, in_zarr])
def test_a_long_index_of_residues_keeps_its_place(tmp_path, monkeypatch, write):
    monkeypatch.setattr(vizfold_layout, "_MOST_FACTS", 1)
    path = write(tmp_path / ("x.h5" if write is in_hdf5 else "x.zarr"), {"single/layer_0": SINGLE[0]})
    also(path, "metadata/residue_index", np.arange(5, 5 + N))
    found, manifest = imported(path)
    assert found["inputs/residue_index"].tolist() == list(range(5, 5 + N))
    assert manifest["inputs/residue_index"].axes == ("residue",)


def test_metadata_that_state_far_more_than_is_stored_are_refused_unread(tmp_path, monkeypatch):
    path = in_zarr(tmp_path / "x.zarr", {"single/layer_0": SINGLE[0]})
    zarr.open_group(path).create_array("metadata/x", shape=(10**7,), dtype="i1", chunks=(10**6,))
    monkeypatch.setattr(limits, "_INFLATED", 1 << 20)
    with pytest.raises(LimitError, match="states arrays of"):
        read_source(path)


@pytest.mark.parametrize("write", [in_hdf5, in_zarr])
def test_complex_numbers_are_kept(tmp_path, write):
    waves = values(1, 5) + 1j * values(2, 5)
    path = write(tmp_path / ("x.h5" if write is in_hdf5 else "x.zarr"), {"single/layer_0": SINGLE[0], "waves": waves})
    assert imported(path)[0]["waves"].tobytes() == waves.tobytes()


def test_attributes_that_are_no_utf8_are_told_as_far_as_they_can_be(tmp_path):
    path = in_hdf5(tmp_path / "x.h5", {"single/layer_0": SINGLE[0]})
    with h5py.File(path, "r+") as file:
        file["metadata"].attrs.create(b"t\xe9mp", 5)
        file["metadata"].attrs.create("model_version", b"r\xe9v 2", dtype=h5py.string_dtype())
        file[b"metadata/temp\xe9rature"] = np.arange(3)
        file[b"temp\xe9rature"] = values(1, 3)
    found, manifest = imported(path)
    assert found["temp_xe9rature"].tobytes() == values(1, 3).tobytes()
    note = manifest.provenance.note or ""
    assert r'"t\ufffdmp": 5' in note and r'"temp\\xe9rature": [0, 1, 2]' in note


def test_a_file_of_another_program_is_not_taken_for_it(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["inputs/images"] = values(1, 2, 3)
        file["single/layer_0"] = h5py.SoftLink("/inputs/images")
    with pytest.raises(UsageError, match="is not an HDF5 file of the archive schema"):
        read_source(tmp_path / "x.h5", "vizfold-hdf5")
