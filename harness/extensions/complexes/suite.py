"""How long it takes to read parts of a complex: a step of the diffusion, a layer over steps, a chain, a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import TypeVar

import numpy as np

from harness.extensions.complexes.places import DiffusionPlace, diffusion_place, has_samples, sample_of, seed_of
from harness.suite import AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import block_rows
from harness.workload import Absent, Access, PlanOptions, Read, ReadAccess, whole_reads

T = TypeVar("T")


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw one step, one layer, one chain, a block between two chains and one sample; read each completely."""
    return [
        *_diffusion(manifest, rng, options),
        *_chains(manifest, rng, options),
        _sample(manifest, rng, options),
    ]


def _diffusion(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan all layers of one step, and one layer of all steps, of one seed and one kind of tensor."""
    kinds: defaultdict[tuple[str, str], list[DiffusionPlace]] = defaultdict(list)
    for spec in manifest.tensors:
        place = diffusion_place(spec)
        if place is not None and place.layer is not None and spec.items:
            kinds[place.seed, place.name].append(place)
    if not kinds:
        reason = "the trace has no layers of diffusion steps"
        return [Absent(name=name, reason=reason) for name in ("diffusion_step", "layer_over_steps")]
    places = _drawn(list(kinds.values()), rng)
    step = _drawn(sorted({place.step for place in places}), rng)
    layer = _drawn(sorted({place.layer for place in places if place.layer is not None}), rng)
    of_step = [read for place in places if place.step == step for read in whole_reads(place.spec, options)]
    of_layer = [read for place in places if place.layer == layer for read in whole_reads(place.spec, options)]
    return [
        ReadAccess(name="diffusion_step", reads=tuple(of_step)),
        ReadAccess(name="layer_over_steps", reads=tuple(of_layer)),
    ]


def _chains(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan the rows of one chain of a pair tensor, and the block between two chains."""
    pairs = [spec for spec in manifest.with_role(Role.PAIR) if spec.axes[:2] == ("token", "token") and spec.items]
    if not manifest.chains or not pairs:
        what = "pair tensor over tokens" if manifest.chains else "table of chains"
        return [Absent(name=name, reason=f"the trace has no {what}") for name in ("chain_rows", "chain_block")]
    spec, chain = _drawn(pairs, rng), _drawn(list(manifest.chains), rng)
    rows = slice(chain.start, chain.stop)
    accesses: list[Access] = [ReadAccess(name="chain_rows", reads=part_reads(spec, {0: rows}, options))]
    others = [other for other in manifest.chains if other is not chain]
    if not others:
        return [*accesses, Absent(name="chain_block", reason="the trace has one chain")]
    other = _drawn(others, rng)
    block = {0: rows, 1: slice(other.start, other.stop)}
    return [*accesses, ReadAccess(name="chain_block", reads=part_reads(spec, block, options))]


def _sample(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> Access:
    """Plan all tensors of one sample of one seed: named by the path, or at one index of the axis ``sample``."""
    found: defaultdict[tuple[int | None, int], list[Read]] = defaultdict(list)
    for spec in manifest.tensors:
        seed, named = seed_of(spec.path), sample_of(spec.path)
        if not spec.items:
            continue
        if named is not None:
            found[seed, named] += whole_reads(spec, options)
        elif has_samples(spec):
            axis = spec.axes.index("sample")
            for number in range(spec.shape[axis]):
                found[seed, number] += part_reads(spec, {axis: slice(number, number + 1)}, options)
    if not found:
        return Absent(name="one_sample", reason="the trace has no samples")
    return ReadAccess(name="one_sample", reads=tuple(_drawn(list(found.values()), rng)))


def _drawn(choices: list[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def part_reads(spec: TensorSpec, ranges: Mapping[int, slice], options: PlanOptions) -> tuple[Read, ...]:
    """Plan the reads of a part of a tensor, as `harness.workload.whole_reads` does for a complete one.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    ranges : mapping of int to slice
        Range to read of an axis, with both ends; other axes are read completely.
    options : PlanOptions
        Size limit of one read, and the size of blocks above it.

    Returns
    -------
    tuple of Read
        One read, or consecutive blocks along the first axis that cover the part.
    """
    first, *others = (ranges.get(axis, slice(0, length)) for axis, length in enumerate(spec.shape))
    shape = tuple(each.stop - each.start for each in (first, *others))
    itemsize = np.dtype(spec.dtype).itemsize
    step = shape[0]
    if prod(shape) * itemsize > options.whole_bytes:
        step = block_rows(shape, itemsize, options.block_bytes)
    return tuple(
        Read(path=spec.path, selection=(slice(start, min(start + step, first.stop)), *others))
        for start in range(first.start, first.stop, step)
    )


suite = Suite(
    name="complex_read",
    description="parts of a complex: a diffusion step, a layer over steps, a chain, a sample",
    order=45,
    plan=plan,
    optional=True,
    title="Complexes",
    accesses=(
        AccessInfo(name="diffusion_step", label="all layers of one diffusion step"),
        AccessInfo(name="layer_over_steps", label="one layer over all diffusion steps"),
        AccessInfo(name="chain_rows", label="one chain's rows of a pair tensor"),
        AccessInfo(name="chain_block", label="a block between two chains"),
        AccessInfo(name="one_sample", label="all tensors of one sample"),
    ),
    plot=Plot(title="Complexes: a part of a trace (time, lower is better)", columns="access"),
    criterion=Criterion(
        name="complexes", cells="one diffusion step, layer over steps, chain, block of chains, sample, warm and cold",
        short="complex",
    ),
)  # fmt: skip
