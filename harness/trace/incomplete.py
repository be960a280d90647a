"""Progress of a trace whose writing ended before its last tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STAGE = re.compile(r"(?<![^/])(?:layer|step)_\d+(?![^/])")


def stage_of(path: str) -> str:
    """Return the layer or recycling step that computed a tensor, as ``layer_3`` or ``step_1/layer_3``; or empty."""
    return "/".join(_STAGE.findall(path))


@dataclass(frozen=True, kw_only=True)
class Incomplete:
    """Part of a planned trace that an archive holds.

    Attributes
    ----------
    whole : int
        Number of tensors that are complete.
    planned : int
        Number of tensors that were planned.
    last_layer : str or None
        Last layer or recycling step whose tensors are all complete; None if there is none.
    """

    whole: int
    planned: int
    last_layer: str | None = None

    def __str__(self) -> str:
        if self.whole == self.planned:
            return f"all {self.planned} tensors, but their writing was not finished"
        layers = f"whole up to {self.last_layer}" if self.last_layer else "no layer is whole"
        return f"{self.whole} of {self.planned} tensors, {layers}"


def measure(planned: Sequence[str], whole: Iterable[str]) -> Incomplete:
    """Return the part of a planned trace that was written.

    Parameters
    ----------
    planned : sequence of str
        The path of every tensor, in the order of writing.
    whole : iterable of str
        Paths of the tensors that were written completely.

    Returns
    -------
    Incomplete
        Its last layer is the last complete one in the order of `planned`.
    """
    there = set(whole)
    broken = {stage_of(path) for path in planned if path not in there}
    layers = [stage for path in planned if (stage := stage_of(path)) and stage not in broken]
    return Incomplete(whole=len(there), planned=len(planned), last_layer=layers[-1] if layers else None)
