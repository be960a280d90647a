"""Check of a lossy trace against its source, independent of the rounding code that made it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.extensions.lossy.minimal import Errors, moved, recompute, rule_for
from harness.extensions.lossy.rounding import sum_tolerance
from harness.trace.loss import Dropped, Loss, Rounded
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import Trace, digest, digest_blocks, read_whole

_BOUND = "a value moved by more than the bound"
_SUMMING = 1e-12  # largest difference of two float64 sums in different orders


def check_loss(source: Trace, lossy: Trace) -> list[str]:
    """Check that a lossy trace keeps what its record promises.

    Parameters
    ----------
    source : Trace
        The trace from which `lossy` was made.
    lossy : Trace
        The lossy trace, such as an archive that was written and is read back; its manifest has the record.

    Returns
    -------
    list of str
        Problems, one phrase per tensor. Empty if every tensor of the source is bit for bit the same, or within its
        bound with the errors that the record states, or dropped as the record states.
    """
    loss = lossy.manifest.loss
    assert loss is not None
    kept = {spec.path: spec for spec in lossy.manifest.tensors}
    rounded = {row.path: row for row in loss.rounded}
    dropped = {row.path: row for row in loss.dropped}
    problems = []
    for spec in source.manifest.tensors:
        if kept.get(spec.path) == spec:
            problem = _compare(source, lossy, spec, loss, rounded.get(spec.path))
        elif spec.path in dropped and spec.path not in kept:
            problem = _check_dropped(source, lossy, spec, dropped[spec.path])
        else:
            problem = "is neither there as it was specified nor listed as dropped"
        if problem:
            problems.append(f"{spec.path}: {problem}")
    return problems


def _compare(source: Trace, lossy: Trace, spec: TensorSpec, loss: Loss, row: Rounded | None) -> str:
    errors = Errors(rows=spec.role is Role.ATTENTION)
    for before, after in _together(source.blocks(spec.path), lossy.blocks(spec.path)):
        changed = moved(before, after)
        if not changed.any():
            continue
        if row is None:
            return "a value changed where no bound applies"
        if problem := _promises(before, after, changed, spec, loss):
            return problem
        errors.add(before, after)
    if row is None:
        return ""
    found = (errors.changed, errors.absolute, errors.relative)
    same = found == (row.changed, row.largest_absolute_error, row.largest_relative_error)
    same &= abs(errors.sums - (row.largest_sum_change or 0.0)) <= _SUMMING
    return "" if same else "the errors are not those of the record"


def _together(first: Iterator[np.ndarray], second: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the same rows of two streams, as many at a time as both have ready; a scalar as an array of one value."""
    before = after = np.empty(0)
    for before in first:
        while before.ndim == 0 or len(before):
            after = after if after.ndim and len(after) else next(second)
            if before.ndim == 0:
                yield before.reshape(1), after.reshape(1)
                break
            rows = min(len(before), len(after))
            yield before[:rows], after[:rows]
            before, after = before[rows:], after[rows:]


def _promises(before: np.ndarray, after: np.ndarray, changed: np.ndarray, spec: TensorSpec, loss: Loss) -> str:
    bound = loss.bounds[spec.role.value]
    these = changed.any(axis=-1) if spec.role is Role.ATTENTION else changed
    was, now = before[these].astype(np.float64), after[these].astype(np.float64)
    if spec.role is Role.ATTENTION:
        assert loss.top_k is not None
        return _row_promises(was, now, bound, loss.top_k, sum_tolerance(spec.shape[-1], spec.dtype))
    if not (np.isfinite(was) & np.isfinite(now) & (was != 0)).all():
        return "a zero, an infinity or a NaN changed"
    return "" if (np.abs(now - was) <= bound * np.abs(was)).all() else _BOUND


def _row_promises(was: np.ndarray, now: np.ndarray, bound: float, top_k: int, tolerance: float) -> str:
    """Check rows of attention with changed values, given as float64; return the problem, or an empty text."""
    if not ((was >= 0) & (was <= 1) & ~np.signbit(was)).all():
        return "a row with a value that is no weight changed"
    if not (np.abs(now - was) <= bound).all():
        return _BOUND
    sums = was.sum(axis=-1)
    if not (np.abs(now.sum(axis=-1) - sums) <= tolerance * sums * (1 + 1e-9)).all():  # these sums have errors too
        return "the sum of a row moved by more than a sum in its precision can show"
    order = np.argsort(-was, axis=-1, kind="stable")
    steps = [np.diff(np.take_along_axis(values, order, axis=-1), axis=-1) for values in (was, now)]
    if not (steps[1] <= 0).all() or (steps[1][steps[0] == 0] != 0).any():
        return "a weight overtook another"
    apart_before, apart_after = (step[..., :top_k] < 0 for step in steps)
    return "" if np.array_equal(apart_before, apart_after) else f"the top {top_k} of a row are not told apart as before"


def _check_dropped(source: Trace, lossy: Trace, spec: TensorSpec, row: Dropped) -> str:
    if digest_blocks(source.blocks(spec.path)) != row.digest:
        return "it was dropped with another digest than it has"
    if row.rule is None:
        return ""
    rule = rule_for(spec.path, row.rule)
    made = None if rule is None else recompute(rule, read_whole(lossy, rule.source), spec)
    return "" if made is not None and digest(made) == row.digest else "it was dropped but does not follow from the rest"
