"""The declared lossy mode: what it drops, how that comes back, and rounding within a bound with its measured error."""

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
"""What no score or structure is read from, and how it comes back. `bin_edges` and all that is short stays."""

ROUNDED = ("predicted_aligned_error", "pae", "pde")
"""What a bound in Angstrom applies to; plddt, ptm and structures are never touched."""


@dataclass(frozen=True)
class Reduced:
    """A file with precision given up."""

    data: bytes  # The reduced file; as long as the original for a pickle, with zeros for what was dropped.
    arrays: tuple[TouchedArray, ...] = ()  # For each array touched, what became of it.
    dropped: tuple[tuple[str, ...], ...] = ()  # The keys of what was dropped.
    # Where arrays that are multiples of a step now start in `data`, and the step.
    steps: dict[int, float] = field(default_factory=dict)


def step_within(bound: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that rounding to its multiples errs by at most a bound."""
    power = 10.0 ** math.floor(math.log10(2 * bound) + 1e-12)
    digit = max(digit for digit in (1, 2, 5) if digit * power <= 2 * bound * (1 + 1e-12) or digit == 1)
    # Written and read back, so that 0.1 is the float that everyone means by it.
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
        The same pickle with other bytes in its arrays.
    """
    places: dict[bytes, list[int]] = {}
    for start, length in pickles.payloads(data):
        places.setdefault(data[start : start + length], []).append(start)
    content = pickles.load(data)
    found = [(path, leaf) for path, leaf in pickles.leaves(content) if isinstance(leaf.raw, bytes)]
    # Equal bytes cannot be distinguished in the file: what is kept anywhere is kept everywhere, what is rounded stays.
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
    """Say whether an array is reached by the keys of dictionaries alone, and so can be taken out of them."""
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return bool(path)


def _round(leaf: pickles.ArrayLeaf, bound: float) -> tuple[bytes, float, float] | None:
    values = np.frombuffer(leaf.raw, leaf.dtype)
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    # A float32 cannot hold every multiple: where its own rounding breaks the bound the next finer step is taken.
    for step in (step_within(bound), step_within(0.9 * bound)):
        rounded = (np.rint(values.astype(np.float64) / step) * step).astype(values.dtype)
        error = float(np.abs(rounded.astype(np.float64) - values.astype(np.float64)).max(initial=0.0))
        if 0 < error <= bound:
            return rounded.tobytes(), step, error
    return None


def reduce_json(data: bytes, bound: float) -> Reduced:
    """Round the errors in a JSON of confidences; its parameters and result are those of `reduce_pickle`."""
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
    # Written as floats, numbers get longer, but never by more than this.
    made = json_numbers.join(skeleton, tokens, 32 * len(data)) if arrays else data
    return Reduced(made, tuple(arrays))
