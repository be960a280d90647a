"""Small traces that hold whatever a format could lose, and the comparison of arrays bit by bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.formats.archive import files_of, open_archive, verify_archive, write_archive
from harness.formats.base import PROFILES, Profile, UnsupportedProfile, load_format
from harness.formats.describing import ListsTensors
from harness.trace.schema import Manifest, Metadata, Provenance, TensorSpec, tensor
from harness.trace.stream import MemoryTrace, Trace, split

N = 45  # residues: no multiple of any chunk edge


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
CASES = [
    pytest.param(name, profile, marks=marks, id=f"{name}-{profile}") for name, marks in _rows() for profile in PROFILES
]
INSTALLED = [row.name for row in registry.listing("formats") if not row.missing]
WRITABLE = [
    pytest.param(name, profile, id=f"{name}-{profile}")
    for name in INSTALLED
    for profile in PROFILES
    if _supports(name, profile)
]


class StepTrace(Trace):
    """A trace that gives its tensors a fixed number of rows at a time, and calls `before` ahead of each block."""

    def __init__(
        self,
        arrays: Mapping[TensorSpec, np.ndarray],
        rows: int | None = None,
        before: Callable[[str, int], None] = lambda path, block: None,
    ) -> None:
        self.label = "steps"
        self.manifest = manifest_of(arrays)
        self._arrays = {spec.path: array for spec, array in arrays.items()}
        self._rows, self._before = rows, before

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        array = self._arrays[path]
        blocks: Any = split(array)
        if self._rows and array.ndim:
            blocks = (array[k : k + self._rows] for k in range(0, len(array), self._rows))
        for number, block in enumerate(blocks):
            self._before(path, number)
            yield block


def manifest_of(arrays: Mapping[TensorSpec, np.ndarray]) -> Manifest:
    provenance = Provenance(source="made for a test", seed=1, note='quotes " and \\ and é')
    return Manifest(tensors=tuple(arrays), provenance=provenance, metadata=Metadata(model_name="none", num_layers=2))


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


def random_bits(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Draw an array in which every bit pattern of the dtype may occur, NaN payloads and subnormals included."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    itemsize = np.dtype(dtype).itemsize
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(rng.bytes(count * itemsize), dtype).reshape(shape).copy()


def specials(dtype: str) -> np.ndarray:
    """List the values of a float dtype that are lost first: zeros with sign, infinities, NaNs with payload."""
    info, unsigned = np.finfo(dtype), np.dtype(f"u{np.dtype(dtype).itemsize}")
    plain = np.array([0.0, -0.0, np.inf, -np.inf, info.max, info.min, info.tiny, info.smallest_subnormal], dtype)
    infinity = int(np.array(np.inf, dtype).view(unsigned))
    sign, quiet = 1 << (unsigned.itemsize * 8 - 1), 1 << (info.nmant - 1)
    nans = [
        infinity | 1,
        infinity | quiet,
        infinity | quiet | 5,
        sign | infinity | quiet,
        sign | infinity | (quiet >> 1),
    ]
    return np.concatenate([plain, np.array(nans, unsigned).view(dtype)])


def bfloat16_exact(array: np.ndarray) -> np.ndarray:
    """Clear the lower half of every float32."""
    return (np.asarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def sample_arrays() -> dict[str, np.ndarray]:
    """Make one tensor for every dtype, role and special case, by path."""
    rng = np.random.default_rng(7)
    pair = bfloat16_exact(rng.normal(size=(N, N, 6)))
    single = bfloat16_exact(rng.normal(size=(N, 12)))
    odd = rng.normal(size=(N, N, 6)).astype(np.float32)
    odd.reshape(-1)[rng.permutation(odd.size)[: 13 * 20]] = np.tile(specials("float32"), 20)
    scores = np.exp(rng.normal(size=(4, N, N)) * 3)
    arrays: dict[str, np.ndarray] = {
        "inputs/sequence": rng.integers(0, 20, N).astype(np.int32),
        "inputs/msa": rng.integers(0, 22, (5, N)).astype(np.uint8),
        "activations/layer_0/single_repr": single,
        "activations/layer_0/pair_repr": pair,
        "attention/layer_0": (scores / scores.sum(-1, keepdims=True)).astype(np.float32),
        "attention/triangle_start/layer_0": np.zeros((4, N, N), np.float32),
        "single/layer_0": single.copy(),
        "pair/layer_0": pair.copy(),
        "recycle/step_0/pair_repr": odd,
        "structure/atom_positions": rng.normal(size=(N, 37, 3)),
        "structure/atom_mask": rng.integers(0, 2, (N, 37)).astype(bool),
        "structure/ptm": np.array(0.75, np.float32),
        "outputs/other_scalar": np.array(-0.0, np.float32),
        "outputs/count": np.array(2**40, np.int64),
        "outputs/coordinates": rng.normal(size=(N, 3)).astype(np.float16),
        "outputs/empty": np.zeros((0, 7), np.float32),
        "outputs/hollow": np.zeros((3, 0, 2), np.int16),
        "outputs/negative_zero": np.full((9, 5), -0.0, np.float32),
        "outputs/negative_zero_wide": np.full((9, 5), -0.0, np.float64),
    }
    for dtype in ("float16", "float32", "float64"):
        arrays[f"outputs/specials/{dtype}"] = specials(dtype)
    for sign in ("", "u"):
        for width in (8, 16, 32, 64):
            arrays[f"activations/bits/{sign}int{width}"] = random_bits(rng, (33, 3), f"{sign}int{width}")
            info = np.iinfo(f"{sign}int{width}")
            arrays[f"activations/ends/{sign}int{width}"] = np.array([info.min, info.max, 0, 1], info.dtype)
    return arrays


def small_arrays() -> dict[str, np.ndarray]:
    """Make few and small tensors, for tests that write or read many times."""
    rng = np.random.default_rng(3)
    pair = bfloat16_exact(rng.normal(size=(12, 12, 4)))
    return {
        "pair/layer_0": pair,
        "activations/layer_0/pair_repr": pair.copy(),
        "attention/layer_0": rng.random((2, 12, 12)).astype(np.float32),
        "structure/ptm": np.array(0.5, np.float32),
        "outputs/labels": rng.integers(0, 9, 40),
    }


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


def contents(path: Path) -> dict[str, bytes]:
    """Read every file of an archive, by its name within."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files_of(path)}
