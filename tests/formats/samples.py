"""The formats that tests are run on, archives of them, and the comparison of arrays bit by bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from harness import registry
from harness.formats.archive import open_archive, verify_archive, write_archive
from harness.formats.base import PROFILES, Profile, UnsupportedProfile, load_format
from harness.formats.describing import ListsTensors
from harness.formats.recovered import RecoverableFormat
from harness.formats.selection import Selection
from harness.testing.samples import manifest_of
from harness.trace.schema import tensor
from harness.trace.stream import MemoryTrace


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> Selection:
    """Draw one slice for each axis, empty ones among them."""
    parts = []
    for length in shape:
        start = draw(st.integers(0, length))
        parts.append(slice(start, draw(st.integers(start, length))))
    return tuple(parts)


def _rows() -> list[tuple[str, Any]]:
    """List every registered format, marked to be skipped where its library is not installed."""
    listed = registry.listing("formats")
    return [(row.name, [pytest.mark.skipif(bool(row.missing), reason=f"{row.name} {row.missing}")]) for row in listed]


def _supports(name: str, profile: Profile) -> bool:
    try:
        load_format(name).layout(tensor("structure/ptm", ()), profile)
    except UnsupportedProfile:
        return False
    return True


BACKENDS = [pytest.param(name, marks=marks, id=name) for name, marks in _rows()]
INSTALLED = [row.name for row in registry.listing("formats") if not row.missing]
LACKING = {dtype for name in INSTALLED for dtype in load_format(name).lacks}
WRITABLE = [
    pytest.param(name, profile, id=f"{name}-{profile}")
    for name in INSTALLED
    for profile in PROFILES
    if _supports(name, profile)
]


def _keeps(name: str) -> bool:
    """Say whether what was whole of an unfinished archive can be read; of what is not installed it is not known."""
    return name not in INSTALLED or isinstance(load_format(name), RecoverableFormat)


KEEPING = [param for param in BACKENDS if _keeps(str(param.values[0]))]
KEEPING_WRITABLE = [param for param in WRITABLE if _keeps(str(param.values[0]))]


def trace_of(arrays: Mapping[str, np.ndarray]) -> MemoryTrace:
    """Make a trace of arrays under names for which the schema knows role and axes."""
    specs = {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}
    return MemoryTrace("memory", manifest_of(specs), arrays)


def slim_place(path: Path, name: str) -> tuple[str, int | None]:
    """Look up, as the attributes of slimmed Zarr tell any reader to, the array of a tensor and its index in that."""
    root = json.loads((path / "zarr.json").read_text())["attributes"]["trace_format_harness"]
    array, index = root["slim"]["places"].get(name, (name, None))
    return array, index


def slim_shard(path: Path, name: str) -> Path:
    """Return the only file of values of the array that holds a tensor."""
    (file,) = (path / slim_place(path, name)[0]).glob("c*")
    return file


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare dtype, shape and every bit."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()


def assert_holds(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Check that an archive holds exactly these tensors, bit for bit."""
    with open_archive(path) as (_, reader, manifest):
        assert [spec.path for spec in manifest.tensors] == list(arrays)
        assert not isinstance(reader, ListsTensors) or set(reader.stored()) == set(arrays)
        for name, array in arrays.items():
            assert_same(reader.read(name), array)


def assert_found(path: Path, what: object) -> None:
    """Check that verifying says what is wrong, one sentence for each problem."""
    problems = verify_archive(path)
    assert problems, f"not found: {what}"
    for problem in problems:
        assert str(path) in problem
        assert "\n" not in problem


def put(folder: Path, name: str, arrays: Mapping[str, np.ndarray], profile: Profile = "tuned") -> Path:
    """Write arrays in a format and return the archive."""
    backend = load_format(name)
    path = folder / f"archive{backend.suffix}"
    write_archive(trace_of(arrays), backend, path, profile)
    return path
