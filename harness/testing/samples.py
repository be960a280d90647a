"""Small traces with everything that a format could lose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.schema import DTYPES, TensorSpec, tensor
from harness.trace.stream import Trace, split

N = 45
"""Number of residues: no multiple of any chunk edge."""

Block = Callable[[np.ndarray], np.ndarray]


class StepTrace(Trace):
    """A trace that yields its tensors in blocks of a fixed number of rows.

    Parameters
    ----------
    arrays : mapping of TensorSpec to ndarray
        The tensors.
    rows : int, optional
        Rows in a block; by default as in `harness.trace.stream.split`.
    before : callable
        Called before each block with the path of its tensor and its number.
    given : callable
        Takes each block; returns the block to yield in its place.
    """

    def __init__(
        self,
        arrays: Mapping[TensorSpec, np.ndarray],
        rows: int | None = None,
        before: Callable[[str, int], None] = lambda path, block: None,
        given: Block = lambda block: block,
    ) -> None:
        self.label = "steps"
        self.manifest = manifest_of(arrays)
        self._arrays = {spec.path: array for spec, array in arrays.items()}
        self._rows, self._before, self._given = rows, before, given

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        array = self._arrays[path]
        blocks: Any = split(array)
        if self._rows and array.ndim:
            blocks = (array[k : k + self._rows] for k in range(0, len(array), self._rows))
        for number, block in enumerate(blocks):
            self._before(path, number)
            yield self._given(block)


def manifest_of(arrays: Mapping[TensorSpec, np.ndarray]) -> Manifest:
    """Return the manifest of a trace of these tensors."""
    provenance = Provenance(source="made for a test", seed=1, note='quotes " and \\ and é')
    return Manifest(tensors=tuple(arrays), provenance=provenance, metadata=Metadata(model_name="none", num_layers=2))


def steps(arrays: Mapping[str, np.ndarray], rows: int | None = None, **how: Any) -> StepTrace:
    """Return a trace of arrays, with the roles and axes that the schema has for their names."""
    return StepTrace({tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}, rows, **how)


def random_bits(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Draw an array in which every bit pattern of the dtype may occur, NaN payloads and subnormals included."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype).reshape(shape).copy()


def specials(dtype: str) -> np.ndarray:
    """Return the values of a float dtype that are lost most easily: signed zeros, infinities, NaNs with payload."""
    info, unsigned = np.finfo(dtype), np.dtype(f"u{np.dtype(dtype).itemsize}")
    plain = np.array([0.0, -0.0, np.inf, -np.inf, info.max, info.min, info.tiny, info.smallest_subnormal], dtype)
    infinity = int(np.array(np.inf, dtype).view(unsigned))
    sign, quiet = 1 << (unsigned.itemsize * 8 - 1), 1 << (info.nmant - 1)
    nans = [infinity | 1, infinity | quiet, infinity | quiet | 5, sign | infinity | quiet, sign | infinity | quiet >> 1]
    return np.concatenate([plain, np.array(nans, unsigned).view(dtype)])


def bfloat16_exact(array: np.ndarray) -> np.ndarray:
    """Return float32 values with the lower half of the bits cleared, which bfloat16 holds exactly."""
    return (np.asarray(array, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def sample_arrays(lacks: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Return tensors by path: one for every dtype except those in `lacks`, and one for every special case.

    All roles occur except attention_topk and array.
    """
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
    for dtype in (dtype for dtype in DTYPES if dtype not in lacks):
        arrays[f"activations/bits/{dtype}"] = random_bits(rng, (33, 3), dtype)
        if np.dtype(dtype).kind == "f":
            arrays[f"outputs/specials/{dtype}"] = specials(dtype)
        elif np.dtype(dtype).kind in "iu":
            info = np.iinfo(dtype)
            arrays[f"activations/ends/{dtype}"] = np.array([info.min, info.max, 0, 1], info.dtype)
    return arrays


def small_arrays(seed: int = 3) -> dict[str, np.ndarray]:
    """Return few and small tensors, with the same shapes for every seed."""
    rng = np.random.default_rng(seed)
    pair = bfloat16_exact(rng.normal(size=(12, 12, 4)))
    return {
        "pair/layer_0": pair,
        "activations/layer_0/pair_repr": pair.copy(),
        "attention/layer_0": rng.random((2, 12, 12)).astype(np.float32),
        "structure/ptm": np.array(rng.random(), np.float32),
        "outputs/labels": rng.integers(0, 9, 40),
    }
