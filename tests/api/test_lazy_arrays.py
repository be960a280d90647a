"""Lazy arrays as other libraries see them, and of files of other programs: names, chunks, threads."""

from __future__ import annotations

import importlib.util
import pickle
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import zarr

import harness
from harness.foreign.torch_files import TensorLeaf
from harness.formats.raw import RawReader
from tests.formats.samples import assert_same, put
from tests.outputs import torch_file

RNG = np.random.default_rng(4)


def test_no_two_tensors_are_one_to_dask(tmp_path):
    dask = pytest.importorskip("dask", reason="the extra 'dask' is not installed")
    arrays = {
        "a": RNG.normal(size=(9, 9, 4)).astype(np.float32),
        "b": np.zeros((4, 9)),
        "c": np.zeros((9, 4)),
        "d": np.zeros((4, 9), np.int64),
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    paths = put(tmp_path, "hdf5", arrays), put(tmp_path, "zarr", arrays), tmp_path / "mine.npz"
    with harness.open(paths[0]) as first, harness.open(paths[1]) as second, harness.open(paths[2]) as third:
        found = defaultdict(set)
        for trace in (first, second, third):
            for name, array in arrays.items():
                for chunks in (None, -1, (3, *array.shape[1:])):
                    for dtype in (None, "int64", ">f8", "f4"):
                        lazy = trace.array(name, dtype).to_dask(chunks)
                        found[lazy.name].add((trace.asked, name, lazy.dtype.str, lazy.chunks))
        assert all(len(tensors) == 1 for tensors in found.values())
        assert first["a"].to_dask((3, 9, 4)).name == first["a"].to_dask({0: 3, 1: -1, 2: 4}).name
        with dask.config.set(scheduler="threads"):
            a, transposed = arrays["a"], first["c"].to_dask().T - second["b"].to_dask()
            for other in (first["a"].to_dask(), second["a"].to_dask((2, 5, 4)), third["a"].to_dask()):
                assert_same(np.asarray((first["a"].to_dask((3, 9, 4)) + other).compute()), a + a)
            assert_same(np.asarray(transposed.compute()), np.zeros((4, 9)))
            assert_same(np.asarray((first["b"].to_dask() + third["d"].to_dask()).compute()), np.zeros((4, 9)))


def test_bits_that_are_two_types_are_two_tensors_to_dask(tmp_path):
    pytest.importorskip("dask", reason="the extra 'dask' is not installed")
    bits = np.array([0x3F80, 0xC000], np.uint16)
    np.savez(tmp_path / "mine.npz", x=bits.view("V2"))
    with harness.open(tmp_path / "mine.npz") as mine, harness.create(tmp_path / "a.h5") as out:
        out["outputs/x"] = mine["x"] if _has_bfloat16() else mine.array("x", "float32")
        out["outputs/y"] = bits
    with harness.open(tmp_path / "a.h5") as trace:
        wide = {path: trace.array(path, "float32").to_dask() for path in trace}
        assert wide["outputs/x"].compute().tolist() == [1, -2] and wide["outputs/y"].compute().tolist() == bits.tolist()
        assert (wide["outputs/x"] - wide["outputs/y"]).compute().tolist() == [1 - 0x3F80, -2 - 0xC000]


def _has_bfloat16() -> bool:
    return importlib.util.find_spec("ml_dtypes") is not None


def test_a_lazy_array_of_xarray_is_another_when_its_file_is(tmp_path):
    pytest.importorskip("xarray", reason="the extra 'xarray' is not installed")
    pytest.importorskip("dask", reason="the extra 'dask' is not installed")
    names = set()
    for seed in range(2):
        path = put(tmp_path, "raw", {"pair/layer_0": np.full((3, 3, 2), seed, np.float32)})
        with harness.open(path) as trace:
            first, again = (trace["pair/layer_0"].to_xarray().chunk().data for _ in range(2))
            assert first.name == again.name and (first.compute() == seed).all()
        names.add(first.name)
        path.unlink()
    assert len(names) == 2


@pytest.mark.parametrize("name", ["mine.pt", "fortran.npz"])
def test_looking_at_a_tensor_reads_none_of_its_values(tmp_path, monkeypatch, name):
    array = RNG.normal(size=(6, 7)).astype(np.float32)
    if name == "mine.pt":
        torch_file(tmp_path / name, array)
    else:
        np.savez(tmp_path / name, x=np.asfortranarray(array))
    with harness.open(tmp_path / name) as trace:
        (path,) = trace
        with monkeypatch.context() as patched:
            for owner, method in ((TensorLeaf, "array"), (np, "load")):
                patched.setattr(owner, method, lambda *_, **__: pytest.fail("values were read"))
            assert trace[path].chunks == (6, 7)
            lazy = []
            if importlib.util.find_spec("xarray"):
                lazy += [trace[path].to_xarray(), trace.to_xarray()[path]]
            if importlib.util.find_spec("dask"):
                lazy.append(trace[path].to_dask())
                assert lazy[-1].numblocks == (1, 1)
        for each in (trace[path], *lazy):
            assert_same(np.asarray(each), array)


def test_chunks_are_those_of_other_programs_too(tmp_path):
    array = RNG.normal(size=(6, 7))
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["contiguous"] = array
        file.create_dataset("chunked", data=array, chunks=(2, 7))
        file["one"] = 3.0
    with harness.open(tmp_path / "mine.h5") as trace:
        assert {name: trace[name].chunks for name in trace} == {"contiguous": None, "chunked": (2, 7), "one": None}
    zarr.create_array(tmp_path / "x.zarr", data=array, chunks=(2, 7), shards=(4, 7))
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", x=array)
    for name, chunks in (("x.zarr", (2, 7)), ("x.npy", None), ("x.npz", (6, 7))):
        with harness.open(tmp_path / name) as trace:
            assert trace["x"].chunks == chunks
            assert_same(trace["x"][...], array)


def test_threads_may_share_files_of_another_program(tmp_path):
    arrays = {f"x{number}": RNG.normal(size=(40, 50)) for number in range(4)}
    np.savez(tmp_path / "mine.npz", **arrays)
    with harness.open(tmp_path / "mine.npz") as trace, ThreadPoolExecutor(4) as pool:
        jobs = [(name, pool.submit(lambda name=name: trace[name][3:9])) for name in list(arrays) * 10]
        for name, job in jobs:
            assert_same(job.result(), arrays[name][3:9])


def test_what_is_read_of_files_may_be_changed(tmp_path):
    array = RNG.normal(size=(6, 7)).astype(np.float32)
    mapped = torch_file(tmp_path / "mapped.pt", array)
    numbers = torch_file(tmp_path / "numbers.pt", array, pickle.dumps({"x": array.tolist()}, 2))
    for path in (mapped, numbers):
        with harness.open(path) as trace:
            (found,) = trace.values()
            expected = found[...].copy()
            for block in (*found.blocks(), *found, found[...], found[:, 2:4], np.asarray(found)):
                block *= 100
            assert_same(found[...], expected)
            assert_same(np.concatenate(list(found.blocks())), expected)


def test_what_a_reader_keeps_may_be_changed(tmp_path, monkeypatch):
    kept = RNG.normal(size=(6, 7))
    path = put(tmp_path, "raw", {"outputs/x": kept})
    expected = kept.copy()
    kept.flags.writeable = False
    monkeypatch.setattr(RawReader, "read", lambda self, path, selection=None: kept)
    with harness.open(path) as trace:
        for block in (*trace["outputs/x"].blocks(), *trace["outputs/x"], trace["outputs/x"][...]):
            block *= 100
        assert_same(trace["outputs/x"][...], expected)
