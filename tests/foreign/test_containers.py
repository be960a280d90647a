"""Containers of other writers: every array under its name, and what is left out with its reason."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.errors import UsageError
from harness.foreign.opening import Asked, open_paths, take_arrays
from harness.foreign.source import SourceError
from harness.trace.stream import read_whole

ONES = np.ones((3, 4), np.float32)


def listed(path: Path) -> tuple[set[str], dict[str, str]]:
    """Names of arrays, and reasons by name for what is left out."""
    taken = take_arrays(Asked(paths=(path,)))
    return {spec.path for spec in taken.trace.manifest.tensors}, dict(taken.left_out)


def values(path: Path, name: str) -> np.ndarray:
    return read_whole(open_paths(Asked(paths=(path,))), name)


def test_arrays_of_one_name_in_a_folder_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a.npz", b=ONES)
    np.save(tmp_path / "a/b.npy", ONES)
    with pytest.raises(UsageError, match=r"a\.npz and .*b\.npy both hold an array named 'a/b': rename or remove one"):
        open_paths(Asked(paths=(tmp_path,)))


def test_a_file_that_is_given_twice_is_taken_once(tmp_path):
    np.savez(tmp_path / "a.npz", b=ONES)
    trace = open_paths(Asked(paths=(tmp_path / "a.npz",) * 2))
    assert [spec.path for spec in trace.manifest.tensors] == ["a/b"]


def test_members_of_one_name_in_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=ONES)
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "a.npz", "a") as file, file.open("x.npy", "w") as member:
        np.save(member, ONES)
    with pytest.raises(SourceError, match="holds two arrays named 'x': rename or remove one of the two"):
        open_paths(Asked(paths=(tmp_path / "a.npz",)))


@pytest.mark.parametrize("order", ["C", "F"])
def test_members_of_an_npz_are_told_by_their_full_names(order, tmp_path):
    np.savez(tmp_path / "a.npz", **{"x": np.asarray(ONES, order=order), "x.npy": np.asarray(2 * ONES, order=order)})
    assert (values(tmp_path / "a.npz", "x") == ONES).all()
    assert (values(tmp_path / "a.npz", "x.npy") == 2 * ONES).all()


def test_what_is_no_array_in_an_npz_is_listed(tmp_path):
    np.savez(tmp_path / "a.npz", x=ONES, records=np.zeros(2, [("é", "f4")]), objects=np.array([{}]))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file:
        file.writestr("notes.txt", "words")
    names, left_out = listed(tmp_path / "a.npz")
    assert names == {"x"} and left_out.keys() == {"records", "objects", "notes.txt"}
    assert left_out["notes.txt"] == "no array of NumPy (.npy)" and "é" in left_out["records"]


def test_links_and_spaces_without_values_in_hdf5_are_listed(tmp_path):
    path = tmp_path / "mine.h5"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["y"] = 2 * ONES
    with h5py.File(path, "w") as file:
        file["a/x"] = ONES
        file["b"], file["again"] = file["a"], file["a/x"]
        file["a/up"] = file["/"]
        file["soft"], file["out"] = h5py.SoftLink("/a/x"), h5py.ExternalLink("other.h5", "/y")
        file["null"] = h5py.Empty("f4")
        layout = h5py.VirtualLayout((3, 4), "f4")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "y", (3, 4))
        file.create_virtual_dataset("virtual", layout)
    names, left_out = listed(path)
    assert names == {"a/x"} and left_out == {
        "b": "the same as a",
        "again": "the same as a/x",
        "a/up": "the same as /",
        "soft": "a link to /a/x",
        "out": "a link to another file",
        "null": "no values: its data space is null",
        "virtual": "its values lie in other datasets or files",
    }


def test_values_that_are_arrays_in_hdf5_have_their_axes_last(tmp_path):
    import harness

    path, found = tmp_path / "mine.h5", np.arange(24, dtype="<f4").reshape(2, 4, 3)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (2, 4), np.dtype(("<f4", (3,))))[...] = found
        file.create_dataset("one", (), np.dtype(("<f4", (3,))))[...] = found[0, 0]
    assert (values(path, "x") == found).all() and (values(path, "one") == found[0, 0]).all()
    with harness.open(path) as trace:
        assert (trace["x"][1, 1:3, 2] == found[1, 1:3, 2]).all() and (trace["one"][1:] == found[0, 0, 1:]).all()


@pytest.mark.parametrize("name", [5, [1.5, 2.5], "words", b"words"])
def test_attributes_of_any_type_in_hdf5_are_no_reason_to_refuse(name, tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["x"] = ONES
        file["x"].attrs["NAME"] = file["x"].attrs["DIMENSION_LIST"] = name
    assert listed(tmp_path / "mine.h5") == ({"x"}, {})


def _zarr(path: Path, zarr_format: int) -> zarr.Group:
    root = zarr.create_group(path, zarr_format=zarr_format)  # type: ignore[arg-type]
    root.create_array("x", data=ONES)
    root.create_array("y", data=ONES)
    return root


def _change(path: Path, **change: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_lost_chunks_of_zarr_are_told(tmp_path, capsys):
    path = tmp_path / "mine.zarr"
    zarr.create_group(path).create_array("x", data=np.ones((8, 4)), chunks=(2, 4))
    for lost in ("1", "3"):
        (path / f"x/c/{lost}/0").unlink()
    taken = take_arrays(Asked(paths=(path,)))
    assert taken.notes == ["2 of 4 chunks of x are not stored, which Zarr reads as 0.0"]
    assert main(["convert", str(path), str(tmp_path / "out.h5")]) == 0
    assert "2 of 4 chunks of x are not stored" in capsys.readouterr().out


def test_lost_shards_of_zarr_are_told(tmp_path):
    path = tmp_path / "mine.zarr"
    zarr.create_array(path, data=np.ones((8, 4)), chunks=(1, 4), shards=(4, 4))
    (path / "c/1/0").unlink()
    (note,) = take_arrays(Asked(paths=(path,))).notes
    assert note == "1 of 2 shards of mine.zarr are not stored, which Zarr reads as 0.0"


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_two_bytes_without_a_type_in_zarr_are_bfloat16(zarr_format, tmp_path):
    path, bits = tmp_path / "mine.zarr", np.arange(12, dtype="<u2").reshape(3, 4) + 0x3F80
    _zarr(path, zarr_format).create_array("bf", data=bits.view("V2"))
    taken = take_arrays(Asked(paths=(path,)))
    assert taken.trace.manifest["bf"].values == "bfloat16" and not taken.left_out
    assert (read_whole(taken.trace, "bf") == bits).all()


@pytest.mark.parametrize(
    ("zarr_format", "file", "change", "why"),
    [
        (3, "zarr.json", {"data_type": "bfloat16"}, "of type bfloat16, which is not supported"),
        (3, "zarr.json", {"data_type": {"name": "struct", "configuration": {}}}, "of type {"),
        (2, ".zarray", {"dtype": "bfloat16"}, "of type bfloat16, which is not supported"),
        (2, ".zarray", {"dtype": [["a", "<f4"]]}, 'of type [["a", "<f4"]], which is not supported'),
        (2, ".zarray", {"dtype": "|V1"}, "of type |V1, which is not supported"),
        (2, ".zarray", {"dtype": "<f16"}, "of type <f16, which is not supported"),
        (2, ".zarray", {"dtype": "<M8[ns]"}, "of type <M8[ns], which is not supported"),
        (2, ".zarray", {"compressor": {"id": "pickle"}}, "stored with 'pickle', which is not a supported codec"),
        (3, "zarr.json", {"codecs": [{"name": "mine"}]}, "stored with 'mine', which is not a supported codec"),
    ],
)
def test_an_array_of_zarr_that_is_not_read_is_left_out_by_name(zarr_format, file, change, why, tmp_path):
    _zarr(tmp_path / "mine.zarr", zarr_format)
    _change(tmp_path / "mine.zarr/y" / file, **change)
    names, left_out = listed(tmp_path / "mine.zarr")
    assert names == {"x"} and left_out["y"].startswith(why)


@pytest.mark.parametrize("change", [{"shape": [2_000_000_000]}, {"shape": [2_000_000_000], "chunks": [1]}])
def test_texts_and_counts_of_zarr_cost_nothing_before_they_are_read(change, tmp_path):
    root = _zarr(tmp_path / "mine.zarr", 2)
    root.create_array("words", data=np.array([b"a", b"b"], "S1"))
    _change(tmp_path / "mine.zarr/words/.zarray", **change)
    assert listed(tmp_path / "mine.zarr") == ({"x", "y"}, {"words": "text"})
