"""Foreign arrays are read by blocks whatever their shape, and what they state is compared with their files."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import harness
from harness import limits, scratch
from harness.cli import main
from harness.errors import HarnessError, MachineError
from harness.foreign.opening import Asked, open_paths
from harness.formats import layout, npz_reader, opening, selection
from harness.formats.archive import verify_archive
from harness.limits import LimitError
from harness.slimming import slimmer
from harness.trace import stream
from tests.outputs import torch_pickle

SHAPE = (1, 256, 256, 64)  # one row of 16 MiB
SMALL = 1 << 20


def made() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50, SHAPE).astype(np.float32)


@pytest.fixture
def small(monkeypatch):
    """Blocks and arrays in memory of 1 MiB at most, as in tests/formats/test_memory.py."""
    monkeypatch.setattr(scratch, "LARGEST", SMALL)
    monkeypatch.setattr(slimmer, "MOST_HELD", SMALL)
    monkeypatch.setattr(selection, "BLOCK_BYTES", SMALL)
    monkeypatch.setattr(selection, "MOST_BYTES", SMALL)
    monkeypatch.setattr(layout, "CHUNK_BYTES", SMALL // 4)
    for module in (opening, npz_reader):
        monkeypatch.setattr(module, "LARGE_BYTES", SMALL)
    monkeypatch.setattr(stream.block_rows, "__defaults__", (SMALL,))
    tracemalloc.start()
    yield
    tracemalloc.stop()


def _hdf5(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=array, chunks=(1, 32, 32, 64), compression="gzip", compression_opts=1)


def _zarr(path: Path, array: np.ndarray) -> None:
    zarr.create_group(path).create_array("x", data=array, chunks=(1, 32, 32, 64))


def _torch(path: Path, array: np.ndarray) -> None:
    """Three views of one storage, the first of them transposed."""
    n, last = array.shape[1], array.shape[3]
    shapes = (((1, last, n, n), (array.size, 1, n * last, last)), (array.shape, (array.size, n * last, last, 1)))
    with zipfile.ZipFile(path, "w") as file:
        parts = [b"\x80\x02]("]
        for shape, strides in (*shapes, shapes[1]):
            parts.append(torch_pickle(shape, strides, 0, array.size, "FloatStorage")[2:-1])
        file.writestr("x/data.pkl", b"".join((*parts, b"e.")))
        file.writestr("x/data/0", array.tobytes())


SOURCES: dict[str, Callable[[Path, np.ndarray], object]] = {
    "x.npz": lambda path, array: np.savez_compressed(path, x=array),
    "fortran.npz": lambda path, array: np.savez_compressed(path, x=np.asfortranarray(array)),
    "fortran.npy": lambda path, array: np.save(path, np.asfortranarray(array)),
    "big.npy": lambda path, array: np.save(path, array.astype(">f4")),
    "x.h5": _hdf5,
    "x.zarr": _zarr,
    "x.pt": _torch,
}


def peak_of(do: Callable[[], object]) -> int:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    do()
    return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_a_batch_of_one_is_read_by_blocks(name, tmp_path, small):
    array = made()
    SOURCES[name](tmp_path / name, array)
    trace = open_paths(Asked(paths=(tmp_path / name,)))
    spec = trace.manifest.tensors[-1]
    found = {}

    def digest() -> None:
        found["digest"] = stream.digest_blocks(trace.blocks(spec.path))

    assert peak_of(digest) < array.nbytes / 2
    assert found["digest"] == stream.digest(array)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_a_part_of_a_batch_of_one_takes_memory_of_the_part(name, tmp_path, small):
    array = made()
    SOURCES[name](tmp_path / name, array)
    with harness.open(tmp_path / name) as trace:
        tensor = trace[list(trace)[-1]]
        assert peak_of(lambda: tensor[0, 3, 5]) < array.nbytes / 2
        assert (tensor[0, 3, 5:9] == array[0, 3, 5:9]).all() and (tensor[0, :4, 7, 9] == array[0, :4, 7, 9]).all()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".npz", ".raw", ".slim.zarr"])
def test_a_batch_of_one_is_converted_and_read_again_by_blocks(suffix, tmp_path, small):
    array = made()
    _hdf5(tmp_path / "x.h5", array)
    main(["convert", str(tmp_path / "x.h5"), str(tmp_path / f"first{suffix}")])  # loads the format's library
    path, again = tmp_path / f"out{suffix}", tmp_path / f"again{suffix}"
    assert peak_of(lambda: main(["convert", str(tmp_path / "x.h5"), str(path)])) < 0.75 * array.nbytes
    assert peak_of(lambda: main(["convert", str(path), str(again)])) < 0.75 * array.nbytes
    assert verify_archive(again) == []
    with harness.open(again) as trace:
        assert (np.asarray(trace["x"]) == array).all()


def test_scratch_that_the_disk_has_no_room_for_is_told(monkeypatch):
    monkeypatch.setattr(scratch, "LARGEST", 1 << 10)
    assert scratch.room((2, 3), "f4").shape == (2, 3)
    with pytest.raises(MachineError, match=r"no space for .* of temporary files in .*: set TMPDIR"):
        scratch.room((1 << 60,), "f4")


@pytest.mark.parametrize("shape", [(1, 1 << 32), (1 << 50,)])
def test_arrays_that_are_far_larger_than_their_file_are_refused(shape, tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", shape, "f4", chunks=(1 << 10,) * len(shape) if len(shape) == 1 else (1, 1 << 10))
    assert main(["convert", str(tmp_path / "x.h5"), str(tmp_path / "out.raw")]) == 1
    said = capsys.readouterr().err
    assert "states arrays of" in said and "--max-inflated" in said and not (tmp_path / "out.raw").exists()


def test_a_streamed_member_may_be_a_hundred_times_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_INFLATED", 1 << 16)
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "some.npz", x=rng.integers(0, 9, (1 << 10, 1 << 10)).astype(np.uint8))
    assert open_paths(Asked(paths=(tmp_path / "some.npz",))).manifest["x"].nbytes == 1 << 20
    np.savez_compressed(tmp_path / "none.npz", x=np.zeros((1 << 10, 1 << 10), np.uint8))
    with pytest.raises(HarnessError, match=r"inflates to 1 MiB, more than .*--max-inflated"):
        open_paths(Asked(paths=(tmp_path / "none.npz",)))


def test_what_compresses_well_is_converted_and_its_archive_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(limits, "_INFLATED", 1 << 16)
    np.save(tmp_path / "x.npy", np.zeros((1 << 8, 1 << 10), np.float32))
    path = tmp_path / "out.npz"
    assert main(["convert", str(tmp_path / "x.npy"), str(path)]) == 0
    assert "to read it, give --max-inflated 1048576" in capsys.readouterr().out
    assert main(["verify", str(path)]) == 1 and main(["verify", str(path), "--max-inflated", "1048576"]) == 0


def test_a_chunk_of_blosc_that_states_more_than_it_should_is_refused(tmp_path):
    path = tmp_path / "x.zarr"
    blosc = zarr.codecs.BloscCodec(cname="lz4")
    zarr.create_group(path).create_array("x", data=np.ones((4, 4)), compressors=blosc)
    data = bytearray((path / "x/c/0/0").read_bytes())
    data[4:8] = (1 << 30).to_bytes(4, "little")
    (path / "x/c/0/0").write_bytes(data)
    with pytest.raises(HarnessError, match="states 1 GiB, where a chunk has 128 bytes"):
        open_paths(Asked(paths=(path,)))


def test_a_tensor_that_repeats_its_storage_far_too_often_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_INFLATED", 1 << 10)
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("x/data.pkl", torch_pickle((1 << 20,), (0,), 0, 1, "FloatStorage"))
        file.writestr("x/data/0", bytes(4))
    with pytest.raises(LimitError, match="states arrays of 4 MiB"):
        open_paths(Asked(paths=(tmp_path / "x.pt",)))
