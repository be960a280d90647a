"""A folder of archives as a corpus: the rows of all, and one that is damaged among many is named and left out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.extensions.corpus.folder import importer
from harness.foreign.opening import Asked, open_paths
from harness.foreign.source import SourceError
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.run.plan import read_plan
from harness.suite import load_suite
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole
from harness.workload import PlanOptions, ReadAccess

FORMATS = {".npz": "npz", ".h5": "hdf5", ".zarr": "zarr", ".raw": "raw"}


@pytest.fixture
def folder(tmp_path):
    """Four archives of four formats, each of another length."""
    path = tmp_path / "traces"
    path.mkdir()
    for number, (suffix, name) in enumerate(FORMATS.items()):
        write_archive(one(number), load_format(name), path / f"protein {number}{suffix}")
    return path


def one(number: int, **changes: int):
    sizes = {"layers": 2, "heads": 1, "hidden_dim": 4, "pair_dim": 4} | changes
    return open_trace(f"synthetic:{','.join(f'{name}={value}' for name, value in sizes.items())}", 8 + number)


def cut(path, part: float = 0.5) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part))


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def opened(path):
    return open_paths(Asked(paths=(path,)))


def test_the_rows_of_all_archives_are_a_corpus(folder):
    assert importer.recognises(folder)
    trace = opened(folder)
    assert trace.label == "file:traces" and len(trace.manifest.tensors) == 8
    for number, suffix in enumerate(FORMATS):
        whole = one(number)
        for layer in range(2):
            (spec,) = (s for s in whole.manifest.tensors if s.layer == layer and s.axes == ("residue", "channel"))
            own = read_whole(trace, f"proteins/protein_{number}{suffix}/layer_{layer}")
            assert own.tobytes() == read_whole(whole, spec.path).tobytes() and own.shape == (8 + number, 4)
    planned = load_suite("corpus_access").plan(trace.manifest, np.random.default_rng(0), PlanOptions())
    assert all(isinstance(access, ReadAccess) for access in planned)
    assert len(trace.identified().manifest.provenance.files) == 4


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".raw"])
def test_one_that_is_damaged_is_named_and_the_rest_goes_on(folder, suffix, damage):
    (broken,) = folder.glob(f"*{suffix}")
    damage(broken)
    trace = opened(folder)
    assert len(trace.manifest.tensors) == 6 and not any(suffix in spec.path for spec in trace.manifest.tensors)
    unrecognised = (suffix, damage) == (".raw", cut)  # whose end says what it is
    why = "not recognised as archives" if unrecognised else "damaged: 'harness verify' says how"
    assert f"left out ({why}): {broken.name}" in trace.manifest.provenance.note


def test_what_is_no_archive_or_of_another_width_is_named(folder):
    (folder / "README.txt").write_text("of last year")
    (folder / "empty").mkdir()
    (folder / "link.npz").symlink_to(folder / "protein 0.npz")
    write_archive(one(9, hidden_dim=6), load_format("npz"), folder / "wider.npz")
    trace = opened(folder)
    note = trace.manifest.provenance.note
    assert len(trace.manifest.tensors) == 8
    assert "left out (not recognised as archives): README.txt, empty" in note
    assert "left out (links, which are not followed): link.npz" in note
    assert "of that width and type): wider.npz" in note


def test_a_protein_that_is_called_as_a_layer_is_no_layer(folder):
    write_archive(one(5), load_format("raw"), folder / "layer_7")
    tensors = opened(folder).manifest.tensors
    assert {spec.layer for spec in tensors} == {0, 1} and len(tensors) == 10


def test_other_folders_are_not_taken_for_one(folder, tmp_path):
    assert not importer.recognises(folder / "protein 2.zarr")  # one archive that is a folder
    for path in list(folder.iterdir())[1:]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not importer.recognises(folder) and not importer.recognises(tmp_path / "nowhere")


def test_a_folder_in_which_all_are_damaged_is_refused_in_one_sentence(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else flip(path)
    with pytest.raises(SourceError, match="holds no archive that can be read"):
        opened(folder)


def test_an_archive_that_is_damaged_later_is_not_read_as_if_it_were_sound(folder):
    trace = opened(folder)
    (path,) = folder.glob("*.raw")
    flip(path)
    with pytest.raises(HarnessError, match=path.name):
        for spec in trace.manifest.tensors:
            read_whole(trace, spec.path)


@pytest.mark.slow
def test_a_run_on_a_folder_names_what_is_left_out_and_an_archive_of_all_can_be_made(sketched, folder, tmp_path, capsys):
    flip(next(folder.glob("*.h5")))
    argv = ["run", str(folder), "--suites", "size,corpus_access", "--formats", "hdf5,zarr", "--rounds", "1"]
    argv += ["--readers", "stock", "--workers", "2", "--executors", "threads", "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Note on file:traces: activations/layer_#/single_repr of 3 archives; left out (damaged" in said
    (subject,) = read_plan(tmp_path / "run" / "plan.json")
    names = {access["name"] for access in subject["accesses"] if access["kind"] == "ReadAccess"}
    assert names == {"row_batch", "row_batch_load_once", "layer_of_all", "one_protein"}
    assert main(["convert", str(folder), str(tmp_path / "all.zarr")]) == 0
    assert main(["verify", str(tmp_path / "all.zarr")]) == 0
