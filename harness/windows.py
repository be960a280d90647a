"""Draw small windows of a trace's tensors; every format reads the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.workload import PlanOptions, Read


def windowed(manifest: Manifest, options: PlanOptions) -> Iterator[tuple[str, list[TensorSpec], int]]:
    """Yield each kind of tensor that has windows, its non-empty tensors, and the number of windows.

    The third kind, plain arrays, is left out if the trace has none.
    """
    for role, count in ((Role.ATTENTION, options.attention_windows), (Role.PAIR, options.pair_windows)):
        yield role.value, [spec for spec in manifest.with_role(role) if spec.items], count
    if arrays := [spec for spec in manifest.arrays() if spec.shape]:
        yield Role.ARRAY.value, arrays, options.pair_windows


def window_axes(spec: TensorSpec) -> list[int]:
    """Return the axes of a window: queries and keys; residues, tokens or atoms; or else the largest axes.

    Two axes in ascending order, or one if the tensor has no more.
    """
    if spec.role in (Role.ATTENTION, Role.PAIR):
        for names in (("query", "key"), ("residue", "token", "atom")):
            if len(named := [axis for axis, name in enumerate(spec.axes) if name in names]) >= 2:
                return named[:2]
    return sorted(sorted(range(len(spec.shape)), key=lambda axis: -spec.shape[axis])[:2])


def draw(specs: Sequence[TensorSpec], rng: np.random.Generator, *, by_bytes: bool) -> TensorSpec:
    """Draw one of several tensors, none empty: with equal probability, or in proportion to their bytes."""
    if not by_bytes:
        return specs[int(rng.integers(len(specs)))]
    nbytes = np.array([spec.nbytes for spec in specs], float)
    return specs[int(rng.choice(len(specs), p=nbytes / nbytes.sum()))]


def window_reads(
    specs: list[TensorSpec], count: int, edge: int, rng: np.random.Generator, *, by_bytes: bool = False
) -> tuple[Read, ...]:
    """Draw square windows over residues, or over the axes of `window_axes`, from randomly chosen tensors and heads.

    Parameters
    ----------
    specs : list of TensorSpec
        Tensors to choose from, none empty.
    count : int
        Number of windows.
    edge : int
        Edge of each, in residues; a shorter axis is read completely.
    rng : numpy.random.Generator
        Random generator.
    by_bytes : bool
        As in `PlanOptions`.

    Returns
    -------
    tuple of Read
        For attention one head's window ``(1, edge, edge)``, for pair tensors all channels ``(edge, edge, channels)``.
    """
    reads = []
    for _ in range(count):
        spec = draw(specs, rng, by_bytes=by_bytes)
        square = window_axes(spec)
        part = []
        for axis, length in enumerate(spec.shape):
            width = min(edge, length) if axis in square else (1 if axis < square[0] else length)
            start = int(rng.integers(length - width + 1))
            part.append(slice(start, start + width))
        reads.append(Read(path=spec.path, selection=tuple(part)))
    return tuple(reads)
