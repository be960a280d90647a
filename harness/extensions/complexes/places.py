"""Paths of the tensors of a model of complexes, and their axes; docs/complexes.md specifies both."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.trace.schema import TensorSpec

_DIFFUSION = re.compile(r"diffusion/(?P<seed>seed_\d+/)?step_(?P<step>\d+)/(?:layer_(?P<layer>\d+)/)?(?P<name>.+)")
_SEED = re.compile(r"(?:^|/)seed_(\d+)(?=[/_])")
_SAMPLE = re.compile(r"(?:^|[/_])sample_(\d+)(?=/)")


@dataclass(frozen=True, kw_only=True)
class DiffusionPlace:
    """A tensor of one step of the diffusion."""

    seed: str  # ``seed_NUMBER/``, or empty in a trace of one seed.
    step: int  # Number of the step within the model's schedule, counted from 0.
    layer: int | None  # Layer of the diffusion transformer; None for a tensor of the step itself.
    name: str  # Kind of tensor, such as ``token_repr``.
    spec: TensorSpec  # The tensor.


def diffusion_place(spec: TensorSpec) -> DiffusionPlace | None:
    """Return the place of a tensor in the diffusion; None for a tensor of something else."""
    found = _DIFFUSION.fullmatch(spec.path)
    if found is None:
        return None
    layer = found["layer"]
    return DiffusionPlace(
        seed=found["seed"] or "",
        step=int(found["step"]),
        layer=None if layer is None else int(layer),
        name=found["name"],
        spec=spec,
    )


def seed_of(path: str) -> int | None:
    """Return the seed that a path names, if any."""
    found = _SEED.search(path)
    return int(found[1]) if found else None


def sample_of(path: str) -> int | None:
    """Return the sample that a path names, if any."""
    found = _SAMPLE.search(path)
    return int(found[1]) if found else None


def has_samples(spec: TensorSpec) -> bool:
    """Return whether a tensor has values of each sample of one seed; a ranking lists samples of all seeds."""
    return "sample" in spec.axes and not spec.path.startswith("outputs/ranking/")


def without_sample(path: str) -> str:
    """Return a path without the number of its sample: equal for tensors that samples have in common."""
    return _SAMPLE.sub(lambda found: found[0].replace(found[1], ""), path)
