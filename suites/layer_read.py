"""How long it takes to read one layer's attention, one head, one layer's pair representation."""

from __future__ import annotations

import numpy as np

from harness.suite import READ, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.workload import Absent, Access, PlanOptions, Read, ReadAccess, whole_reads


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Draw a layer for each kind; the head comes from a layer of its own."""
    accesses: list[Access] = []
    attention = [spec for spec in manifest.with_role(Role.ATTENTION) if spec.items]
    if attention:
        accesses.append(_layer("attention_layer", attention, rng, options))
        spec = attention[int(rng.integers(len(attention)))]
        axis = spec.axes.index("head")
        head = int(rng.integers(spec.shape[axis]))
        part = tuple(slice(head, head + 1) if k == axis else slice(0, n) for k, n in enumerate(spec.shape))
        accesses.append(ReadAccess(name="head", reads=(Read(path=spec.path, selection=part),)))
    else:
        reason = "the trace has no attention tensor"
        accesses += [Absent(name="attention_layer", reason=reason), Absent(name="head", reason=reason)]
    if pair := [spec for spec in manifest.with_role(Role.PAIR) if spec.items]:
        return [*accesses, _layer("pair_layer", pair, rng, options)]
    return [*accesses, Absent(name="pair_layer", reason="the trace has no pair tensor")]


def _layer(name: str, specs: list[TensorSpec], rng: np.random.Generator, options: PlanOptions) -> ReadAccess:
    return ReadAccess(name=name, reads=whole_reads(specs[int(rng.integers(len(specs)))], options))


suite = Suite(
    name="layer_read",
    description="one attention layer, one head, one pair layer",
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
    ),
    plot=Plot(title="Layer read: a part of a trace (time, lower is better)"),
    criterion=Criterion(
        name="layer read", cells="one attention layer, one head, one pair layer, each warm and cold"
    ),
)  # fmt: skip
