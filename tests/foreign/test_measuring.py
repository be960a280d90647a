"""What is measured of anybody's arrays: the large ones, in every format alike, of files that stay as they are."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import harness
from harness import limits, scratch
from harness.cli import main
from harness.errors import UsageError
from harness.foreign.guessing import parse_rule
from harness.foreign.opening import Asked, open_paths, take_arrays
from harness.formats.base import load_format
from harness.run.planning import choose_arms, open_subjects
from harness.run.preparation import Prepared, prepare, probe
from harness.run.subject import Arm
from harness.sampling.reader_probe import Probed, ProbeTask
from harness.sampling.writing import WriteTask
from harness.suite import load_suite
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, tensor
from harness.trace.stream import BLOCK_BYTES
from harness.workload import Absent, PlanOptions, ReadAccess, SizeAccess, WriteAccess, count_whole_reads, whole_reads
from tests.conftest import TINY

MINE = PlanOptions(name_rest=True, by_bytes=True)
SCALARS = {f"step_size_{k}": np.array(float(k)) for k in range(10)}


def planned(suite: str, manifest: Manifest, options: PlanOptions = MINE) -> dict[str, Any]:
    found = load_suite(suite).plan(manifest, np.random.default_rng(0), options)
    return {access.name: access for access in found}


def manifest_of(folder: Path, **arrays: np.ndarray) -> Manifest:
    np.savez(folder / "mine.npz", **arrays)
    return open_paths(Asked(paths=(folder / "mine.npz",))).manifest


def test_single_numbers_decide_neither_reads_of_arrays_nor_writing(tmp_path):
    manifest = manifest_of(tmp_path, **SCALARS, pair=np.zeros((8, 8, 4), np.float32), none=np.zeros((0, 3)))
    assert "array" not in planned("layer_read", manifest) and "pair_layer" in planned("layer_read", manifest)
    (written,) = planned("write", manifest).values()
    assert isinstance(written, WriteAccess) and written.tensors == ((("pair", "pair"),),)
    alone = manifest_of(tmp_path, **SCALARS)
    assert planned("layer_read", alone)["array"].reads[0].path in SCALARS
    assert len(planned("write", alone)["array"].tensors) == 10


def test_arrays_are_drawn_by_their_bytes_and_written_the_largest_first(tmp_path):
    arrays = {f"few_{k}": np.zeros(2) for k in range(50)} | {"many": np.zeros((1000, 100))}
    manifest = manifest_of(tmp_path, **SCALARS, **arrays)
    reads = planned("layer_read", manifest)
    assert {read.path for name in ("array", "array_slice_first") for read in reads[name].reads} == {"many"}
    windows = planned("random_access", manifest)["window_array"]
    assert {read.path for read in windows.reads} == {"many"}
    assert planned("write", manifest)["array"].tensors[0] == (("many", "many"),)
    every = planned("layer_read", manifest, PlanOptions())["array"]
    assert isinstance(every, ReadAccess), "as plans of earlier runs are drawn again"


def test_an_array_under_a_name_of_the_schema_with_other_axes_is_written_as_it_is(tmp_path):
    arrays = {"pair/layer_0": np.zeros((1, 10, 10, 4), np.float32), "single/layer_0": np.zeros(10, np.float32)}
    manifest = manifest_of(tmp_path, **arrays, z=np.zeros((10, 10, 4), np.float32))
    assert manifest["pair/layer_0"].role is not Role.PAIR
    assert isinstance(planned("size", manifest)["layer_filled_one"], Absent)


def test_a_representation_keeps_its_type_under_its_other_name(tmp_path):
    found = replace(tensor("pair/layer_0", (4, 4, 2), "uint16"), values="bfloat16")
    access = planned("size", Manifest(tensors=(found,), provenance=Provenance(source="test")))["layer_filled_both"]
    assert isinstance(access, SizeAccess) and dict(access.tensors or ()) == {
        "activations/layer_0/pair_repr": "pair/layer_0", "pair/layer_0": "pair/layer_0",
    }  # fmt: skip
    np.savez(tmp_path / "mine.npz", **{"pair/layer_0": np.zeros((4, 4, 2), "V2")})
    text = str(Asked(paths=(tmp_path / "mine.npz",)))
    task = WriteTask(
        backend="hdf5", profile="tuned", source=f"file:{text}", tensors=access.tensors, destination=tmp_path / "a.h5"
    )
    assert {spec.values for spec in task.run(None).manifest.tensors} == {"bfloat16"}  # type: ignore[arg-type]


def test_what_compresses_well_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_INFLATED", 1 << 16)
    np.save(tmp_path / "x.npy", np.zeros((1 << 8, 1 << 10), np.float32))
    task = WriteTask(
        backend="npz", profile="tuned", source=f"file:{tmp_path / 'x.npy'}", destination=tmp_path / "x.npz", keep=True
    )
    assert task.run(None).problem == ""  # type: ignore[arg-type]


def _changed(folder: Path) -> None:
    np.savez(folder / "mine.npz", x=np.ones((8, 9)))
    os.utime(folder / "mine.npz", (1, 1))


def _shorter(folder: Path) -> None:
    np.savez(folder / "mine.npz", x=np.ones((7, 9)))


@pytest.mark.parametrize("change", [_changed, _shorter])
def test_a_file_that_changed_since_the_run_was_planned_is_not_measured(change, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.zeros((8, 9)))
    config = replace(TINY, traces=(f"file:{tmp_path / 'mine.npz'}",))
    arms, (subject,) = choose_arms(config), open_subjects(config)
    change(tmp_path)
    folder = tmp_path / "scratch"
    folder.mkdir()
    worker: Any = SimpleNamespace(do=lambda task: task.run(None))
    found = prepare(subject, arms, folder, worker, 0)
    assert not found.archives and set(found.failures) == set(arms)
    assert {why.status for why in found.failures.values()} == {"failed"}
    assert all("has changed since the run was planned" in why.reason for why in found.failures.values())


def test_other_files_of_a_folder_may_change(tmp_path):
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine/x.npy", np.zeros((8, 9)))
    (subject,) = open_subjects(replace(TINY, traces=(f"file:{tmp_path / 'mine'}",)))
    (tmp_path / "mine/results").mkdir()
    assert subject.files is not None and subject.files.changed() == ""


def _huge_and_empty(path: Path) -> Path:
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (1 << 60, 0)}
    np.lib.format.write_array_header_1_0(header, described)  # type: ignore[arg-type]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", header.getvalue())
    return path


def test_an_array_without_values_is_one_block_however_long(tmp_path):
    trace = open_paths(Asked(paths=(_huge_and_empty(tmp_path / "mine.npz"),)))
    assert [block.shape for block in trace.blocks("x")] == [(1 << 60, 0)]
    assert harness.open(tmp_path / "mine.npz")["x"][...].shape == (1 << 60, 0)


def test_a_batch_of_one_is_read_in_blocks():
    spec = tensor("x", (1, 40, 10), np.dtype("f8"))
    options = PlanOptions(whole_bytes=800, block_bytes=800)
    reads = whole_reads(spec, options)
    assert (
        len(reads) == 4 == count_whole_reads(Manifest(tensors=(spec,), provenance=Provenance(source="test")), options)
    )
    assert [read.selection for read in reads][-1] == (slice(0, 1), slice(30, 40), slice(0, 10))
    part = (slice(0, 1), slice(5, 25), slice(0, 10))
    assert [read.selection[1] for read in whole_reads(spec, options, part)] == [slice(5, 15), slice(15, 25)]
    assert whole_reads(spec, PlanOptions(), part)[0].selection == part
    for shape in ((), (1, 1)):
        one, options = tensor("x", shape), PlanOptions(whole_bytes=0)
        assert len(whole_reads(one, options)) == 1


def test_a_batch_of_one_is_created_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "LARGEST", 1 << 16)
    monkeypatch.setattr("harness.formats.selection.BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr("harness.formats.selection.MOST_BYTES", 1 << 14)
    values = np.random.default_rng(0).random((1, 4096, 8))
    asked: list[int] = []

    class Stored:
        shape, dtype = values.shape, values.dtype

        def __getitem__(self, part: Any) -> np.ndarray:
            asked.append(values[part].nbytes)
            return values[part]

    with harness.create(tmp_path / "a.h5") as out:
        out["x"] = Stored()
    assert max(asked) <= 1 << 14 and sum(asked) == values.nbytes
    assert (harness.open(tmp_path / "a.h5")["x"][...] == values).all()


def test_attributes_of_a_store_that_are_no_table_are_not_needed(tmp_path):
    import zarr

    zarr.create_group(tmp_path / "a.zarr").create_array("x", data=np.ones((3, 4)))
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": [1]}))
    assert set(take_arrays(Asked(paths=(tmp_path / "a.zarr",))).guesses) == {"x"}


def test_a_rule_takes_the_name_of_a_file_or_the_one_that_the_table_shows(tmp_path):
    np.savez(tmp_path / "mine.npz", **{"layers[0]": np.ones((3, 4)), "x": np.ones((3, 4))})
    for pattern in ("layers[0]", "layers_0_", "layers*"):
        asked = Asked(paths=(tmp_path / "mine.npz",), rules=(parse_rule(f"{pattern}=skip"),))
        assert set(take_arrays(asked).guesses) == {"x"}


def test_a_rule_of_a_project_that_fits_nothing_here_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", x=np.ones((3, 4)))
    Path("harness.toml").write_text('[map]\n"attn*" = "attention:head,query,key"\n"x" = "array:step,value"\n')
    assert main(["convert", "mine.npz", "a.h5"]) == 0
    assert "[map] in harness.toml: 'attn*' fits no array here." in capsys.readouterr().out
    assert harness.open("a.h5")["x"].axes == ("step", "value")
    Path("harness.toml").write_text('[map]\n"x" = "something"\n')
    assert main(["convert", "mine.npz", "b.h5"]) == 2
    assert "[map] in harness.toml: There is no role named 'something'" in capsys.readouterr().err


def test_a_torch_file_from_before_its_zip_format_is_named(tmp_path):
    (tmp_path / "old.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    with pytest.raises(UsageError, match=r"torch's format before 1\.6\. Save it again"):
        open_paths(Asked(paths=(tmp_path / "old.pt",)))


def test_a_long_note_is_cut_in_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **{f"a name with spaces {k}": np.ones(3) for k in range(300)})
    assert main(["convert", "mine.npz", "a.h5"]) == 0
    assert len(capsys.readouterr().out) < 12_000


@pytest.mark.parametrize("name", ["hdf5", "zarr", "zarr-slim"])
@pytest.mark.parametrize("profile", ["tuned", "matched"])
def test_layers_in_one_array_are_chunks_of_their_own(name, profile):
    backend = load_format(name)
    stacked = tensor("z", (8, 64, 64, 32), axes=("layer", "token", "token", "channel"), role=Role.PAIR)
    alone = tensor("z", (64, 64, 32), axes=("token", "token", "channel"), role=Role.PAIR)
    many, one = (backend.layout(spec, profile).chunks or () for spec in (stacked, alone))
    assert many == (1, *one)
    hidden = tensor("x", (8, 512, 64), axes=("layer", "token", "channel"), role=Role.ARRAY)
    few = tensor("y", (8, 4), axes=("layer", "channel"), role=Role.ARRAY)
    assert (backend.layout(hidden, profile).chunks or ())[0] == 1
    assert backend.layout(few, profile).chunks == (8, 4)


def test_a_reader_is_tried_on_little_of_a_large_tensor(tmp_path):
    arm = Arm("hdf5", "hdf5", "tuned", reader="h5py")
    large, few = tensor("x", (1, 1 << 24)), tensor("structure/y", (3, 4))
    prepared = Prepared(tmp_path / "raw", Manifest(tensors=(large, few), provenance=Provenance(source="test")))
    prepared.archives[arm] = tmp_path / "a.h5"
    asked: list[ProbeTask] = []
    processes: Any = SimpleNamespace(begin=lambda tasks: None, do=lambda key, task: asked.append(task) or Probed())
    probe(prepared, processes, "race")
    read = dict(asked[0].examples)
    assert read["x"] == (slice(0, 1), slice(0, BLOCK_BYTES // 4)) and read["structure/y"] is None
