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

from harness.formats.archive import archive_size, detect, open_archive, verify_archive, write_archive
from harness.formats.base import Profile, Selection, UnsupportedProfile, load_format
from harness.formats.describing import ListsTensors, Stored
from harness.trace.schema import DTYPES, Role, tensor
from harness.trace.stream import digest
from tests.formats.samples import (
    BACKENDS,
    CASES,
    INSTALLED,
    WRITABLE,
    StepTrace,
    assert_holds,
    assert_same,
    bfloat16_exact,
    contents,
    put,
    random_bits,
    specials,
    trace_of,
)

Arrays = Mapping[str, np.ndarray]
Write = Callable[[str, Profile], Path]


@pytest.fixture(scope="module")
def write(sample: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write the sample once for each format and profile."""
    done: dict[tuple[str, Profile], Path] = {}

    def once(name: str, profile: Profile) -> Path:
        if (name, profile) not in done:
            done[name, profile] = put(tmp_path_factory.mktemp(name), name, sample, profile)
        return done[name, profile]

    return once


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> Selection:
    parts = []
    for length in shape:
        start = draw(st.integers(0, length))
        parts.append(slice(start, draw(st.integers(start, length))))
    return tuple(parts)


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_a_profile_is_written_or_refused_with_a_reason(
    name: str, profile: Profile, sample: Arrays, tmp_path: Path
) -> None:
    backend = load_format(name)
    destination = tmp_path / f"archive{backend.suffix}"
    if (name, profile) in {("npz", "matched"), ("safetensors", "matched")}:
        with pytest.raises(UnsupportedProfile, match=f"{name} has neither chunks nor"):
            write_archive(trace_of(sample), backend, destination, profile)
        assert list(tmp_path.iterdir()) == []
    else:
        write_archive(trace_of(sample), backend, destination, profile)
        assert list(tmp_path.iterdir()) == [destination]


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_whole_tensors_come_back_bit_for_bit(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    path = write(name, profile)
    assert detect(path).name == name
    assert_holds(path, sample)
    assert verify_archive(path) == []


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_the_container_lists_what_was_written(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    with open_archive(write(name, profile)) as (backend, reader, manifest):
        assert backend.name == name
        if isinstance(reader, ListsTensors):
            listed = {path: Stored(array.shape, array.dtype.name) for path, array in sample.items()}
            assert reader.stored() == listed
        assert dict(manifest.digests) == {path: digest(array) for path, array in sample.items()}
        assert manifest.provenance == trace_of(sample).manifest.provenance
        assert manifest.metadata == trace_of(sample).manifest.metadata
        assert manifest.tensors == trace_of(sample).manifest.tensors


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_parts_come_back_bit_for_bit(
    name: str, profile: Profile, write: Write, sample: Arrays, data: st.DataObject
) -> None:
    with open_archive(write(name, profile)) as (_, reader, _):
        for path in data.draw(st.lists(st.sampled_from(list(sample)), min_size=2, max_size=4)):
            selection = data.draw(selections(sample[path].shape))
            assert_same(reader.read(path, selection), sample[path][selection])


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_what_was_read_is_its_own_memory(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    selection = (slice(3, 30), slice(0, 45), slice(1, 4))
    with open_archive(write(name, profile)) as (_, reader, _):
        whole, part = reader.read("pair/layer_0"), reader.read("pair/layer_0", selection)
        owner = part if part.base is None else part.base
    assert_same(whole, sample["pair/layer_0"])  # still there when the archive is closed
    assert_same(part, sample["pair/layer_0"][selection])
    assert memoryview(owner).nbytes < whole.nbytes  # a window does not keep the whole tensor alive


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_the_size_is_that_of_all_files(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    path = write(name, profile)
    files = [file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    assert archive_size(path) == (sum(file.stat().st_size for file in files), len(files))
    if name in {"raw", "safetensors"}:
        assert archive_size(path)[0] > sum(array.nbytes for array in sample.values())


@pytest.mark.parametrize(("name", "profile"), WRITABLE)
@pytest.mark.parametrize("rows", [1, 7])
def test_blocks_of_odd_sizes_give_the_same_archive(
    name: str, profile: Profile, rows: int, small: Arrays, tmp_path: Path
) -> None:
    backend = load_format(name)
    arrays = {**small, "single/layer_0": np.random.default_rng(0).random((12, 5)).astype(np.float32)}
    arrays = {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}
    whole, odd = tmp_path / "whole", tmp_path / "odd"
    write_archive(StepTrace(arrays), backend, whole, profile)
    write_archive(StepTrace(arrays, rows=rows), backend, odd, profile)
    assert_holds(odd, {spec.path: array for spec, array in arrays.items()})
    if name != "hdf5":  # HDF5 allocates chunks in the order in which they are first touched
        assert contents(odd) == contents(whole)


def test_the_same_trace_gives_the_same_bytes(sample: Arrays, tmp_path: Path) -> None:
    for folder, pause in (("first", 1.1), ("second", 0)):
        for name in INSTALLED:
            (tmp_path / folder / name).mkdir(parents=True)
            put(tmp_path / folder / name, name, sample)
        time.sleep(pause)  # so that a date of one second's resolution would differ
    for name in INSTALLED:
        first, second = (next((tmp_path / folder / name).iterdir()) for folder in ("first", "second"))
        assert contents(first) == contents(second), name


@st.composite
def tensors(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(DTYPES))
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
    profile = data.draw(st.sampled_from(["tuned"] if name in {"npz", "safetensors"} else ["seed", "tuned", "matched"]))
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
