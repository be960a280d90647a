"""A file that changes while it is read is refused, whichever tensor is read and however."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import harness
from harness.foreign import file_states
from harness.foreign.file_states import FileStates
from harness.foreign.guessing import parse_rule
from harness.foreign.opening import Asked, open_paths
from harness.foreign.source import SourceError
from harness.trace.first_layers import first_layers
from harness.trace.stream import read_whole
from tests.formats.samples import assert_same

RNG = np.random.default_rng(7)
ARRAYS = {"a": RNG.normal(size=(6, 9, 8)).astype(">f4"), "b": RNG.normal(size=(6, 9, 8))}
CHANGED = "changed while it was read; try again when no program writes to it"


def _npz(folder: Path) -> Path:
    np.savez(folder / "mine.npz", **ARRAYS)
    return folder / "mine.npz"


def _npy(folder: Path) -> Path:
    (folder / "mine").mkdir()
    for name, array in ARRAYS.items():
        np.save(folder / "mine" / name, np.asfortranarray(array) if name == "a" else array)
    return folder / "mine"


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "mine.h5", "w") as file:
        for name, array in ARRAYS.items():
            file[name] = array
    return folder / "mine.h5"


def _zarr(folder: Path) -> Path:
    group = zarr.create_group(folder / "mine.zarr")
    for name, array in ARRAYS.items():
        group.create_array(name, data=array, chunks=(3, 9, 8))
    return folder / "mine.zarr"


def _safetensors(folder: Path) -> Path:
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is an extra")
    numpy.save_file({name: np.ascontiguousarray(array.astype("<f8")) for name, array in ARRAYS.items()}, folder / "m")
    return (folder / "m").rename(folder / "mine.safetensors")


CONTAINERS = (_npz, _npy, _hdf5, _zarr, _safetensors)


def _file_of(path: Path, name: str) -> Path:
    """Return a file in which values of an array lie."""
    if path.is_file():
        return path
    found = sorted(each for each in path.rglob("*") if each.is_file() and name in each.relative_to(path).as_posix())
    return found[0]


def _through_blocks(path: Path) -> object:
    trace = open_paths(Asked(paths=(path,)))
    os.utime(_file_of(path, "a"), ns=(1, 1))
    return read_whole(trace, "a")


def _through_first_layers(path: Path) -> object:
    rule = parse_rule("?=array:layer,row,column")
    trace = first_layers(open_paths(Asked(paths=(path,), rules=(rule,))), 2)
    os.utime(_file_of(path, "a"), ns=(1, 1))
    return read_whole(trace, "a")


def _through_rows(path: Path) -> object:
    with harness.open(path) as trace:
        os.utime(_file_of(path, "a"), ns=(1, 1))
        return list(trace["a"])


def _through_a_part(path: Path) -> object:
    with harness.open(path) as trace:
        os.utime(_file_of(path, "a"), ns=(1, 1))
        return trace["a"][2, 3:5]


def _through_create(path: Path) -> object:
    with harness.open(path) as trace, harness.create(path.with_name("out.h5")) as out:
        os.utime(_file_of(path, "a"), ns=(1, 1))
        out["x"] = trace["a"]
    return out


@pytest.mark.parametrize("make", CONTAINERS)
@pytest.mark.parametrize(
    "read", [_through_blocks, _through_first_layers, _through_rows, _through_a_part, _through_create]
)
def test_a_change_is_noticed_of_every_tensor(
    make: Callable[[Path], Path], read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SourceError, match=CHANGED):
        read(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("make", CONTAINERS)
def test_every_part_of_what_did_not_change_is_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with harness.open(path) as trace:
        if path.is_dir():
            os.utime(_file_of(path, "b"), ns=(1, 1))  # of another tensor
        for key in ((), slice(1, 4), (slice(None), 2), (..., slice(3, 5)), (slice(5, 5),), (0, 0, 0), (-1, ..., -1)):
            found = trace["a"][key]
            assert_same(np.asarray(found), np.array(ARRAYS["a"][key], found.dtype))
        found = trace["a"][...]
        found[:] = 0  # what is read is the reader's own
        assert_same(trace["a"][...], np.array(ARRAYS["a"], found.dtype))


@pytest.mark.parametrize("fortran", [False, True])
def test_a_file_that_is_cut_while_it_is_read_ends_no_process(tmp_path, fortran):
    large = np.zeros((5, 1 << 20))
    np.save(tmp_path / "x.npy", np.asfortranarray(large) if fortran else large)
    blocks = open_paths(Asked(paths=(tmp_path / "x.npy",))).blocks("x")
    assert next(blocks).shape == (1, 1 << 20)
    os.truncate(tmp_path / "x.npy", 1000)
    with pytest.raises(SourceError, match=rf"x\.npy {CHANGED}"):
        list(blocks)


def test_a_chunk_that_is_new_is_a_change(tmp_path):
    array = zarr.create_array(tmp_path / "x.zarr", shape=(4, 3), chunks=(1, 3), dtype="f4")
    array[:2] = 1
    trace = open_paths(Asked(paths=(tmp_path / "x.zarr",)))
    array[3] = 1
    with pytest.raises(SourceError, match=CHANGED):
        list(trace.blocks("x"))


def test_a_read_of_a_part_looks_at_few_files(tmp_path, monkeypatch):
    group = zarr.create_group(tmp_path / "mine.zarr")
    group.create_array("a", data=np.arange(200.0).reshape(200, 1), chunks=(1, 1))
    group.create_array("b", data=np.arange(9.0))
    seen: list[str] = []
    state = file_states._state
    with harness.open(tmp_path / "mine.zarr") as trace:
        monkeypatch.setattr(file_states, "_state", lambda path: seen.append(path) or state(path))
        assert trace["a"][7, 0] == 7 and not seen
        assert trace["b"][7] == 7 and 0 < len(seen) < 9
        seen.clear()
        assert trace["a"][...].sum() == 19900
        assert 200 < len(seen) < 450 and all("/a" in path for path in seen)  # its chunks, their folders, its metadata


def test_states_of_files_and_folders(tmp_path):
    for name in ("a", "ab", "a.b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    states = FileStates()
    states.add(tmp_path)
    assert not states.changed() and not states.changed([tmp_path / "ab"], most=2)
    (tmp_path / "a" / "x").write_text("12")
    assert states.changed() == states.changed([tmp_path / "ab", tmp_path / "a"]) == str(tmp_path / "a" / "x")
    assert not states.changed([tmp_path / "ab", tmp_path / "a.b"]) and not states.changed([tmp_path / "a"], most=1)
    (tmp_path / "ab" / "x").unlink()
    assert states.changed([tmp_path / "ab"]) == str(tmp_path / "ab")
