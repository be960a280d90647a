"""Traces reduced by declared loss: any format can store them, and every format then stores the same bits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from harness.errors import UsageError
from harness.extensions.lossy.request import Request
from harness.extensions.lossy.rounding import NO_GRID, put_on_grids, round_significands, significand_bits
from harness.trace.loss import KEPT, Dropped, Loss, Rounded
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import Trace, digest, digest_blocks, read_whole, shown_label

_ALPHA_CARBON = 1  # in AlphaFold's order of 37 atom types: N, CA, C, ...


class Rule(NamedTuple):
    """Rule by which one tensor may follow from another; every trace is checked for whether it does."""

    name: str  # Recorded with the data.
    # The tensor, and the tensor from which it follows.
    path: str
    source: str
    how: str  # In numpy notation.
    # Returns the tensor from the source, before conversion to its dtype. Only called if `fits` accepts the source.
    compute: Callable[[np.ndarray], np.ndarray]
    fits: Callable[[tuple[int, ...]], bool]  # Returns whether the rule may apply to a source of this shape.


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
    """Return the rule with this name for a tensor; None if there is none."""
    return next((rule for rule in RULES if (rule.path, rule.name) == (path, name)), None)


def recompute(rule: Rule, source: np.ndarray, spec: TensorSpec) -> np.ndarray | None:
    """Compute a tensor from the source that its rule names.

    Parameters
    ----------
    rule : Rule
        The rule.
    source : ndarray
        The tensor that the rule names as its source.
    spec : TensorSpec
        The tensor to compute.

    Returns
    -------
    ndarray or None
        With the shape and dtype of `spec`; None if the rule does not apply to a source of this shape or gives another
        shape.
    """
    if not rule.fits(source.shape):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        made = rule.compute(source).astype(spec.dtype)
    return np.ascontiguousarray(made) if made.shape == spec.shape else None


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return for each value whether its bits changed."""
    bits = f"V{before.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(before).view(bits) != np.ascontiguousarray(after).view(bits))


