"""Arrays that are assigned to names become an archive, complete or not at all."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import harness
from harness.cli import main
from harness.errors import UsageError
from harness.formats.archive import verify_archive
from tests.formats.samples import assert_same

RNG = np.random.default_rng(5)
PAIR = RNG.normal(size=(9, 9, 4)).astype(np.float32)


def test_tables_of_a_complex_and_interventions_are_in_the_manifest(tmp_path, capsys):
    patched = {"tensor": "pair/layer_0", "change": "zeroed", "run": "other.h5"}
    with harness.create(tmp_path / "mine.h5", provenance={"interventions": [patched]}) as out:
        out["inputs/chains/name"] = np.array([[65], [66]], np.uint8)
        out["inputs/tokens/chain"] = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1])
        out.write("pair/layer_0", PAIR, axes=("token", "token", "channel"))
    manifest = harness.open(tmp_path / "mine.h5").manifest
    assert [(chain.name, chain.stop) for chain in manifest.chains] == [("A", 3), ("B", 9)]
    assert manifest.provenance.interventions[0].change == "zeroed" and manifest.length == 9
    assert main(["inspect", str(tmp_path / "mine.h5")]) == 0
    said = capsys.readouterr().out
    assert "2 chains" in said and "3 to 8" in said and "patched while the model ran" in said


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".slim.zarr"])
def test_what_is_assigned_is_in_the_archive(tmp_path, suffix):
    with h5py.File(tmp_path / "theirs.h5", "w") as theirs:
        theirs["big"] = RNG.normal(size=(500, 3)).astype(">f8")
        metadata = {"model_name": "mine", "representation_names": ["pair"]}
        with harness.create(tmp_path / f"mine{suffix}", metadata, provenance={"trained": True}) as out:
            out["pair/layer_0"] = PAIR
            out["pair/layer_1"] = np.asfortranarray(PAIR)[:, ::-1]
            out["outputs/list"] = [[1, 2], [3, 4]]
            out["outputs/flag"] = True
            out["outputs/none"] = np.zeros((3, 0), np.int8)
            out["outputs/theirs"] = theirs["big"]
            out.write("outputs/named", PAIR[0], axes=("residue", "feature"), role="structure")
            for row in PAIR:
                out.append("outputs/rows", row[None], axes=("residue", "residue", "depth"))
        expected = theirs["big"][()].astype("<f8")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["theirs.h5", f"mine{suffix}"])
    assert not verify_archive(tmp_path / f"mine{suffix}")
    with harness.open(tmp_path / f"mine{suffix}") as trace:
        assert_same(trace["pair/layer_1"][...], np.ascontiguousarray(PAIR[:, ::-1]))
        assert trace["outputs/list"][...].tolist() == [[1, 2], [3, 4]] and trace["outputs/flag"][()]
        assert trace["outputs/none"].shape == (3, 0)
        assert_same(trace["outputs/theirs"][...], expected)
        assert_same(trace["outputs/rows"][...], PAIR)
        assert trace["outputs/rows"].axes == ("residue", "residue", "depth")
        assert (trace["outputs/named"].axes, trace["outputs/named"].role) == (("residue", "feature"), "structure")
        assert trace.metadata == {"model_name": "mine", "num_residues": 9, "representation_names": ("pair",)}
        assert trace.manifest.provenance.trained and trace.manifest == out.manifest
        with harness.create(tmp_path / "again.h5") as again:  # of another open trace, with its axes and roles
            for name, array in trace.items():
                again[name] = array
    assert again.manifest.tensors == out.manifest.tensors and again.manifest.digests == out.manifest.digests


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), harness.create(tmp_path / "a.h5") as out:
        out["pair/layer_0"] = PAIR
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


class Failing:
    """Gives a first block of rows and then fails, or gives fewer rows than it has."""

    shape, dtype = (6_000_000, 1), np.dtype("float32")

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __getitem__(self, key: slice) -> np.ndarray:
        if key.start and self.error:
            raise self.error
        return np.zeros((2, 1), np.float32)


class Unsupported:
    """A tensor of torch whose type NumPy lacks."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Got unsupported ScalarType BFloat16")


class OnDevice(Unsupported):
    """An array of CuPy, which has a dtype of NumPy and can be sliced."""

    shape, dtype = (2, 3), np.dtype("float32")

    def __getitem__(self, key: Any) -> OnDevice:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


def test_an_array_that_fails_can_be_given_again(tmp_path):
    with harness.create(tmp_path / "a.npz") as out:
        with pytest.raises(OSError, match="theirs"):
            out["outputs/x"] = Failing(OSError("theirs"))
        with pytest.raises(UsageError, match="outputs/x gave other values than its shape announced"):
            out["outputs/x"] = Failing(None)
        out["outputs/x"] = np.ones(3)
        with pytest.raises(OSError, match="theirs"):
            out.append("outputs/y", Failing(OSError("theirs")))
    with harness.open(tmp_path / "a.npz") as trace:
        assert list(trace) == ["outputs/x"] and trace["outputs/x"][...].tolist() == [1, 1, 1]


