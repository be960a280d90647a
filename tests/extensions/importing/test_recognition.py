"""Programs are told by what only they write: files of others with like names are anybody's arrays."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.foreign.opening import Asked, is_known, open_paths, take_arrays
from harness.trace.schema import Role
from harness.trace.stream import read_whole
from tests.outputs import HEADS, N, attention, esmfold, prototype_zarr, torch_file, values
from tests.program_outputs import PROGRAMS, imported

Arrays = dict[str, np.ndarray]


def known(path: Path) -> bool:
    return is_known(Asked(paths=(path,)))


OTHERS: dict[str, Arrays] = {
    "esm_embeddings.npz": {"embeddings": values(1, N, 20)},
    "embeddings.npz": {"single_embeddings": values(1, N)},
    "distogram.npz": {"distogram": values(1, N, 8)},
    "seed-1_distogram.npz": {"distogram": values(1, N, N + 1, 8)},
    "embeddings_mine.npz": {"x": values(1, N, 6)},
    "embeddings_other.npz": {"s": values(1, N, 6), "z": values(2, N, 6)},
    "pae_mine_model_0.npz": {"pae": values(1, 2, N, N)},
    "job_seed_1_sample_1_confidences.npz": {"confidences": values(1, N)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_npz_that_is_only_called_like_a_programs_is_anybodys(tmp_path, name):
    np.savez(tmp_path / name, **OTHERS[name])
    assert not known(tmp_path / name) and not known(tmp_path)
    trace = open_paths(Asked(paths=(tmp_path / name,)))
    assert {spec.path: read_whole(trace, spec.path).tobytes() for spec in trace.manifest.tensors} == {
        key: array.tobytes() for key, array in OTHERS[name].items()
    }


def test_a_folder_with_such_files_keeps_all_of_its_arrays(tmp_path):
    np.savez(tmp_path / "embeddings.npz", embeddings=values(1, N, 20))
    (tmp_path / "ranking_scores.csv").write_text("model,score\n1,0.5\n")
    (tmp_path / "job_predicted_aligned_error_v1.json").write_text(json.dumps({"mine": [1]}))
    (tmp_path / "result_1.pkl").write_bytes(b"\x80\x04N.")
    np.save(tmp_path / "attn.npy", attention(1))
    np.save(tmp_path / "labels.npy", np.arange(N))
    found = take_arrays(Asked(paths=(tmp_path,)))
    assert not known(tmp_path)
    assert {spec.path for spec in found.trace.manifest.tensors} == {"embeddings/embeddings", "attn", "labels"}
    assert set(found.left_out) == {"ranking_scores.csv", "job_predicted_aligned_error_v1.json", "result_1.pkl"}


@pytest.mark.parametrize("program", ["AlphaFold3", "Boltz", "OpenFold3"])
def test_a_damaged_file_of_a_program_is_still_told_by_its_name(tmp_path, program):
    folder, _ = PROGRAMS[program][1](tmp_path / "made")
    path = next(path for path in folder.rglob("*.np[yz]"))
    path.write_bytes(path.read_bytes()[:-50])
    assert known(path)


def in_hdf5(path: Path, arrays: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def in_zarr(path: Path, arrays: Arrays) -> Path:
    root = zarr.create_group(path)
    for name, array in arrays.items():
        root.create_array(name, data=array)
    return path


STORES: dict[str, Arrays] = {
    "outputs": {"outputs/my values": values(1, N), "loss": values(2, 3)},
    "inputs": {"inputs/x": values(1, N), "model/attn": attention(1)},
    "pair": {"pair/bias": attention(1), "structure/x": values(1, N)},
    "the schema's": {"pair/layer_0": values(1, N, N, 4), "attention/layer_0": values(2, N, N), "loss": values(3, 5)},
    "stacked": {"attention/layers": values(1, 2, 1, HEADS, N, N)},
    "with metadata": {"metadata/x": values(1, N), "model/attn": attention(1)},
}


@pytest.mark.parametrize("write", [in_zarr, in_hdf5])
@pytest.mark.parametrize("name", STORES)
def test_a_store_with_groups_that_are_called_alike_is_anybodys(tmp_path, write, name):
    path = write(tmp_path / "mine", STORES[name])
    assert not known(path)
    found = take_arrays(Asked(paths=(path,)))
    assert len(found.trace.manifest.tensors) == len(STORES[name]) and found.left_out == {}


def test_names_in_hdf5_that_are_no_utf8_are_anybodys(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file[b"temp\xe9rature"] = values(1, 5)  # Latin-1, as old writers have it
        file[b"gr\xfcn/x"] = values(2, 5)
    assert not known(tmp_path / "old.h5")
    found = take_arrays(Asked(paths=(tmp_path / "old.h5",)))
    assert {spec.path for spec in found.trace.manifest.tensors} == {"temp_xe9rature", "gr_xfcn/x"}


@pytest.mark.parametrize("part", [b"SNOD", b"TREE", b"HEAP"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_damaged_group_of_hdf5_is_one_sentence(tmp_path, capsys, part, which):
    path = in_hdf5(tmp_path / "x.h5", {"outer/inner/x": values(1, 5), "metadata/x": values(2, 5)})
    data = path.read_bytes()
    place = data.find(part) if which == "first" else data.rfind(part)
    path.write_bytes(data[:place] + b"\xff" * 16 + data[place + 16 :])
    assert main(["convert", str(path), str(tmp_path / "a.h5")]) == 1
    said = capsys.readouterr().err
    assert "x.h5" in said and "damaged" in said and len(said.strip().splitlines()) == 1


def test_what_only_vizfold_writes_is_told_by_it(tmp_path):
    path, expected = prototype_zarr(tmp_path / "run.zarr")
    zarr.open_group(path).create_array("loss", data=values(1, 3))
    zarr.open_group(path).create_array("outputs/my values", data=values(2, 3))
    found, manifest = imported(path)
    assert found["loss"].tobytes() == values(1, 3).tobytes() and set(found) == {*expected, "loss", "outputs/my_values"}
    assert "outputs/my values is stored as outputs/my_values" in (manifest.provenance.note or "")
    vision = {"inputs/images": values(1, 2, 1, 8, 8), "attention/layer_0": values(2, 2, HEADS, 5, 5)}
    assert known(in_zarr(tmp_path / "vision.zarr", vision)) and known(in_hdf5(tmp_path / "vision.h5", vision))


def test_names_of_axes_in_a_store_of_vizfold_do_not_refuse_it(tmp_path):
    path, _ = prototype_zarr(tmp_path / "run.zarr")
    root = zarr.open_group(path)
    root.create_array("representations/pair/layer_11", data=values(1, N, N, 5), dimension_names=("i", "j", "c"))
    assert imported(path)[1]["pair/layer_11"].axes == ("residue", "residue", "pair_channel")


def test_a_folder_of_representations_is_no_store(tmp_path):
    (tmp_path / "mine/representations").mkdir(parents=True)
    np.save(tmp_path / "mine/representations/x.npy", values(1, N, N))
    assert not known(tmp_path / "mine")
    found = take_arrays(Asked(paths=(tmp_path / "mine",)))
    assert found.trace.manifest["representations/x"].role is Role.PAIR


def test_a_folder_with_torch_files_in_trace_is_anybodys(tmp_path):
    torch_file(tmp_path / "mine/trace/attn.pt", attention(1))
    (tmp_path / "mine/meta.json").write_text("{}")
    assert not known(tmp_path / "mine")
    torch_file(tmp_path / "other/trace/attention/layer_0.pt", attention(1))
    assert not known(tmp_path / "other")
    folder, _ = esmfold(tmp_path / "run")
    assert known(folder)
    torch_file(folder / "trace/mine.pt", values(1, 3))
    assert not known(folder)
