"""Tensors that follow bit for bit from another one of the same trace, and the rules that give them back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.trace.schema import TensorSpec

_ALPHA_CARBON = 1  # in AlphaFold's order of 37 atom types: N, CA, C, ...


@dataclass(frozen=True, kw_only=True)
class Rule:
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


RULES = (
    Rule(
        name="alpha_carbons",
        path="outputs/coordinates",
        source="structure/atom_positions",
        how="structure/atom_positions[:, 1], the alpha carbon of each residue",
        compute=lambda positions: positions[:, _ALPHA_CARBON],
        fits=_all_atoms,
    ),
    Rule(
        name="atoms_present",
        path="structure/atom_mask",
        source="structure/atom_positions",
        how="(structure/atom_positions != 0).any(axis=-1), as absent atoms are at the origin",
        compute=lambda positions: (positions != 0).any(axis=-1),
        fits=_all_atoms,
    ),
    Rule(
        name="largest_logit",
        path="outputs/predictions",
        source="outputs/logits",
        how="outputs/logits.argmax(axis=-1), the first of equal ones",
        compute=lambda logits: logits.argmax(axis=-1),
        fits=lambda shape: len(shape) == 2 and shape[1] > 0,
    ),
)


def rule_for(path: str, name: str | None = None) -> Rule | None:
    """Return the rule that may give a tensor, of this name if one is given; None where there is none."""
    return next((rule for rule in RULES if rule.path == path and name in (None, rule.name)), None)


def recompute(rule: Rule, source: np.ndarray, spec: TensorSpec) -> np.ndarray | None:
    """Make a tensor from the one it follows from.

    Parameters
    ----------
    rule : Rule
        How.
    source : ndarray
        The tensor that the rule names as its source.
    spec : TensorSpec
        What is to be made.

    Returns
    -------
    ndarray or None
        Of the shape and dtype of `spec`; None where the rule does not apply to a source of this shape.
    """
    if not rule.fits(source.shape):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        made = rule.compute(source).astype(spec.dtype)
    return np.ascontiguousarray(made) if made.shape == spec.shape else None