def test_a_disk_that_is_full_is_said_and_nothing_stays(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        said = r"^\S*a\.h5 could not be written: File too large\.$"
        with pytest.raises(harness.HarnessError, match=said), harness.create(tmp_path / "a.h5") as out:
            out["outputs/x"] = np.zeros(1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("taken.h5", {}, "exists already"),
        ("a.txt", {}, "does not say which format to write: .* or give format=..."),
        ("no/a.h5", {}, "does not exist; create it first"),
        ("a.h5", {"metadata": {"model": "x"}}, "no field of metadata named 'model'; did you mean 'model_name'"),
        ("a.h5", {"metadata": {"num_layers": "two"}}, r"metadata: at \$.num_layers expected"),
        ("a.h5", {"provenance": {"sauce": "x"}}, "did you mean 'source'"),
        ("a.h5", {"format": "hdf6"}, "did you mean 'hdf5'"),
        ("a.h5", {"profile": "tunde"}, "did you mean 'tuned'"),
    ],
)
def test_an_archive_that_cannot_be_is_refused_before_anything_is_written(tmp_path, name, given, says):
    (tmp_path / "taken.h5").write_text("mine")
    with pytest.raises(UsageError, match=says):
        harness.create(tmp_path / name, **given)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.h5"]


@pytest.mark.parametrize(
    ("path", "value", "given", "says"),
    [
        ("outputs/x", [1], {}, "outputs/x was written before"),
        ("outputs/y", np.ma.masked_equal([1, 2], 2), {}, "masked, and no format stores a mask"),
        ("outputs/y", ["a"], {}, "outputs/y: expected a dtype among"),
        ("outputs/y", [[1], [2, 3]], {}, r"outputs/y: NumPy makes no array of this list \(.*\)\. Give rows of one"),
        ("outputs/y", Unsupported(), {}, r"of this Unsupported \(Got unsupported .*BFloat16\)\. .*of torch\.$"),
        ("outputs/y", OnDevice(), {}, r"of this OnDevice \(Implicit conversion .* is not allowed\)"),
        ("outputs/../y", [1], {}, "expected names of letters"),
        (3, [1], {}, "must be a non-empty string, got 3"),
        (["outputs/y"], [1], {}, "must be a non-empty string"),
        ("pair/layer_0", [1], {}, "expected axes"),
        ("outputs/y", [1], {"role": "pairs"}, "no role named 'pairs'; did you mean 'pair'"),
        ("outputs/y", [1], {"axes": ("a", "b")}, "expected one axis name for each of 1 axes"),
    ],
)
def test_an_array_that_cannot_be_written_is_refused_in_a_sentence(tmp_path, path, value, given, says):
    with harness.create(tmp_path / "a.h5") as out:
        out["outputs/x"] = np.arange(3)
        with pytest.raises(harness.HarnessError, match=says):
            out.write(path, value, **given)
    with harness.open(tmp_path / "a.h5") as trace:
        assert list(trace) == ["outputs/x"]


def test_rows_of_another_kind_and_writing_outside_of_the_block_are_refused(tmp_path: Path) -> None:
    def both(first: Any, second: Any) -> None:
        with harness.create(tmp_path / "a.h5") as out:
            out.append("outputs/x", first)
            out.append("outputs/x", second)

    for first, second in (([[1, 2]], [[1, 2, 3]]), ([1], [1.5])):
        with pytest.raises(UsageError, match="outputs/x has rows of shape"):
            both(first, second)
    for first, second in (([1], 1), (1, [1]), (1, 1)):
        with pytest.raises(UsageError, match="outputs/x: rows are added along the first axis, and a number has none"):
            both(first, second)
    out = harness.create(tmp_path / "a.h5")
    with pytest.raises(UsageError, match="written in a with block"):
        out["outputs/x"] = [1]
    with pytest.raises(UsageError, match="Nothing was written"), out:
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / ".a.h5.arrays-999999999"
    left.mkdir()
    (left / "0").write_text("half")
    with harness.create(tmp_path / "a.h5") as out:
        out["outputs/x"] = [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("suffix", [".h5", ".slim.zarr"])
def test_values_that_numpy_lacks_are_kept_as_they_are(tmp_path, suffix):
    types = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    values = PAIR.astype(types.bfloat16)
    with harness.create(tmp_path / f"a{suffix}") as out:
        out["pair/layer_0"] = values
        out.append("outputs/x", values[0])
        out.append("outputs/x", values[1])
    with harness.open(tmp_path / f"a{suffix}") as trace:
        pair = trace["pair/layer_0"]
        assert pair.dtype == types.bfloat16 and pair.nbytes == PAIR.nbytes // 2 and "bfloat16 (9, 9, 4)" in repr(pair)
        assert_same(pair[2:4, -1], np.ascontiguousarray(values[2:4, -1]))
        assert_same(trace.array("outputs/x", dtype="float32")[...], values[:2].reshape(-1, 4).astype(np.float32))