class Errors:
    """Accumulated errors of one tensor: the number of changed values, and the largest errors.

    Parameters
    ----------
    rows : bool
        Whether row sums are preserved, as for attention, so that their errors are recorded too.
    """

    def __init__(self, rows: bool) -> None:
        self._rows = rows
        self.changed = 0
        self.absolute = self.relative = self.sums = 0.0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Add the next block of values."""
        before, after = np.atleast_1d(before, after)
        changed = moved(before, after)
        if not changed.any():
            return
        was, now = before[changed].astype(np.float64), after[changed].astype(np.float64)
        error = np.abs(now - was)
        self.changed += error.size
        self.absolute = max(self.absolute, float(error.max()))
        self.relative = max(self.relative, float((error / np.abs(was)).max()))  # zeros never change
        if self._rows:
            rows = changed.any(axis=-1)
            was, now = (values[rows].sum(axis=-1, dtype=np.float64) for values in (before, after))
            self.sums = max(self.sums, float(np.abs(now - was).max()))


class MinimalTrace(Trace):
    """A trace with values rounded within bounds, without tensors that can be recomputed or that the user names.

    Every writer needs the complete record of loss in the manifest. So the constructor streams every tensor to be
    rounded once, to measure its errors; writing the trace streams them again.

    Parameters
    ----------
    trace : Trace
        The source, which must not be lossy.
    request : Request
        The bounds, and the tensors to drop.

    Raises
    ------
    UsageError
        If the source is already lossy, or a bound or a name to drop applies to none of its tensors.
    """

    def __init__(self, trace: Trace, request: Request) -> None:
        source = trace.manifest
        if source.loss is not None:
            raise UsageError(f"{trace.label} is lossy already and errors would add up; convert what it was made from.")
        self._trace, self._request = trace, request
        named = request.named(source)
        kept = {spec.path: spec for spec in source.tensors if spec.path not in named}
        for role in request.bounds:
            if not any(spec.role is role and self._rounds(spec) for spec in kept.values()):
                raise UsageError(
                    f"{trace.label} holds no {role.value} tensor to round; leave out --bound {role.value}."
                )
        dropped = [self._drop(source[spec.path], named[spec.path]) for spec in source.tensors if spec.path in named]
        dropped += [row for rule in RULES if (row := self._derived(rule, kept)) is not None]
        gone = {row.path for row in dropped}
        tensors = tuple(spec for spec in source.tensors if spec.path not in gone)
        loss = Loss(
            bounds={role.value: bound for role, bound in request.bounds.items()},
            top_k=request.top_k if Role.ATTENTION in request.bounds else None,
            rounded=tuple(self._survey(spec) for spec in tensors if self._rounds(spec)),
            dropped=tuple(dropped),
        )
        note = ". ".join(filter(None, ((source.provenance.note or "").rstrip("."), loss.summary())))
        # After rounding, it is unknown whether values come from bfloat16.
        provenance = dataclasses.replace(source.provenance, bf16_born=None, note=note)
        self.manifest = dataclasses.replace(source, tensors=tensors, provenance=provenance, digests={}, loss=loss)
        self.label = shown_label(trace.label.removesuffix(shown_label("", source)), self.manifest)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        spec = self.manifest[path]
        for block in self._trace.blocks(path):
            yield self._round(spec, block)[0] if self._rounds(spec) else block

    def _rounds(self, spec: TensorSpec) -> bool:
        """Return whether a bound applies: to floats of its role, and to attention only with at least two axes."""
        rows = spec.role is not Role.ATTENTION or len(spec.shape) > 1
        return spec.role in self._request.bounds and spec.dtype.startswith("float") and rows

    def _bits(self, spec: TensorSpec) -> int | None:
        """Return the number of significand bits that a tensor keeps; None for attention, which is put on grids."""
        return None if spec.role is Role.ATTENTION else significand_bits(self._request.bounds[spec.role], spec.dtype)

    def _round(self, spec: TensorSpec, block: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if (bits := self._bits(spec)) is not None:
            return round_significands(block, bits), None
        return put_on_grids(block, self._request.bounds[spec.role], self._request.top_k)

    def _survey(self, spec: TensorSpec) -> Rounded:
        bits = self._bits(spec)
        errors, rows = Errors(rows=bits is None), Counter[int]()
        for block in self._trace.blocks(spec.path):
            rounded, exponents = self._round(spec, block)
            errors.add(block, rounded)
            rows.update(() if exponents is None else exponents.reshape(-1).tolist())
        return Rounded(
            path=spec.path,
            changed=errors.changed,
            largest_absolute_error=errors.absolute,
            largest_relative_error=errors.relative,
            significand_bits=bits,
            largest_sum_change=errors.sums if bits is None else None,
            rows={KEPT if e == NO_GRID else f"2**-{e}": count for e, count in sorted(rows.items())},
        )

    def _derived(self, rule: Rule, kept: dict[str, TensorSpec]) -> Dropped | None:
        """Return the record of a dropped tensor if it follows bit for bit from an unrounded one; else None."""
        spec, source = kept.get(rule.path), kept.get(rule.source)
        if spec is None or source is None or self._rounds(source):
            return None
        made = recompute(rule, read_whole(self._trace, rule.source), spec)
        dropped = self._drop(spec, f"{rule.how}, as {spec.dtype}", rule.name)
        return dropped if made is not None and digest(made) == dropped.digest else None

    def _drop(self, spec: TensorSpec, how: str, rule: str | None = None) -> Dropped:
        known = {name: getattr(spec, name) for name in ("path", "shape", "dtype", "axes")}
        return Dropped(
            **known, role=spec.role.value, digest=digest_blocks(self._trace.blocks(spec.path)), recompute=how, rule=rule
        )
