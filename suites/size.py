"""How many bytes and files an archive takes, and a result directory as it was written and slimmed."""

from __future__ import annotations

import numpy as np

from harness.suite import SIZE, AccessInfo, Criterion, Plot, Suite
from harness.trace.manifest import Manifest
from harness.trace.schema import Role
from harness.workload import Absent, Access, PlanOptions, SizeAccess


def plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    """Plan the size of the complete trace, and of its first layer with representations under one name and both."""
    accesses: list[Access] = [SizeAccess(name="archive")]
    layers = list(manifest.layers())
    one = _filled(manifest, layers[0], both=False) if layers else {}
    both = _filled(manifest, layers[0], both=True) if layers else {}
    if one == both:
        reason = "the trace has no single or pair representation of a layer"
        return [*accesses, *(Absent(name=f"layer_filled_{names}", reason=reason) for names in ("one", "both"))]
    for names, filled in (("one", one), ("both", both)):
        accesses.append(SizeAccess(name=f"layer_filled_{names}", tensors=tuple(filled.items())))
    return accesses


def _filled(manifest: Manifest, layer: int, *, both: bool) -> dict[str, str]:
    """Return the names to write for a layer, representations under one name or both, each with its source.

    The schema does not define how ``activations/layer_i/{single,pair}_repr`` differ from ``{single,pair}/layer_i``. A
    writer that fills both stores the same values twice.
    """
    names: dict[str, str] = {}
    for spec in manifest.tensors:
        if spec.layer != layer:
            continue
        for role, kind in ((Role.SINGLE, "single"), (Role.PAIR, "pair")):
            if spec.role is role and spec.path in (f"activations/layer_{layer}/{kind}_repr", f"{kind}/layer_{layer}"):
                names.setdefault(f"activations/layer_{layer}/{kind}_repr", spec.path)
                if both:
                    names.setdefault(f"{kind}/layer_{layer}", spec.path)
                break
        else:
            names[spec.path] = spec.path
    return names


suite = Suite(
    name="size",
    description="bytes and files, against float32 and native bytes",
    order=10,
    plan=plan,
    title="Storage size",
    unit="B",
    prefix="size of",
    accesses=(
        AccessInfo(name="archive", label="whole trace", cost=SIZE),
        AccessInfo(name="layer_filled_one", label="one layer, each tensor under one name"),
        AccessInfo(
            name="layer_filled_both",
            label="one layer, representations under both names",
            variant_of="layer_filled_one",
            variant="under both names",
            note="The schema allows two names for the single and pair representations of a layer. A format that stores "
            "equal values once takes no more for both.",
        ),
    ),
    plot=Plot(title="Storage size of the same trace in every format", name="storage_size"),
    criterion=Criterion(
        name="storage efficiency", cells="the archive of the whole trace", accesses=("archive",), short="size"
    ),
)
