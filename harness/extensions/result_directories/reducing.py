"""The declared lossy mode: dropped arrays, how to recompute them, and rounding within a bound with measured error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.extensions.result_directories import json_numbers
from harness.extensions.result_directories.manifest import TouchedArray
from harness.foreign import pickles

_RUN_AGAIN = "run AlphaFold2 again: the model in the file's name, the same features.pkl and random seed"

DROPPED: dict[str, str] = {
    "distogram": _RUN_AGAIN,
    "masked_msa": _RUN_AGAIN,
    "representations": _RUN_AGAIN,
    "aligned_confidence_probs": _RUN_AGAIN
    + "; the expected error of these probabilities, predicted_aligned_error, stays",
}
"""Arrays from which no score or structure is read, and how to recompute them. `bin_edges` and all short arrays stay."""

ROUNDED = ("predicted_aligned_error", "pae", "pde")
"""Arrays to which a bound in Angstrom applies; plddt, ptm and structures are never changed."""


@dataclass(frozen=True)
class Reduced:
    """A file with precision given up."""

    data: bytes  # The reduced file; a pickle keeps its length, with zeros for dropped arrays.
    arrays: tuple[TouchedArray, ...] = ()  # Record of each changed array.
    dropped: tuple[tuple[str, ...], ...] = ()  # The keys of dropped arrays.
    # For arrays that are now multiples of a step: the step by the array's start in `data`.
    steps: dict[int, float] = field(default_factory=dict)


def step_within(bound: float) -> float:
    """Return the largest step, 1, 2 or 5 times a power of ten, such that rounding to its multiples meets a bound."""
    power = 10.0 ** math.floor(math.log10(2 * bound) + 1e-12)
    digit = max(digit for digit in (1, 2, 5) if digit * power <= 2 * bound * (1 + 1e-12) or digit == 1)
    # Formatted and parsed, so that 0.1 is the float that the literal 0.1 gives.
    return float(f"{digit * power:.12g}")


def reduce_pickle(data: bytes, bound: float) -> Reduced:
    """Drop and round arrays of an AF2 result.

    Parameters
    ----------
    data : bytes
        The pickle.
    bound : float
        The largest error of a rounded value, in Angstrom.

    Returns
    -------
    Reduced
        The pickle with other bytes in its arrays.
    """
    places: dict[bytes, list[int]] = {}
    for start, length in pickles.payloads(data):
        places.setdefault(data[start : start + length], []).append(start)
    content = pickles.load(data)
    found = [(path, leaf) for path, leaf in pickles.leaves(content) if isinstance(leaf.raw, bytes)]
    # Arrays of equal bytes cannot be distinguished in the file: bytes kept once are kept everywhere, and bytes of
    # arrays to round are never dropped.
    kept = {leaf.raw for path, leaf in found if not _named(content, path) or path[0] not in (*DROPPED, *ROUNDED)}
    spared = {leaf.raw for path, leaf in found if path and path[0] in ROUNDED}
    made, dropped, steps = bytearray(data), [], {}
    arrays: list[TouchedArray] = []
    for path, leaf in found:
        if leaf.raw in kept or leaf.raw not in places or (path[0] in DROPPED and leaf.raw in spared):
            continue
        shape = list(leaf.shape)
        facts: TouchedArray = {"path": "/".join(path), "fate": "rounded", "dtype": leaf.dtype.str, "shape": shape}
        if path[0] in DROPPED:
            new = bytes(len(leaf.raw))
            dropped.append(path)
            arrays.append({**facts, "fate": "dropped", "recompute": DROPPED[path[0]]})
        else:
            rounded = _round(leaf, bound)
            if rounded is None:
                continue
            new, step, error = rounded
            steps.update(dict.fromkeys(places[leaf.raw], step))
            arrays.append({**facts, "step": step, "bound": bound, "largest_error": error})
        for start in places[leaf.raw]:
            made[start : start + len(new)] = new
    return Reduced(bytes(made), tuple(arrays), tuple(dropped), steps)


def _named(content: Any, path: tuple[str, ...]) -> bool:
    """Return whether only keys of dictionaries lead to an array, so that it can be removed from them."""
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return bool(path)


def _round(leaf: pickles.ArrayLeaf, bound: float) -> tuple[bytes, float, float] | None:
    values = np.frombuffer(leaf.raw, leaf.dtype)
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    # A float32 cannot hold every multiple: if its own rounding exceeds the bound, the next finer step is used.
    for step in (step_within(bound), step_within(0.9 * bound)):
        rounded = (np.rint(values.astype(np.float64) / step) * step).astype(values.dtype)
        error = float(np.abs(rounded.astype(np.float64) - values.astype(np.float64)).max(initial=0.0))
        if 0 < error <= bound:
            return rounded.tobytes(), step, error
    return None


def reduce_json(data: bytes, bound: float) -> Reduced:
    """Round the predicted errors in a JSON of confidences; parameters and result are as for `reduce_pickle`."""
    skeleton, streams = json_numbers.split(data)
    step = step_within(bound)
    decimals = max(0, -math.floor(math.log10(step) + 1e-12))
    tokens: list[list[bytes]] = []
    arrays: list[TouchedArray] = []
    for stream in streams:
        tokens.append(stream.tokens)
        values = np.array(stream.tokens, dtype="S").astype(np.float64)
        if stream.key not in ROUNDED or not np.isfinite(values).all():
            continue
        rounded = np.round(np.rint(values / step) * step, decimals) + 0.0
        error = float(np.abs(rounded - values).max(initial=0.0))
        if 0 < error <= bound * (1 + 1e-12):
            tokens[-1] = [repr(value).encode() for value in rounded.tolist()]
            facts: TouchedArray = {"path": stream.key, "fate": "rounded", "dtype": "json", "shape": [len(values)]}
            arrays.append({**facts, "step": step, "bound": bound, "largest_error": error})
    # Numbers written as floats get longer, but never by more than this factor.
    made = json_numbers.join(skeleton, tokens, 32 * len(data)) if arrays else data
    return Reduced(made, tuple(arrays))
