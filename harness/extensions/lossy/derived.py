"""Tensors that follow bit for bit from another one of the same trace, and the rules that give them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from harness.trace.schema import TensorSpec

_ALPHA_CARBON = 1  # in AlphaFold's order of 37 atom types: N, CA, C, ...


class Rule(NamedTuple):
    """How one tensor follows from another, where it does: that is checked for every trace.

    Attributes
    ----------
    name : str
        Recorded beside the data.
    path, source : str
        The tensor, and the one it follows from.
    how : str
        In the words and symbols of numpy.
    compute : callable
        Takes the source; returns the tensor but for its dtype. Not called for a source that `fits` refuses.
    fits : callable
        Says of the source's shape whether the rule may apply.
    """

    name: str
    path: str
    source: str
    how: str
    compute: Callable[[np.ndarray], np.ndarray]
    fits: Callable[[tuple[int, ...]], bool]


def _all_atoms(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[1] == 37


_POSITIONS = "structure/atom_positions"
RULES = (
    Rule(
        "alpha_carbons", "outputs/coordinates", _POSITIONS,
        "structure/atom_positions[:, 1], the alpha carbon of each residue",
        lambda positions: positions[:, _ALPHA_CARBON], _all_atoms,
    ),
    Rule(
        "atoms_present", "structure/atom_mask", _POSITIONS,
        "(structure/atom_positions != 0).any(axis=-1), as absent atoms are at the origin",
        lambda positions: (positions != 0).any(axis=-1), _all_atoms,
    ),
    Rule(
        "largest_logit", "outputs/predictions", "outputs/logits",
        "outputs/logits.argmax(axis=-1), the first of equal ones",
        lambda logits: logits.argmax(axis=-1), lambda shape: len(shape) == 2 and shape[1] > 0,
    ),
)  # fmt: skip


def rule_for(path: str, name: str) -> Rule | None:
    """Return the rule of this name that gives a tensor; None where there is none."""
    return next((rule for rule in RULES if (rule.path, rule.name) == (path, name)), None)


def recompute(rule: Rule, source: np.ndarray, spec: TensorSpec) -> np.ndarray | None:
    """Make a tensor of a shape and dtype from the one it follows from; None where the rule does not apply to that."""
    if not rule.fits(source.shape):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        made = rule.compute(source).astype(spec.dtype)
    return np.ascontiguousarray(made) if made.shape == spec.shape else None
