"""What a person's own files are not taken for: archives as containers, names and axes for what they are not."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import harness
from harness.cli import main
from harness.errors import UsageError
from harness.foreign.guessing import guess, parse_rule
from harness.foreign.naming import plain_path, stated_axes
from harness.foreign.opening import Asked, open_paths, take_arrays, taken
from harness.foreign.source import ForeignArray
from harness.formats.base import load_format
from harness.formats.conversion import convert
from harness.trace.schema import Role
from harness.trace.stream import read_whole
from tests.conftest import plain

N = 12


def source(folder: Path) -> Path:
    """Arrays that slimming stores as something else: halves in float32, small numbers in int64, two equal ones."""
    halves = np.random.default_rng(0).normal(size=(N, N, 4)).astype(np.float16).astype(np.float32)
    folder.mkdir(exist_ok=True)
    arrays = {"pair/layer_0": halves, "again": halves, "outputs/small": np.arange(N, dtype=np.int64)}
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def archive(folder: Path, name: str) -> Path:
    backend = load_format(name)
    path = folder / f"made{backend.suffix}"
    convert(open_paths(Asked(paths=(source(folder),))), backend, path, "tuned")
    return path


FORMATS = ("zarr-slim", "hdf5-slim", "npz-slim", "zarr", "hdf5", "npz", "raw")


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_is_never_read_as_a_container(tmp_path, capsys, name):
    made = archive(tmp_path / "a", name)
    said = "is an archive of this harness, and its tensors have roles and axes: give it alone, without a map"
    assert main(["convert", str(made), str(tmp_path / "out.h5"), "--map", "outputs/*=skip"]) == 2
    assert said in plain(capsys.readouterr().err)
    with pytest.raises(UsageError, match=said):
        harness.open(made, map={"outputs/*": "skip"})
    other = archive(tmp_path / "b", "zarr-slim")
    assert main(["run", str(made), str(other), "--out", str(tmp_path / "run")]) == 2
    assert f"{made} {said}" in plain(capsys.readouterr().err)
    assert not (tmp_path / "out.h5").exists() and not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="which no importer reads: leave out --kind"):
        open_paths(Asked(paths=(made,), kind="vizfold-zarr"))
    assert set(open_paths(Asked(paths=(made,))).manifest.tensor_dtypes.values()) == {"float32", "int64"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_in_a_folder_of_arrays_is_left_out_by_name(tmp_path, name):
    made = archive(tmp_path / "mine", name)
    found = take_arrays(Asked(paths=(made.parent,)))
    assert {spec.path for spec in found.trace.manifest.tensors} == {
        "mine/pair/layer_0", "mine/again", "mine/outputs/small"
    }  # fmt: skip
    assert found.left_out == {made.name: "an archive of this harness: give it alone"}
    assert open_paths(Asked(paths=(made.parent,))).manifest.tensors == found.trace.manifest.tensors


def test_a_folder_of_archives_alone_says_what_they_are(tmp_path, capsys):
    made = archive(tmp_path / "mine", "zarr-slim")
    source(tmp_path / "mine").unlink()
    assert main(["run", str(made.parent), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "made.slim.zarr: an archive of this harness: give it alone" in said and len(said.strip().splitlines()) == 1


def test_a_group_in_an_archive_is_refused(tmp_path):
    made = archive(tmp_path / "mine", "zarr-slim")
    within = next(path for path in made.iterdir() if path.is_dir())
    with pytest.raises(UsageError, match=r"lies in .*made\.slim\.zarr, which is an archive of this harness"):
        open_paths(Asked(paths=(within,)))


def test_padded_names_of_the_schema_lose_their_zeros_and_are_listed(tmp_path, capsys):
    z, maps = np.zeros((N, N, 4), np.float32), np.zeros((3, N, N), np.float32)
    names = {"pair/layer_00": z, "outputs/layer_01": z, "attention/kind/layer_010": maps, "recycle/step_00/x": z}
    np.savez(tmp_path / "m.npz", **names, **{"mine/layer_00": z})
    found = take_arrays(Asked(paths=(tmp_path / "m.npz",)))
    made = {"pair/layer_0": "pair/layer_00", "outputs/layer_1": "outputs/layer_01"}
    made |= {"attention/kind/layer_10": "attention/kind/layer_010", "recycle/step_0/x": "recycle/step_00/x"}
    assert found.renamed == made
    assert {spec.path for spec in found.trace.manifest.tensors} == {*made, "mine/layer_00"}
    assert found.trace.manifest["pair/layer_0"].axes == ("residue", "residue", "pair_channel")
    assert found.guesses["attention/kind/layer_10"].why == "the schema's name"
    assert main(["convert", str(tmp_path / "m.npz"), str(tmp_path / "m.h5")]) == 0
    assert "pair/layer_00 is stored as pair/layer_0" in plain(capsys.readouterr().out)
    np.savez(tmp_path / "two.npz", **{"pair/layer_00": z, "pair/layer_0": z})
    with pytest.raises(UsageError, match="'pair/layer_00' and 'pair/layer_0' would be one"):
        open_paths(Asked(paths=(tmp_path / "two.npz",)))


def test_padding_that_the_schema_does_not_ask_to_take_off_stays():
    assert [*map(plain_path, ("mine/layer_00", "outputs/layer_00_mean", "outputs/layer_00"))] == [
        "mine/layer_00", "outputs/layer_00_mean", "outputs/layer_0",
    ]  # fmt: skip


def foreign(**found: tuple[int, ...]) -> dict[str, ForeignArray]:
    return {name: ForeignArray(shape, "float32", lambda: None) for name, shape in found.items()}


def guessed(arrays: dict[str, tuple[int, ...]]) -> dict[str, tuple[Role | None, str]]:
    found = guess(foreign(**arrays))
    return {name: (one.role, " ".join(one.axes)) for name, one in found.items()}


LIKE_THE_SCHEMA = {
    "pair/layer_0": ((1, 40, 40, 128), "axis_0 token token channel"),
    "attention/layer_0": ((40, 40), "query key"),
    "attention/layer_1": ((1, 8, 40, 40), "axis_0 head query key"),
    "attention/layer_2": ((8, 40, 50), "head residue residue_of_50"),
    "pair/bias": ((4, 40, 40), "head query key"),
    "single/pae": ((40, 40), "token token"),
    "single/layer_0": ((40,), "token"),
    "outputs/logits": ((40, 20), "token channel"),
    "activations/layer_0/hidden_states": ((1, 40, 16), "axis_0 token channel"),
}


def test_a_name_of_the_schema_with_other_axes_is_a_plain_array(tmp_path, capsys):
    np.savez(tmp_path / "m.npz", z=np.zeros((40, 40, 4)), **{k: np.zeros(shape) for k, (shape, _) in
                                                             LIKE_THE_SCHEMA.items()})  # fmt: skip
    found = take_arrays(Asked(paths=(tmp_path / "m.npz",)))
    specs = {spec.path: (spec.role, " ".join(spec.axes)) for spec in found.trace.manifest.tensors if spec.path != "z"}
    assert specs == {name: (Role.ARRAY, axes) for name, (_, axes) in LIKE_THE_SCHEMA.items()}
    assert found.guesses["pair/bias"].why == "the schema has other axes under this name, or none"
    assert found.guesses["attention/layer_2"].why == "50 residues, where most arrays have 40"
    for name, (shape, _) in LIKE_THE_SCHEMA.items():  # each alone too
        np.savez(tmp_path / "one.npz", **{name: np.zeros(shape)})
        assert open_paths(Asked(paths=(tmp_path / "one.npz",))).manifest[name].role is Role.ARRAY, name


def test_arrays_of_one_role_that_disagree_are_told():
    found = guess(foreign(**{"pair/layer_0": (40, 40, 8), "pair/layer_1": (40, 40, 8), "pair/layer_2": (50, 50, 8)}))
    assert found["pair/layer_2"].role is Role.ARRAY and found["pair/layer_1"].role is Role.PAIR
    assert found["pair/layer_2"].why == "50 residues, where most arrays have 40"
    found = guess(foreign(a=(40, 40), b=(40, 40), w=(64, 64)))
    assert found["w"].why == "its square axes have 64, and most have 40"


def test_images_are_of_images_where_there_are_some():
    found = guessed({"inputs/images": (2, 1, 28, 28), "attention/layer_0": (2, 4, 50, 50), "outputs/logits": (2, 10)})
    assert found["attention/layer_0"] == (Role.ATTENTION, "image head token token")
    assert found["outputs/logits"] == (Role.OUTPUT, "image class")


def test_only_axes_of_the_usual_length_are_tokens():
    found = guessed({"a": (40, 40), "b": (40, 40), "w": (64, 64), "h": (10, 64), "s": (10, 40), "m": (40, 8, 40)})
    assert found["h"] == (Role.ARRAY, "axis_0 axis_1") and found["s"] == (Role.ARRAY, "axis_0 token")
    assert found["m"] == (Role.ARRAY, "token axis_1 token")
    # The schema's names say how many there are too.
    found = guessed({"pair/layer_0": (40, 40, 8), "pair/layer_1": (40, 40, 8), "hidden": (40, 64), "w": (64, 64)})
    assert found["hidden"] == (Role.ARRAY, "token channel") and found["w"][0] is Role.ARRAY


def test_a_file_of_weights_is_no_trace():
    names = {"attn.q_proj.weight": (768, 768), "mlp.weight": (768, 768), "attn.q_proj.bias": (768,), "out.bias": (768,)}
    assert {role for role, _ in guessed(names).values()} == {Role.ARRAY}
    assert guessed(names)["attn.q_proj.bias"][1] == "axis_0"
    found = guess(foreign(**names, attenuation=(40, 40), attn=(40, 40)))
    assert (found["attenuation"].role, found["attn"].role) == (Role.PAIR, Role.ATTENTION)
    assert found["mlp.weight"].why == "weights of a model, by its name"
    told = guess(foreign(**names), [parse_rule("mlp.weight=pair:token,token")])
    assert told["mlp.weight"].role is Role.PAIR


def test_axes_are_named_as_before_a_file_numbered_them():
    for names, shape, axes in (
        (("residue", "residue_2", "channel_of_64"), (12, 12, 64), ("residue", "residue", "channel")),
        (("residue_of_7", "residue_2_of_7"), (7, 7), ("residue", "residue")),
        (("x", "x_3"), (12, 12), ("x", "x_3")),
        (("x", "x_2"), (12, 13), ("x", "x_2")),
        (("dim_0", "dim_1"), (3, 4), ()),
        (("phony_dim_3", "axis_1_of_4"), (3, 4), ()),
        ((), (3, 4), ()),
    ):
        assert stated_axes(names, shape) == axes


def with_axes(path: Path, arrays: dict[str, tuple[np.ndarray, str]]) -> Path:
    """Write HDF5 as netCDF 4 has it: a dimension for each axis, once in a group, by the names that are given."""
    with h5py.File(path, "w") as file:
        for name, (array, axes) in arrays.items():
            data = file.create_dataset(name, data=array)
            group = data.parent
            for place, axis in enumerate(axes.split()):
                if axis not in group:
                    group[axis] = np.zeros(array.shape[place], ">f4")
                    group[axis].make_scale("This is a netCDF dimension but not a netCDF variable.        12")
                data.dims[place].attach_scale(group[axis])
    return path


def test_a_file_that_names_its_axes_may_have_names_of_the_schema(tmp_path):
    z, maps, other = np.ones((N, N, 4), np.float32), np.ones((3, N, N), np.float32), np.ones((N + 1, 4), np.float32)
    path = with_axes(tmp_path / "x.nc", {
        "pair/layer_0": (z, "residue residue_2 pair_channel"),
        "pair/layer_1": (z, "x y c"),
        "attention/layer_0": (maps, "head query key"),
        "other/x": (other, "residue channel"),
    })  # fmt: skip
    found = take_arrays(Asked(paths=(path,)))
    assert {spec.path: (spec.role, spec.axes) for spec in found.trace.manifest.tensors} == {
        "pair/layer_0": (Role.PAIR, ("residue", "residue", "pair_channel")),
        "pair/layer_1": (Role.ARRAY, ("x", "y", "c")),
        "attention/layer_0": (Role.ATTENTION, ("head", "query", "key")),
        "other/x": (Role.ARRAY, (f"residue_of_{N + 1}", "channel")),
    }
    assert found.guesses["pair/layer_0"].why == "the schema's name"
    assert found.guesses["other/x"].why == f"{N + 1} residues, where most arrays have {N}"
    assert (read_whole(found.trace, "pair/layer_0") == z).all()


@pytest.mark.parametrize("kind", ["zarr", "netcdf"])
def test_what_to_xarray_writes_is_read_again(tmp_path, kind):
    pytest.importorskip("xarray", reason="comes with the extra xarray")
    engine = pytest.importorskip("h5netcdf", reason="xarray writes netCDF 4 with it") if kind == "netcdf" else None
    rng = np.random.default_rng(0)
    arrays = {f"pair/layer_{k}": rng.random((N, N, 4), np.float32) for k in range(2)}
    arrays |= {"attention/layer_0": rng.random((3, N, N), np.float32), "single/layer_0": rng.random((N, 7), np.float32)}
    arrays |= {
        "structure/atom_positions": rng.random((N, 37, 3), np.float32),
        "hidden": rng.random((5, N, 9), np.float32),
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    assert main(["convert", str(tmp_path / "mine.npz"), str(tmp_path / "a.h5")]) == 0
    with harness.open(tmp_path / "a.h5") as trace:
        before = trace.manifest
        if engine:
            trace.to_xarray().to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
        else:
            trace.to_xarray().to_zarr(tmp_path / "x.zarr")
    again = open_paths(Asked(paths=(tmp_path / ("x.nc" if engine else "x.zarr"),)))
    assert {spec.path: spec for spec in again.manifest.tensors} == {spec.path: spec for spec in before.tensors}
    assert {path: read_whole(again, path).tobytes() for path in arrays} == {k: a.tobytes() for k, a in arrays.items()}


@pytest.mark.slow
def test_a_run_says_what_an_importer_took_and_left_out(tmp_path, capsys, monkeypatch, sketched):
    monkeypatch.chdir(tmp_path)
    content = {
        "token_res_ids": [1, 2],
        "pae": [[0.5, 1], [1, 2]],
        "contact_probs": [[1, 0], [0, 1]],
        "atom_plddts": [1],
    }
    (tmp_path / "job").mkdir()
    (tmp_path / "job/confidences.json").write_text(json.dumps(content))
    np.save(tmp_path / "job/mine.npy", np.zeros(3))
    found = taken(Asked(paths=(tmp_path / "job",)))
    assert found is not None and found.guesses["outputs/contact_probs"].why == "imported by alphafold3"
    options = ["--preset", "quick", "--formats", "hdf5", "--readers", "stock", "--rounds", "1", "--suites", "size"]
    assert main(["run", "job", *options, "--out", "run"]) == 0
    said = plain(capsys.readouterr().out)
    assert "imported by alphafold3" in said and "left out (nothing of AlphaFold3): mine.npy" in said
    assert "Not what they are?" not in said
    np.savez(tmp_path / "mine.npz", x=np.zeros(3))
    assert taken(Asked(paths=(archive(tmp_path / "a", "hdf5"),))) is None


def test_what_no_read_of_a_part_stands_for_is_named(tmp_path):
    """Of files that somebody has, each suite of parts says what it leaves to reads of everything."""
    from harness.run.defaults import complete
    from harness.run.presets import PRESETS
    from harness.suite import load_suite
    from harness.workload import Absent

    arrays = {"pair/layer_0": np.zeros((N, N, 4)), "single/layer_0": np.zeros((N, 4)), "outputs/x": np.zeros(3)}
    arrays["structure/atom_mask"] = np.zeros((N, 37))
    np.savez(tmp_path / "mine.npz", **arrays)
    values = {**PRESETS["own"], "run_id": "x", "preset": "own", "formats": ("hdf5",)}
    for traces, names in (((f"file:{tmp_path / 'mine.npz'}",), True), (("synthetic:layers=1",), False)):
        options = complete({**values, "traces": traces}).options
        manifest = open_paths(Asked(paths=(tmp_path / "mine.npz",))).manifest
        for suite in ("layer_read", "random_access"):
            planned = load_suite(suite).plan(manifest, np.random.default_rng(0), options)
            reasons = [each.reason for each in planned if isinstance(each, Absent) and each.name == "rest"]
            wanted = "what has another role (single, structure; 2 in all) is read only with everything"
            assert reasons == ([wanted] if names else [])


def test_further_axes_of_an_array_are_named(tmp_path):
    from harness.suite import load_suite
    from harness.workload import Absent, PlanOptions

    np.save(tmp_path / "x.npy", np.zeros((2,) * 8))
    manifest = open_paths(Asked(paths=(tmp_path / "x.npy",))).manifest
    planned = load_suite("layer_read").plan(manifest, np.random.default_rng(0), PlanOptions(name_rest=True))
    (further,) = [each for each in planned if each.name == "array_slice_further"]
    assert isinstance(further, Absent)
    assert further.reason == "an array has 8 axes, and slices are taken along the first 6"
