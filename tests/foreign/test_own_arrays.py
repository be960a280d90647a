"""Anybody's arrays, in any container: what they are taken for, stored bit for bit, and measured to an answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.foreign.guessing import guess, parse_rule
from harness.foreign.opening import Asked, open_paths, plain_paths, take_arrays
from harness.foreign.source import ForeignArray, SourceError
from harness.formats.archive import open_archive, verify_archive
from harness.trace.schema import DTYPES, Role, SchemaError
from harness.trace.stream import read_whole
from tests.outputs import torch_file

Arrays = Mapping[str, np.ndarray]
N = 12


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "attn/layer_0": rng.random((3, N, N)).astype(np.float32),
        "attn/layer_1": rng.random((3, N, N)).astype(np.float32),
        "z": rng.normal(size=(N, N, 4)).astype(np.float16),
        "hidden": rng.normal(size=(5, N, 8)),
        "tokens": np.arange(N),
        "mask": rng.integers(0, 2, N).astype(bool),
        "waves": (rng.normal(size=(6, 7)) + 1j).astype(np.complex64),
        "scale": np.array(2.5, np.float32),
    }


def _npz(path: Path, found: Arrays) -> Path:
    np.savez_compressed(path, **found)
    return path


def _folder(path: Path, found: Arrays) -> Path:
    for name, array in found.items():
        file = path / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, array)
    return path


def _hdf5(path: Path, found: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in found.items():
            file[name] = array
    return path


def _zarr(version: int) -> Callable[[Path, Arrays], Path]:
    def write(path: Path, found: Arrays) -> Path:
        group = zarr.create_group(path, zarr_format=version)
        for name, array in found.items():
            group.create_array(name, shape=array.shape, dtype=array.dtype)[...] = array
        return path

    return write


def _safetensors(path: Path, found: Arrays) -> Path:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is an extra")
    numpy.save_file({name: array for name, array in found.items() if array.dtype.kind != "c"}, path)
    return path


CONTAINERS: dict[str, Callable[[Path, Arrays], Path]] = {
    "mine.npz": _npz, "mine": _folder, "mine.h5": _hdf5, "two.zarr": _zarr(2), "three.zarr": _zarr(3),
    "mine.safetensors": _safetensors,
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_becomes_an_archive_bit_for_bit(name, tmp_path, capsys):
    path = CONTAINERS[name](tmp_path / name, arrays())
    assert main(["convert", str(path), str(tmp_path / "out.h5")]) == 0
    assert verify_archive(tmp_path / "out.h5") == []
    with open_archive(tmp_path / "out.h5") as (_, reader, manifest):
        found = {spec.path: reader.read(spec.path) for spec in manifest.tensors}
        assert manifest.provenance.files
    wanted = {n: a for n, a in arrays().items() if name != "mine.safetensors" or a.dtype.kind != "c"}
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in found.items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in wanted.items()
    }


def test_one_npy_and_one_zarr_array_are_named_as_their_file(tmp_path):
    np.save(tmp_path / "pae.npy", np.asfortranarray(arrays()["z"]))
    zarr.create_array(tmp_path / "pae.zarr", data=arrays()["z"])
    for name in ("pae.npy", "pae.zarr"):
        trace = open_paths(Asked(paths=(tmp_path / name,)))
        assert [spec.path for spec in trace.manifest.tensors] == ["pae"]
        assert (read_whole(trace, "pae") == arrays()["z"]).all()


def test_bfloat16_keeps_its_two_bytes_from_torch_to_archive_and_json(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7FC0, 0x0001], np.uint16)
    torch_file(tmp_path / "mine.pt", bits)
    assert main(["convert", str(tmp_path / "mine.pt"), str(tmp_path / "out.zarr")]) == 0
    with open_archive(tmp_path / "out.zarr") as (_, reader, manifest):
        (spec,) = manifest.tensors
        assert (spec.dtype, spec.values) == ("uint16", "bfloat16")
        assert (reader.read(spec.path) == bits).all()
        assert json.loads(manifest.to_json())["tensors"][0]["values"] == "bfloat16"


@pytest.mark.parametrize("name", ["mine.npz", "mine.npy", "fortran.npy", "fortran.npz", "mine.h5"])
def test_two_bytes_without_a_type_are_the_bfloat16_that_numpy_writes_of_jax(name, tmp_path):
    bits = np.arange(12, dtype="<u2").reshape(3, 4) + 0x3F80
    array = bits.view("V2") if name.startswith("mine") else np.asfortranarray(bits).view("V2")
    if name == "mine.h5":
        _hdf5(tmp_path / name, {"x": array})
    else:
        (np.save if name.endswith("npy") else lambda path, x: np.savez(path, x=x))(tmp_path / name, array)
    taken = take_arrays(Asked(paths=(tmp_path / name,)))
    (spec,) = taken.trace.manifest.tensors
    assert (spec.dtype, spec.values, taken.left_out) == ("uint16", "bfloat16", {})
    assert (read_whole(taken.trace, spec.path) == bits).all()


def test_values_of_another_size_without_a_type_are_left_out_with_what_to_do(tmp_path):
    pairs = np.zeros(3, [("a", "u1"), ("b", "u1")])  # two bytes too, with a type
    np.savez(tmp_path / "mine.npz", eights=np.zeros(3, "V1"), pairs=pairs, x=np.ones(3))
    left_out = take_arrays(Asked(paths=(tmp_path / "mine.npz",))).left_out
    assert left_out["eights"] == "values of 1 byte without a type, as NumPy writes 8-bit floats: save them as float32"
    assert left_out["pairs"].startswith("values of type [('a'")


def foreign(**found: tuple[int, ...]) -> dict[str, ForeignArray]:
    return {name: ForeignArray(shape, "float32", lambda: None) for name, shape in found.items()}


def test_roles_and_axes_are_guessed_from_shapes_and_names():
    found = guess(
        foreign(
            attn=(8, 40, 40), stack=(4, 8, 40, 40), z=(40, 40, 16), zs=(4, 40, 40, 16), pae=(40, 40),
            attention_map=(40, 40), s=(40, 64), hidden=(4, 41, 8), other=(4, 9, 3), rot=(40, 3, 3), plddt=(40,),
            lone=(50, 50),
        )
    )  # fmt: skip
    assert {name: (guessed.role, " ".join(guessed.axes)) for name, guessed in found.items()} == {
        "attn": (Role.ATTENTION, "head query key"),
        "stack": (Role.ATTENTION, "layer head query key"),
        "z": (Role.PAIR, "token token channel"),
        "zs": (Role.PAIR, "layer token token channel"),
        "pae": (Role.PAIR, "token token"),
        "attention_map": (Role.ATTENTION, "query key"),
        "s": (Role.ARRAY, "token channel"),
        "hidden": (Role.ARRAY, "layer axis_1 axis_2"),
        "other": (Role.ARRAY, "layer axis_1 axis_2"),
        "rot": (Role.ARRAY, "token axis_1 channel"),
        "plddt": (Role.ARRAY, "token"),
        "lone": (Role.ARRAY, "axis_0 axis_1"),
    }
    assert found["lone"].why == "its square axes have 50, and most have 40"


def test_a_map_decides_and_one_that_fits_nothing_names_what_is_near():
    mine = foreign(attn_0=(8, 40, 40), attn_1=(8, 40, 40), junk=(3,))
    rules = [parse_rule("attn*=array:time,token,token"), parse_rule("junk=skip")]
    found = guess(mine, rules)
    assert found["attn_1"].axes == ("time", "token", "token") and found["junk"].role is None
    with pytest.raises(UsageError, match="There is no array named 'atn_0'; did you mean 'attn_0'"):
        guess(mine, [parse_rule("atn_0=pair")])
    with pytest.raises(UsageError, match="names 2 axes, and attn_0 has 3"):
        guess(mine, [parse_rule("attn_0=attention:query,key")])
    for wrong in ("attn", "=pair", "x=pear", "x=pair:a,,b"):
        with pytest.raises(UsageError):
            parse_rule(wrong)


def test_names_that_no_archive_can_have_become_plain_ones_or_are_refused():
    assert plain_paths(["a b", "x//y", "../up", "é", "metadata/x", ".hidden"]) == {
        "a b": "a_b", "x//y": "x/y", "../up": "_../up", "é": "_", "metadata/x": "_metadata/x", ".hidden": "_.hidden",
    }  # fmt: skip
    for names, said in ((["a b", "a_b"], "would be one"), (["A", "a"], "would be one"), (["x" * 300], "than 200")):
        with pytest.raises(UsageError, match=said):
            plain_paths(names)


def test_files_of_one_trace_are_told_by_their_names(tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    _npz(first, {"x": np.ones((3, 4))}), _npz(second, {"x": np.zeros((3, 4))})
    trace = open_paths(Asked(paths=(first, second)))
    assert [spec.path for spec in trace.manifest.tensors] == ["a/x", "b/x"] and trace.label == "file:a.npz and 1 more"
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="have the same name: rename one"):
        open_paths(Asked(paths=(first, _npz(tmp_path / "other/a.npz", {"x": np.ones(3)}))))


def test_what_is_no_array_of_numbers_is_left_out_by_name(tmp_path):
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["numbers"], file["text"] = np.arange(30), "words"
        file.create_dataset("elsewhere", (20,), "f4", external=[(str(tmp_path / "other"), 0, 80)])
    taken = take_arrays(Asked(paths=(path,)))
    assert [spec.path for spec in taken.trace.manifest.tensors] == ["numbers"]
    assert taken.left_out == {"text": "values of type object", "elsewhere": "its values lie in another file"}
    np.savez(tmp_path / "words.npz", words=np.array(["a", "b"]))
    with pytest.raises(SourceError, match=r"holds no array of numbers \(words: values of type <U1\)"):
        open_paths(Asked(paths=(tmp_path / "words.npz",)))


def test_a_netcdf_file_names_its_axes(tmp_path):
    path = tmp_path / "mine.nc"
    with h5py.File(path, "w") as file:
        file["residue"] = np.arange(6)
        file["residue"].make_scale("residue")
        file["x"] = np.zeros((6, 6))
        file["x"].dims[0].attach_scale(file["residue"]), file["x"].dims[1].attach_scale(file["residue"])
    assert open_paths(Asked(paths=(path,))).manifest["x"].axes == ("residue", "residue")


def test_a_netcdf_dimension_without_values_is_no_array_that_was_left_out(tmp_path):
    path = tmp_path / "mine.nc"
    with h5py.File(path, "w") as file:
        file["layer"] = np.zeros(6, ">f4")
        file["layer"].make_scale("This is a netCDF dimension but not a netCDF variable.         6")
        file["x"] = np.ones((6, 6))
        file["x"].dims[0].attach_scale(file["layer"])
    taken = take_arrays(Asked(paths=(path,)))
    assert [spec.path for spec in taken.trace.manifest.tensors] == ["x"] and taken.left_out == {}


@pytest.mark.parametrize("version", [1, 2, 5])
def test_netcdf_3_is_told_by_name_with_what_to_do(version, tmp_path):
    (tmp_path / "old.nc").write_bytes(b"CDF" + bytes([version]) + bytes(60))
    with pytest.raises(UsageError, match=r"it is netCDF 3\. Convert it to netCDF 4: nccopy -k nc4 old\.nc new\.nc"):
        open_paths(Asked(paths=(tmp_path / "old.nc",)))


def test_a_file_that_changes_while_it_is_read_leaves_nothing(tmp_path, capsys, monkeypatch):
    path = _npz(tmp_path / "mine.npz", arrays())
    trace = open_paths(Asked(paths=(path,)))
    os.utime(path, ns=(1, 1))
    with pytest.raises(HarnessError, match="changed while it was read"):
        for spec in trace.manifest.tensors:
            list(trace.blocks(spec.path))


def test_a_deflated_member_is_never_whole_in_memory(tmp_path):
    path = _npz(tmp_path / "mine.npz", {"x": np.zeros((64, 1 << 17))})  # 64 MiB, in blocks of 8
    blocks = list(open_paths(Asked(paths=(path,))).blocks("x"))
    assert len(blocks) > 4 and sum(map(len, blocks)) == 64


@pytest.mark.slow
def test_a_run_measures_a_file_without_a_flag_and_answers(sketched, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _npz(tmp_path / "mine.npz", arrays())
    (tmp_path / "harness.toml").write_text('[map]\n"waves" = "skip"\n')
    options = ["--preset", "quick", "--formats", "hdf5,npz", "--readers", "stock", "--rounds", "1", "--out", "run"]
    assert main(["run", "mine.npz", *options, "--suites", "size,write,full_read,layer_read,random_access"]) == 0
    said = capsys.readouterr().out
    assert "What the arrays are taken for" in said and "waves (as told)" in said and "--map" in said
    text = (tmp_path / "run/run.json").read_text()
    assert json.loads(text)["traces"] == ["file:mine.npz::map=waves=skip"]
    rows = (tmp_path / "run/summary.csv").read_text()
    assert "array_slice_third" in rows and "window_pair" in rows and ",failed," not in rows


@pytest.mark.slow
def test_files_have_a_preset_of_their_own_unless_one_is_named(sketched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _npz(tmp_path / "mine.npz", {"x": np.zeros((8, 3))})
    for name, preset, caches in (("own", [], ["warm"]), ("named", ["--preset", "standard"], ["warm", "cold"])):
        options = ["--formats", "hdf5", "--readers", "stock", "--rounds", "1", "--suites", "full_read", "--quiet"]
        assert main(["run", "mine.npz", *preset, *options, "--out", name]) == 0
        asked = json.loads((tmp_path / name / "run.json").read_text())
        assert (asked["preset"], asked["caches"]) == (preset[-1] if preset else "own", caches)


def test_tables_of_a_complex_in_own_arrays_state_its_chains(tmp_path):
    found = {
        "inputs/chains/name": np.array([[65], [66]], np.uint8),
        "inputs/tokens/chain": np.array([0, 0, 1], np.int64),
        "pair/layer_0": np.zeros((3, 3, 2), np.float32),
    }
    chains = open_paths(Asked(paths=(_npz(tmp_path / "mine.npz", found),))).manifest.chains
    assert [(chain.name, chain.start, chain.stop) for chain in chains] == [("A", 0, 2), ("B", 2, 3)]
    found["inputs/tokens/chain"] = np.array([0, 2, 1])
    with pytest.raises(SchemaError, match="ascending from 0 to 1"):
        open_paths(Asked(paths=(_npz(tmp_path / "other.npz", found),)))


@pytest.mark.slow
def test_a_run_measures_the_first_layers_of_arrays_that_hold_all(sketched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _npz(tmp_path / "mine.npz", {"attn": np.random.default_rng(0).random((5, 3, N, N), np.float32)})
    options = ["--preset", "quick", "--formats", "hdf5", "--readers", "stock", "--rounds", "1", "--out", "run"]
    most = str(2 * 3 * N * N * 4)
    assert main(["run", "mine.npz", *options, "--suites", "full_read", "--trace-bytes", most, "--quiet"]) == 0
    rows = (tmp_path / "run/samples.csv").read_text().splitlines()
    assert len(rows) > 1 and all("file:mine.npz (first 2 of 5 layers)" in row and most in row for row in rows[1:])


def test_a_trace_of_one_unknown_array_answers_every_suite(tmp_path):
    from harness.suite import load_suite
    from harness.workload import PlanOptions

    np.save(tmp_path / "x.npy", np.zeros((9, 5)))
    manifest = open_paths(Asked(paths=(tmp_path / "x.npy",))).manifest
    for name in ("size", "write", "full_read", "layer_read", "random_access", "parallel_access"):
        planned = load_suite(name).plan(manifest, np.random.default_rng(0), PlanOptions())
        assert any(not hasattr(access, "reason") for access in planned), name


def test_every_number_type_is_taken(tmp_path):
    path = _npz(tmp_path / "mine.npz", {dtype: np.ones((2, 3), dtype) for dtype in DTYPES})
    assert open_paths(Asked(paths=(path,))).manifest.tensor_dtypes == {dtype: dtype for dtype in DTYPES}
