"""Every format gives back every bit, whole and in parts, in every profile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.formats.archive import open_archive, verify_archive, write_archive
from harness.formats.base import Profile, load_format
from harness.testing.comparing import contents
from harness.testing.samples import StepTrace, bfloat16_exact, random_bits, specials
from harness.trace.schema import DTYPES, Role, tensor
from tests.formats.samples import BACKENDS, INSTALLED, LACKING, WRITABLE, assert_holds, assert_same, put, selections

Arrays = Mapping[str, np.ndarray]
Write = Callable[[str, Profile], Path]


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_blocks_of_odd_sizes_give_the_same_archive(name: str, profile: Profile, small: Arrays, tmp_path: Path) -> None:
    backend = load_format(name)
    arrays = {**small, "single/layer_0": np.random.default_rng(0).random((12, 5)).astype(np.float32)}
    arrays = {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}
    whole, odd = tmp_path / "whole", tmp_path / "odd"
    write_archive(StepTrace(arrays), backend, whole, profile)
    write_archive(StepTrace(arrays, rows=1), backend, odd, profile)
    assert_holds(odd, {spec.path: array for spec, array in arrays.items()})
    # HDF5 allocates chunks in the order in which they are first touched.
    if name != "hdf5" and backend.reproducible:
        assert contents(odd) == contents(whole)


@pytest.mark.slow
def test_the_same_trace_gives_the_same_bytes(sample: Arrays, tmp_path: Path) -> None:
    for folder, pause in (("first", 1.1), ("second", 0)):
        for name in INSTALLED:
            (tmp_path / folder / name).mkdir(parents=True)
            put(tmp_path / folder / name, name, sample)
        time.sleep(pause)  # so that a date of one second's resolution would differ
    for name in (name for name in INSTALLED if load_format(name).reproducible):
        first, second = (next((tmp_path / folder / name).iterdir()) for folder in ("first", "second"))
        assert contents(first) == contents(second), name


@st.composite
def tensors(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype not in LACKING]))
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 33]), max_size=4)))
    while np.prod(shape, dtype=np.int64) > 6000:
        shape = shape[1:]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["bits", "zeros", "few", "special", "bfloat16", "widening"]))
    array = random_bits(rng, shape, dtype)
    if kind == "zeros":
        array[...] = 0
    elif kind == "few":
        array[...] = rng.integers(0, 2, shape)
    elif np.dtype(dtype).kind == "f" and kind == "special":
        array[...] = rng.choice(specials(dtype), shape)
    elif dtype == "float32" and kind == "bfloat16":
        array = bfloat16_exact(array)
    elif kind == "widening" and array.ndim and len(array):
        keep = array[-1].copy()
        array[...] = rng.integers(0, 2, shape)
        array[-1] = keep
    return array


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_any_tensor_comes_back(name: str, data: st.DataObject) -> None:
    backend = load_format(name)
    profile = data.draw(
        st.sampled_from(["tuned"] if name in {"npz", "npz-slim", "safetensors"} else ["seed", "tuned", "matched"])
    )
    role = data.draw(st.sampled_from([Role.ACTIVATION, Role.ATTENTION, Role.SINGLE, Role.PAIR]))
    first = data.draw(tensors())
    changed = first.copy()
    if changed.size:  # equal but for one value, anywhere
        changed.reshape(-1)[data.draw(st.integers(0, changed.size - 1))] = 1
    arrays = {
        tensor(f"activations/{k}", array.shape, array.dtype, role=role): array
        for k, array in enumerate([first, changed, first.copy(), data.draw(tensors())])
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"archive{backend.suffix}"
        write_archive(StepTrace(arrays, rows=data.draw(st.sampled_from([None, 1, 4]))), backend, path, profile)
        assert_holds(path, {spec.path: array for spec, array in arrays.items()})
        assert verify_archive(path) == []
        with open_archive(path) as (_, reader, _):
            for spec, array in arrays.items():
                selection = data.draw(selections(spec.shape))
                assert_same(reader.read(spec.path, selection), array[selection])
