"""What is given as an array: no mask is dropped, no chunk is decoded twice, and no shape is made up."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import h5py
import numpy as np
import pytest

import harness
from harness.errors import UsageError
from harness.formats.selection import lengths

MASKED = np.ma.masked_equal(np.arange(6.0), 4)


class Masking:
    """A variable of netCDF4: an array that is not masked, whose slices are."""

    dtype = np.dtype("float64")

    def __init__(self, values: np.ma.MaskedArray) -> None:
        self.values, self.shape = values, values.shape

    def __getitem__(self, part: Any) -> np.ma.MaskedArray:
        return self.values[part]


def dask_of(values: np.ma.MaskedArray) -> Any:
    dask = pytest.importorskip("dask.array", reason="the extra 'dask' is not installed")
    return dask.ma.masked_equal(dask.from_array(values.data, 4), 4)


@pytest.mark.parametrize("made", [Masking, dask_of, lambda values: [values, values], lambda values: values[4]])
def test_masked_values_are_refused_whatever_they_come_in(tmp_path, made):
    array = made(MASKED)
    with harness.create(tmp_path / "a.h5") as out:
        out["outputs/x"] = [1]
        with pytest.raises(UsageError, match="outputs/y is masked, and no format stores a mask"):
            out["outputs/y"] = array
    with harness.open(tmp_path / "a.h5") as trace:
        assert list(trace) == ["outputs/x"]


def test_a_mask_without_masked_values_is_no_mask(tmp_path):
    values = np.ma.masked_equal(np.arange(6.0), 9)
    with harness.create(tmp_path / "a.h5") as out:
        out["outputs/x"] = Masking(values)
        out["outputs/y"] = [values, values]
    with harness.open(tmp_path / "a.h5") as trace:
        assert trace["outputs/x"][...].tolist() == trace["outputs/y"][1].tolist() == [0, 1, 2, 3, 4, 5]


class Chunked:
    """Counts how often each of its chunks is decoded."""

    dtype = np.dtype("float32")

    def __init__(self, shape: tuple[int, ...], chunks: tuple[Any, ...]) -> None:
        self.shape, self.chunks = shape, chunks
        self.edges = [max(one) if isinstance(one, tuple) else one for one in chunks]
        self.decoded: Counter[tuple[int, ...]] = Counter()

    def __getitem__(self, part: Any) -> np.ndarray:
        given = part if isinstance(part, tuple) else (part,)
        parts = (*given, *(slice(0, n) for n in self.shape[len(given) :]))
        numbers = [range(one.start // n, -(-one.stop // n)) for one, n in zip(parts, self.edges, strict=True)]
        self.decoded.update(product(*numbers))
        return np.zeros(lengths(parts), self.dtype)


@pytest.mark.parametrize(
    ("shape", "chunks", "count"),
    [
        ((16, 1000, 256), (16, 500, 256), 2),  # as h5py and Zarr name them
        ((16, 1000, 256), ((16,), (500, 500), (256,)), 2),  # as Dask does
        ((20, 1000, 256), ((16, 4), (1000,), (256,)), 2),
        ((0, 3), ((0,), (3,)), 0),
    ],
)
def test_each_chunk_is_decoded_once(tmp_path, shape, chunks, count):
    array = Chunked(shape, chunks)
    with harness.create(tmp_path / "a.npz") as out:
        out["outputs/x"] = array
    assert len(array.decoded) == array.decoded.total() == count


def test_an_array_without_a_known_shape_is_refused(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as theirs, harness.create(tmp_path / "a.h5") as out:
        theirs["null"] = h5py.Empty("f4")
        with pytest.raises(UsageError, match=r"outputs/x has the shape None, and each axis needs a length"):
            out["outputs/x"] = theirs["null"]
        out["outputs/y"] = [1]
        with pytest.raises(UsageError, match="null has the shape None"):
            harness.compare_formats({"null": theirs["null"]}, folder=tmp_path / "run")


def test_an_array_of_dask_without_a_known_shape_is_refused(tmp_path):
    dask = pytest.importorskip("dask.array", reason="the extra 'dask' is not installed")
    array = dask.from_array(np.arange(6.0), 4)
    array = array[array > 2]
    with harness.create(tmp_path / "a.h5") as out:
        with pytest.raises(UsageError, match=r"outputs/x has the shape \(nan,\), .*call compute_chunk_sizes\(\) first"):
            out["outputs/x"] = array
        out["outputs/x"] = array.compute_chunk_sizes()
    with harness.open(tmp_path / "a.h5") as trace:
        assert trace["outputs/x"][...].tolist() == [3, 4, 5]
