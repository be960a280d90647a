"""An open archive is a mapping of arrays that read what is asked for, as NumPy would give it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import harness
from harness.api.open_files import StoredTrace
from harness.api.values import as_held, as_type, numpy_type
from harness.errors import ArchiveError, UsageError
from harness.formats.selection import lengths
from harness.trace.schema import tensor
from tests.formats.samples import assert_same, put

RNG = np.random.default_rng(3)
ARRAYS = {
    "pair/layer_0": RNG.normal(size=(9, 9, 4)).astype(np.float32),
    "pair/layer_1": RNG.normal(size=(9, 9, 4)).astype(np.float32),
    "inputs/sequence": np.arange(9, dtype=np.int32),
    "structure/ptm": np.array(0.5),
    "outputs/none": np.zeros((0, 3), np.uint8),
}
KEYS: list[Any] = [
    (), ..., 3, -1, np.int64(2), slice(None), slice(2, 7), slice(-3, None), slice(None, None, -1), slice(7, 1, -3),
    slice(1, 8, 3), slice(5, 2), slice(-99, 99), None, (1, 2, 3), (..., 1), (2, ..., -1), (slice(1, 3), None, 4),
    (..., slice(None, None, 2), None), (-1, slice(8, None, -2), slice(1, 3)), (slice(None), 0), (..., 0, 0, 0),
    (1, 2, 3, ...),
]  # fmt: skip


@pytest.fixture(params=["raw", "npz", "hdf5", "zarr-slim"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return put(tmp_path, request.param, ARRAYS)


def test_indexing_gives_what_numpy_gives(archive):
    with harness.open(archive) as trace:
        assert list(trace) == list(ARRAYS)
        for name, array in ARRAYS.items():
            found = trace[name]
            assert (found.shape, found.dtype, found.nbytes, found.ndim) == (
                array.shape, array.dtype, array.nbytes, array.ndim
            )  # fmt: skip
            assert_same(np.asarray(found), array)
            if array.ndim:
                assert len(found) == len(array)
                assert_same(np.array(list(found), array.dtype).reshape(array.shape), array)
        for key in KEYS:
            found, expected = trace["pair/layer_1"][key], ARRAYS["pair/layer_1"][key]
            assert isinstance(found, np.ndarray) == isinstance(expected, np.ndarray), key
            assert_same(np.asarray(found), np.asarray(expected))
        assert trace["structure/ptm"][()] == 0.5 and isinstance(trace["structure/ptm"][...], np.ndarray)


@pytest.mark.parametrize(
    ("key", "read"),
    [
        ((slice(1, 7, 2), -2), (5, 1, 4)),
        ((slice(8, 2, -3), slice(0, 0)), (4, 0, 4)),
        ((0, 0, 0), (1, 1, 1)),
    ],
)
def test_no_more_is_read_than_holds_what_is_asked_for(tmp_path, monkeypatch, key, read):
    asked = []
    whole = StoredTrace.read

    def noted(self, path, selection):
        asked.append(lengths(selection))
        return whole(self, path, selection)

    monkeypatch.setattr(StoredTrace, "read", noted)
    with harness.open(put(tmp_path, "raw", ARRAYS)) as trace:
        found = trace["pair/layer_0"][key]
    assert asked == [read]
    assert np.asarray(found).base is None or np.asarray(found).base.size == np.asarray(found).size


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ([0, 1], "not with list: read a part of it first"),
        (np.array([True]), "not with ndarray"),
        (True, "not with bool"),
        (1.0, "not with float"),
        (9, "Index 9 is beyond axis 0, which has 9"),
        ((0, -10), "beyond axis 1"),
        ((0, 0, 0, 0), "3 axes takes as many indices at most, got 4"),
        ((..., 0, ...), "one '...' at most"),
    ],
)
def test_other_indices_are_refused_in_a_sentence(tmp_path, key, says):
    with harness.open(put(tmp_path, "raw", ARRAYS)) as trace, pytest.raises(IndexError, match=says.replace(".", r"\.")):
        trace["pair/layer_0"][key]


def test_a_trace_is_a_mapping_of_names(tmp_path):
    trace = harness.open(str(put(tmp_path, "hdf5", ARRAYS)))
    assert len(trace) == 5 and "pair/layer_0" in trace and "pair" not in trace and 3 not in trace
    assert trace.get("pair") is None and dict(trace.items()).keys() == ARRAYS.keys()
    assert trace.metadata == {"model_name": "none", "num_layers": 2} and trace.manifest["structure/ptm"].shape == ()
    assert trace == trace and trace != harness.open(*trace.asked.paths)
    with pytest.raises(KeyError) as error:
        trace["pair/layer1"]
    assert isinstance(error.value, harness.HarnessError)
    assert str(error.value) == "There is no tensor named 'pair/layer1'; did you mean 'pair/layer_1'?"
    pair = trace["pair/layer_0"]
    assert repr(pair) == (
        "<TraceArray pair/layer_0: float32 (9, 9, 4) (residue, residue, pair_channel), pair, 1.266 KiB>"
    )
    assert repr(trace) == "<OpenTrace archive.h5 (hdf5): 5 tensors, 2.574 KiB>"
    assert pair.axes == ("residue", "residue", "pair_channel") and pair.role == "pair" and pair.chunks == (9, 9, 4)
    for refused in (len, iter, list):
        with pytest.raises(TypeError, match="structure/ptm has no axis"):
            list(refused(trace["structure/ptm"]))
    with pytest.raises(ValueError, match="leave out copy=False"):
        np.asarray(pair, copy=False)
    trace.close()
    with pytest.raises(UsageError, match=r"archive\.h5 was closed: open it again"):
        pair[0]


def test_values_are_converted_as_they_are_read(tmp_path):
    with harness.open(put(tmp_path, "zarr-slim", ARRAYS)) as trace:
        narrow = trace.array("pair/layer_0", dtype="float16")
        assert narrow.dtype == np.float16 and narrow.nbytes == ARRAYS["pair/layer_0"].nbytes // 2
        assert_same(narrow[2:4], ARRAYS["pair/layer_0"][2:4].astype(np.float16))
        assert np.asarray(narrow.astype("float64")).dtype == np.float64  # of what is stored, not of what was rounded
        assert_same(np.asarray(narrow.astype("float64")), ARRAYS["pair/layer_0"].astype(np.float64))
        assert next(iter(narrow)).dtype == np.float16
        for wrong in ("flot32", 3, {"a": 1}):
            with pytest.raises(UsageError, match="is no NumPy dtype: give one such as 'float32'"):
                trace.array("pair/layer_0", dtype=wrong)


def test_a_copy_in_another_process_opens_the_archive_anew(tmp_path, monkeypatch):
    path = put(tmp_path, "zarr-slim", ARRAYS)
    monkeypatch.chdir(tmp_path)
    with harness.open(path.name) as trace:
        sent = pickle.dumps([trace, trace["pair/layer_1"].astype("float64")])
    monkeypatch.chdir("/")
    again, array = pickle.loads(sent)
    assert_same(array[1], ARRAYS["pair/layer_1"][1].astype(np.float64))
    assert_same(again["inputs/sequence"][:], ARRAYS["inputs/sequence"])


def test_what_is_no_sound_archive_is_refused(tmp_path):
    with pytest.raises(UsageError, match="There is no file or folder"):
        harness.open(tmp_path / "none.h5")
    with pytest.raises(UsageError, match="needs a path"):
        harness.open()
    (tmp_path / "text.h5").write_text("no archive")
    with pytest.raises(UsageError, match="holds no arrays that can be read here"):
        harness.open(tmp_path / "text.h5")
    path = put(tmp_path, "raw", ARRAYS)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError):
        harness.open(path, verify=True)


def test_every_path_is_verified(tmp_path):
    sound = put(tmp_path, "hdf5", ARRAYS).rename(tmp_path / "sound.h5")
    damaged = put(tmp_path, "hdf5", ARRAYS)
    harness.open(damaged, verify=True).close()
    data = bytearray(damaged.read_bytes())
    data[-9] ^= 1
    damaged.write_bytes(data)
    for paths in ((sound, damaged), (damaged, sound)):
        with pytest.raises(ArchiveError, match=str(damaged)):
            harness.open(*paths, verify=True)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ArchiveError, match=r"x\.npy"):
        harness.open(sound, tmp_path / "x.npy", verify=True)


def test_values_that_numpy_lacks_widen_exactly(monkeypatch):
    bits = np.array([[0x3F80, 0xC000], [0x7F80, 0x0001]], np.uint16)
    spec = tensor("outputs/x", bits.shape, "bfloat16")
    wide = np.array([[1, -2], [np.inf, 2.0**-133]], np.float32)
    assert_same(as_type(bits, spec, np.dtype("float32")), wide)
    assert_same(as_type(bits[:1, 0], spec, np.dtype("float64")), wide[:1, 0].astype(np.float64))
    assert as_type(np.array(0x3F80, np.uint16), spec, np.dtype("float32")).shape == ()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="as they are NumPy needs the package 'ml_dtypes': pip install 'ml_dtypes'"):
        numpy_type(spec)
    monkeypatch.undo()
    types = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = as_type(bits, spec, None)
    assert values.dtype == types.bfloat16 == numpy_type(spec) and values[0, 1] == -2
    assert_same(as_held(values, spec), bits)


@pytest.mark.parametrize(("call", "package"), [("to_xarray", "xarray"), ("to_dask", "dask")])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, call, package):
    with harness.open(put(tmp_path, "raw", ARRAYS)) as trace:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        says = rf"^{call}\(\) needs the package '{package}': pip install 'trace-format-harness\[{package}\]'\.$"
        with pytest.raises(UsageError, match=says):
            getattr(trace["pair/layer_0"], call)()


def test_a_tensor_is_a_dask_array_in_its_stored_chunks(archive):
    dask = pytest.importorskip("dask", reason="the extra 'dask' is not installed")
    with harness.open(archive) as trace:
        with dask.config.set(scheduler="threads"):
            for name, array in ARRAYS.items():
                found = trace[name].to_dask()
                assert_same(np.asarray(found.compute()), array)
            assert trace["pair/layer_0"].to_dask().name == trace["pair/layer_0"].to_dask().name
        assert trace["pair/layer_0"].to_dask(chunks=(3, 9, 4)).numblocks == (3, 1, 1)
        assert trace["pair/layer_0"].to_dask().numblocks == (1, 1, 1)


def test_the_package_loads_nothing_that_is_not_asked_for():
    code = (
        "import sys, harness\n"
        "assert {'open', 'create', 'compare_formats'} <= set(dir(harness)) & set(harness.__all__)\n"
        "heavy = {'numpy', 'pandas', 'zarr', 'h5py', 'msgspec', 'harness.api'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "harness.HarnessError, harness.open\n"
        "late = {'pandas', 'matplotlib', 'xarray', 'dask', 'harness.api.comparing'} & set(sys.modules)\n"
        "assert not late, late\n"
        "try:\n    harness.opn\nexcept AttributeError as error:\n    assert 'opn' in str(error)\n"
        "else:\n    raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("container", ["deflated.npz", "mapped", "theirs.h5"])
def test_files_of_other_programs_are_read_in_parts_too(tmp_path, container):
    path = tmp_path / container
    big = np.repeat(RNG.normal(size=(300, 40)), 100, axis=0)
    arrays = {"big": big, "attn": ARRAYS["pair/layer_0"].T.copy(), "one": np.array(3)}
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, chunks=(999, 7) if name == "big" else None)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / name, array)
    with harness.open(path, map={"big": "array:row,feature"}) as trace:
        assert set(trace) == set(arrays) and trace["big"].axes == ("row", "feature")
        assert trace["attn"].role == "attention"
        for key in (slice(None), (slice(29_990, 20, -5000), slice(3, 9, 2)), 28_000, slice(5, 5), (-1, -1), slice(3)):
            assert_same(np.asarray(trace["big"][key]), np.array(arrays["big"][key]))
        for name, array in arrays.items():
            assert_same(np.asarray(trace[name]), array)
        assert_same(np.array(list(trace["big"])), arrays["big"])
        again = pickle.loads(pickle.dumps(trace["big"]))
        assert_same(again[7], arrays["big"][7])
    with pytest.raises(UsageError, match="was closed"):
        trace["one"][()]
    with pytest.raises(UsageError, match="no array named 'atn'; did you mean 'attn'"):
        harness.open(path, map={"atn": "pair"})
    with pytest.raises(ArchiveError):
        harness.open(path, verify=True)
