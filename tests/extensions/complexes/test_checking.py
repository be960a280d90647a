"""Archives of complexes: files of other libraries that conform, and each way in which one does not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import harness
from harness.cli import main
from harness.errors import HarnessError
from harness.foreign.conforming import schema_problems
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.schema import SchemaError
from harness.trace.sources import open_trace

Tables = dict[str, np.ndarray]


def tables() -> Tables:
    return {
        "inputs/chains/name": np.array([[65], [66]], "u1"),
        "inputs/tokens/chain": np.array([0, 0, 0, 1], "i4"),
        "inputs/atoms/token": np.array([0, 0, 1, 2, 2, 3], "i4"),
        "inputs/atoms/name": np.full((6, 2), 67, "u1"),
        "pair/layer_0": np.zeros((4, 4, 2), "f4"),
        "diffusion/noise_levels": np.array([9.0, 4.0, 1.0], "f4"),
        "diffusion/step_0/layer_0/token_repr": np.zeros((2, 4, 3), "f4"),
        "diffusion/step_2/layer_0/token_repr": np.zeros((2, 4, 3), "f4"),
        "diffusion/step_2/atom_positions": np.zeros((2, 6, 3), "f4"),
        "structure/atom_positions": np.zeros((2, 6, 3), "f4"),
        "outputs/atom_plddts": np.zeros((2, 6), "f4"),
    }


def by_h5py(path: Path, arrays: Tables) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def by_zarr(path: Path, arrays: Tables) -> Path:
    group = zarr.create_group(path)
    for name, array in arrays.items():
        group.create_array(name, data=array)
    return path


def by_numpy(path: Path, arrays: Tables) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(("write", "name"), [(by_h5py, "a.h5"), (by_zarr, "a.zarr"), (by_numpy, "a.npz")])
def test_files_of_other_libraries_conform(write, name, tmp_path, capsys):
    path = write(tmp_path / name, tables())
    assert schema_problems(path) == []
    assert main(["verify", "--schema", str(path)]) == 0
    assert "conforms" in capsys.readouterr().out


BROKEN = {
    "a chain named twice": ({"inputs/chains/name": np.array([[65], [65]], "u1")}, "the chain 'A' is named twice"),
    "chains that are no numbers": ({"inputs/tokens/chain": np.full(4, np.nan, "f4")}, "expected integers"),
    "names that are no letters": ({"inputs/chains/name": np.zeros((2, 1), "f4")}, "expected uint8 letters"),
    "a token of no chain": ({"inputs/tokens/chain": np.array([0, 0, 0, 7], "i4")}, "the token 3 is of the chain 7"),
    "a chain of no token": ({"inputs/tokens/chain": np.array([0, 0, 0, 0], "i4")}, "the chain 1 has no token"),
    "chains that mix": ({"inputs/tokens/chain": np.array([0, 1, 0, 1], "i4")}, "expected an order"),
    "an atom without token": ({"inputs/atoms/token": np.array([0, 0, 1, 2, 3, -1], "i4")}, "the atom 5 is of"),
    "a token without atom": ({"inputs/atoms/token": np.array([0, 0, 1, 1, 3, 3], "i4")}, "the token 2 has no atom"),
    "tables of another length": ({"inputs/tokens/chain": np.array([0, 0, 1], "i4")}, "tokens along axis"),
    "atoms of another number": ({"structure/atom_positions": np.zeros((2, 5, 3), "f4")}, "expected 6 atoms along axis"),
    "samples of another number": ({"outputs/atom_plddts": np.zeros((3, 6), "f4")}, "expected 2 samples"),
    "noise that rises": ({"diffusion/noise_levels": np.array([9, 1, 4], "f4")}, "step 2 is no lower"),
    "a step without noise": ({"diffusion/noise_levels": np.array([9, 4], "f4")}, "expected a noise level of step 2"),
    "no table of chains": ({"inputs/chains/name": None}, "inputs/chains/name: expected this column"),
    "no noise": ({"diffusion/noise_levels": None}, "expected the noise level of each diffusion step"),
    "another number of axes": (
        {"diffusion/step_0/layer_0/token_repr": np.zeros((4, 3), "f4")}, r"\(sample, token, channel\)",
    ),
    "axes without names": ({"activations/own/layer_0": np.zeros((4, 3), "f4")}, "its axes need names"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_conform_is_named_with_what_is_expected(case, tmp_path, capsys):
    changes, said = BROKEN[case]
    arrays = {name: array for name, array in (tables() | changes).items() if array is not None}
    path = by_h5py(tmp_path / "a.h5", arrays)
    problems = schema_problems(path)
    assert problems
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(" ".join(problems))
    assert main(["verify", "--schema", str(path)]) == 1
    assert "Traceback" not in capsys.readouterr().out


def test_axes_that_a_container_names_are_held_against_the_specification(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    for name, array in tables().items():
        axes = ("atom", "token", "channel") if name == "diffusion/step_0/layer_0/token_repr" else None
        group.create_array(name, data=array, dimension_names=axes)
    group.create_array("activations/own/layer_0", data=np.zeros((4, 3), "f4"), dimension_names=("token", "channel"))
    (problem,) = schema_problems(path)
    assert problem.startswith("diffusion/step_0/layer_0/token_repr: expected axes (sample, token, channel), got (atom,")


def test_steps_are_in_order_by_number_and_not_by_letter(tmp_path):
    arrays = tables() | {"diffusion/noise_levels": np.arange(200, 0, -1, dtype="f4")}
    arrays |= {f"diffusion/step_{k}/layer_0/token_repr": np.zeros((2, 4, 3), "f4") for k in (10, 149, 49)}
    assert schema_problems(by_h5py(tmp_path / "a.h5", arrays)) == []


def test_scores_need_no_names_of_axes(tmp_path):
    arrays = tables() | {f"outputs/{name}": np.zeros(2, "f4") for name in ("ptm", "iptm", "ranking_score")}
    arrays |= {"outputs/chain_pair_iptm": np.zeros((2, 2, 2), "f4"), "inputs/msa": np.zeros((3, 4), "u1")}
    assert schema_problems(by_numpy(tmp_path / "a.npz", arrays)) == []


def test_what_harness_create_writes_without_axes_conforms(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        for name, array in tables().items():
            out[name] = array
    assert schema_problems(tmp_path / "a.h5") == []
    manifest = harness.open(tmp_path / "a.h5").manifest
    assert manifest["pair/layer_0"].axes == ("token", "token", "channel") and len(manifest.chains) == 2


@pytest.mark.parametrize("first", ["inputs/chains/name", "pair/layer_0"])
def test_tokens_that_are_not_those_of_the_tables_are_refused_alone(tmp_path, first):
    arrays = tables()
    with harness.create(tmp_path / "a.h5") as out:
        for name in sorted(arrays, key=lambda name: name != first):
            out[name] = arrays[name]
        out["inputs/sequence"] = np.zeros(7, "u1")  # its residues are fewer or more than the tokens
        with pytest.raises(SchemaError, match="pair/layer_1: expected 4 tokens along axis 'token'"):
            out["pair/layer_1"] = np.zeros((5, 5, 2), "f4")
        with pytest.raises(SchemaError, match="outputs/sample_0/atom_plddts: expected 6 atoms"):
            out["outputs/sample_0/atom_plddts"] = np.zeros(5, "f4")
    assert schema_problems(tmp_path / "a.h5") == []


def test_samples_of_different_length_are_named(tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        out.write("outputs/sample_0/atom_plddts", np.zeros(3, "f4"), axes=("atom",))
        out.write("outputs/sample_1/atom_plddts", np.zeros(4, "f4"), axes=("atom",))
    (problem,) = schema_problems(tmp_path / "a.h5")
    assert problem.startswith("outputs/sample_1/atom_plddts: expected the shape (3,)") and "of one complex" in problem


@pytest.mark.parametrize("label", ["sample_0", "seed_3_sample_0"])
def test_tensors_of_one_sample_have_no_axis_for_it(label, tmp_path):
    fitting = {
        f"outputs/{label}/ptm": ((), ()),
        f"outputs/{label}/predicted_aligned_error": ((4, 4), ("token", "token")),
        f"outputs/{label}/atom_plddts": ((6,), ("atom",)),
        f"outputs/{label}/chain_pair_iptm": ((2, 2), ("chain", "chain")),
        f"structure/{label}/atom_positions": ((6, 3), ("atom", "xyz")),
    }
    wrong = {
        f"outputs/{label}/ptm": ((2,), ("sample",)),
        f"outputs/{label}/predicted_aligned_error": ((4, 4), ("query", "key")),
        f"outputs/{label}/atom_plddts": ((4,), ("token",)),
        f"outputs/{label}/chain_pair_iptm": ((2, 2, 2), ("sample", "chain", "chain")),
        f"structure/{label}/atom_positions": ((2, 6, 3), ("sample", "atom", "xyz")),
    }
    base = {name: array for name, array in tables().items() if name.startswith("inputs/")}
    for rows, expected in ((fitting, []), (wrong, sorted(wrong))):
        path = tmp_path / f"{len(expected)}.h5"
        with harness.create(path) as out:
            for name, array in base.items():
                out[name] = array
            for name, (shape, axes) in rows.items():
                out.write(name, np.zeros(shape, "f4"), axes=axes)
        problems = schema_problems(path)
        assert sorted({said.split(": expected axes")[0] for said in problems}) == expected


def test_an_archive_that_cannot_be_read_does_not_hide_those_after_it(tmp_path, capsys):
    sound = by_h5py(tmp_path / "a.h5", tables())
    assert main(["verify", "--schema", str(tmp_path / "absent.h5"), str(sound)]) == 1
    said = capsys.readouterr().out
    assert "There is no file or folder" in said and f"{sound} conforms" in said


@pytest.mark.parametrize("levels", [np.float32(3), np.zeros((2, 2), "f4"), np.array([True, False, False])])
def test_noise_levels_that_are_no_list_of_numbers_are_named(levels, tmp_path):
    with harness.create(tmp_path / "a.h5") as out:
        for name, array in tables().items():
            out[name] = levels if name == "diffusion/noise_levels" else array
    problems = " ".join(schema_problems(tmp_path / "a.h5"))
    assert "diffusion/noise_levels: expected" in problems


@pytest.mark.parametrize("name", ["hdf5", "zarr", "zarr-slim", "npz"])
def test_archives_of_this_project_conform(name, tmp_path):
    text = "synthetic:model=af3,layers=1,heads=2,single_dim=8,pair_dim=4,steps=2,diffusion_layers=2,diffusion_dim=8"
    backend = load_format(name)
    path = tmp_path / f"a{backend.suffix}"
    write_archive(open_trace(text, 12), backend, path)
    assert schema_problems(path) == []


def test_a_trace_of_one_chain_conforms_too(tmp_path):
    path = tmp_path / "a.h5"
    write_archive(open_trace("synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4", 8), load_format("hdf5"), path)
    assert schema_problems(path) == []


LARGE = {
    "inputs/tokens/chain": ((1 << 29,), "i4", r"inputs/tokens/chain: expected at most 50,000,000 values"),
    "inputs/chains/name": ((1 << 24, 1), "u1", r"inputs/chains/name: expected at most 1,000,000 names"),
    "inputs/atoms/token": ((1 << 29,), "i4", r"inputs/atoms/token: expected at most 50,000,000 values"),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_column_that_was_never_written_is_not_read(name, tmp_path):
    shape, kind, said = LARGE[name]
    arrays = {other: array for other, array in tables().items() if other.startswith("inputs/") and other != name}
    path = by_h5py(tmp_path / "a.h5", arrays)
    with h5py.File(path, "a") as file:
        file.create_dataset(name, shape, kind, chunks=(1 << 10, *shape[1:]))
    assert path.stat().st_size < 50_000
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(" ".join(schema_problems(path)))
    if name != "inputs/atoms/token":  # which no reader needs for the chains
        with pytest.raises(HarnessError, match=said):
            open_trace(f"file:{path}", None)


def test_a_column_larger_than_any_limit_is_refused_before_its_values_are_looked_at(tmp_path):
    path = by_h5py(tmp_path / "a.h5", {name: a for name, a in tables().items() if name != "inputs/tokens/chain"})
    with h5py.File(path, "a") as file:
        file.create_dataset("inputs/tokens/chain", (1 << 36,), "i4", chunks=(1 << 10,))
    with pytest.raises(HarnessError, match="states arrays of 256 GiB"):
        schema_problems(path)
