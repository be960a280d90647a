"""Rules of extensions of the archive schema: places of tensors, and relations between tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from harness import registry
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor
from harness.trace.stream import Trace

Place = tuple[Role, tuple[tuple[str, ...], ...]]
"""Role that a path gives to a tensor, and the axes that the tensor may have."""


@dataclass(frozen=True, kw_only=True)
class ArchiveRules:
    """Rules that an extension adds to the schema; registered in ``harness.rules``."""

    # Takes a path, and all paths of the archive; returns the `Place` of the path, or None if the extension has none.
    place: Callable[[str, Collection[str]], Place | None]
    # Takes a trace; returns a sentence for each violated rule, with path and expectation.
    check: Callable[[Trace], Iterable[str]]


def installed() -> list[ArchiveRules]:
    """Return the rules of all installed extensions that can be imported."""
    found: list[ArchiveRules] = registry.usable("rules")
    return found


def spec_at(path: str, shape: tuple[int, ...], dtype: Any, paths: Collection[str]) -> TensorSpec | None:
    """Specify a tensor by the place that an extension defines; None if none does, or the number of axes differs.

    Parameters
    ----------
    path, shape, dtype
        As for `harness.trace.schema.tensor`.
    paths : collection of str
        Paths of all tensors of the trace.
    """
    place = next((found for rule in installed() if (found := rule.place(path, paths)) is not None), None)
    axes = next((names for names in place[1] if len(names) == len(shape)), None) if place else None
    return None if place is None or axes is None else tensor(path, shape, dtype, axes=axes, role=place[0])


def placed(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return tensors with the role and axes that extensions define at their places, if they have default axes.

    Default axes are numbered ones, and those that the schema gives to a path.

    Parameters
    ----------
    specs : iterable of TensorSpec
        All tensors of a trace.

    Returns
    -------
    tuple of TensorSpec
        In the same order.
    """
    specs = tuple(specs)
    paths = {spec.path for spec in specs}
    return tuple(_placed(spec, paths) for spec in specs)


def _placed(spec: TensorSpec, paths: Collection[str]) -> TensorSpec:
    found = spec_at(spec.path, spec.shape, spec.values or spec.dtype, paths)
    return spec if found is None or spec.axes != _unasked(spec) else replace(spec, axes=found.axes, role=found.role)


def _unasked(spec: TensorSpec) -> tuple[str, ...] | None:
    """Return the default axes of a tensor of this path and shape; None if the schema rejects it."""
    try:
        return tensor(spec.path, spec.shape, spec.values or spec.dtype).axes
    except SchemaError:
        return None
