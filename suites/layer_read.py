"""How long it takes to read one layer's attention, one head, one layer's pair representation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from harness.formats.selection import Selection
from harness.suite import READ, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.windows import draw
from harness.workload import Absent, Access, PlanOptions, Read, ReadAccess, rest, whole_reads


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw a layer for each kind of tensor; the head comes from a layer that is drawn separately."""
    accesses: list[Access] = []
    attention = [spec for spec in manifest.with_role(Role.ATTENTION) if spec.items]
    if attention:
        accesses.append(_layer("attention_layer", attention, rng, options))
        if heads := [spec for spec in attention if "head" in spec.axes]:
            spec = heads[int(rng.integers(len(heads)))]
            part = _at_one(spec, [k for k, name in enumerate(spec.axes) if name in ("layer", "head")], rng)
            accesses.append(ReadAccess(name="head", reads=whole_reads(spec, options, part)))
        else:
            accesses.append(Absent(name="head", reason="no attention tensor of the trace has an axis of heads"))
    else:
        reason = "the trace has no attention tensor"
        accesses += [Absent(name="attention_layer", reason=reason), Absent(name="head", reason=reason)]
    pair = [spec for spec in manifest.with_role(Role.PAIR) if spec.items]
    if pair:
        accesses.append(_layer("pair_layer", pair, rng, options))
    else:
        accesses.append(Absent(name="pair_layer", reason="the trace has no pair tensor"))
    arrays = manifest.arrays()
    if options.by_bytes and (attention or pair or any(spec.shape for spec in arrays)):
        arrays = [spec for spec in arrays if spec.shape]
    if arrays:
        accesses += [_layer("array", arrays, rng, options), *_slices(arrays, rng, options)]
        most = max(len(spec.shape) for spec in arrays)
        if options.name_rest and most > len(_ORDINALS):
            reason = f"an array has {most} axes, and slices are taken along the first {len(_ORDINALS)}"
            accesses.append(Absent(name="array_slice_further", reason=reason))
    return accesses + rest(manifest, options)


def _layer(name: str, specs: list[TensorSpec], rng: np.random.Generator, options: PlanOptions) -> ReadAccess:
    return ReadAccess(name=name, reads=_one_of_layers(draw(specs, rng, by_bytes=options.by_bytes), rng, options))


def _one_of_layers(spec: TensorSpec, rng: np.random.Generator, options: PlanOptions) -> tuple[Read, ...]:
    """Plan reads of one layer of a tensor: the complete tensor, or one index along its layer axis if it has one."""
    if "layer" not in spec.axes:
        return whole_reads(spec, options)
    return whole_reads(spec, options, _at_one(spec, [spec.axes.index("layer")], rng))


def _at_one(spec: TensorSpec, axes: Iterable[int], rng: np.random.Generator) -> Selection:
    """Draw an index of each given axis; return the selection at these indices, with all other axes complete."""
    drawn = {axis: int(rng.integers(spec.shape[axis])) for axis in axes}
    return tuple(slice(drawn[k], drawn[k] + 1) if k in drawn else slice(0, n) for k, n in enumerate(spec.shape))


def _slices(arrays: list[TensorSpec], rng: np.random.Generator, options: PlanOptions) -> Iterator[ReadAccess]:
    """Yield for each axis the read of a slice at one index, from an array that has this axis."""
    for axis, name in zip(range(max(len(spec.shape) for spec in arrays)), _ORDINALS, strict=False):
        having = [spec for spec in arrays if len(spec.shape) > axis]
        spec = draw(having, rng, by_bytes=options.by_bytes)
        reads = whole_reads(spec, options, _at_one(spec, [axis], rng))
        yield ReadAccess(name=f"array_slice_{name}", reads=reads)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


suite = Suite(
    name="layer_read",
    description="one attention layer, one head, one pair layer, one array and its slices",
    order=40,
    plan=plan,
    accesses=(
        AccessInfo(
            name="attention_layer", label="one attention layer", cost=READ, several="reads of an attention layer",
            one_tensor=True,
        ),
        AccessInfo(
            name="pair_layer", label="one pair layer", cost=READ, several="reads of a pair layer", one_tensor=True
        ),
        AccessInfo(name="head", label="one attention head", cost=READ, several="reads of a head"),
        AccessInfo(
            name="array", label="one array", cost=READ, several="reads of an array", one_tensor=True,
            in_place_of=("attention_layer", "pair_layer"),
        ),
        *(
            AccessInfo(
                name=f"array_slice_{name}", label=f"one index of an array's {name} axis", cost=READ,
                several=f"slices along an array's {name} axis", in_place_of=("head",),
            )
            for name in _ORDINALS
        ),
        AccessInfo(name="array_slice_further", label="one index of an array's further axes"),
        AccessInfo(name="rest", label="one tensor of another role"),
    ),
    plot=Plot(title="Layer read: a part of a trace (time, lower is better)"),
    criterion=Criterion(
        name="layer read", cells="one layer, head, array or slice of an array, each warm and cold", short="layer"
    ),
)  # fmt: skip
