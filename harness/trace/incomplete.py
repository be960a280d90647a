"""How far a trace came whose writing ended before its last tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STAGE = re.compile(r"(?<![^/])(?:layer|step)_\d+(?![^/])")


def stage_of(path: str) -> str:
    """Name the layer or the recycling step that computed a tensor: ``layer_3``, ``step_1/layer_3``, or nothing."""
    return "/".join(_STAGE.findall(path))


@dataclass(frozen=True, kw_only=True)
class Incomplete:
    """What an archive has of the trace that it was to hold.

    Attributes
    ----------
    whole : int
        How many tensors are there, every one of them wholly.
    planned : int
        How many there were to be.
    last_layer : str or None
        The last layer, or recycling step, of which every tensor is there; None where there is none.
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
    """Say how far a trace came.

    Parameters
    ----------
    planned : sequence of str
        The path of every tensor, in the order of writing.
    whole : iterable of str
        Those that were written wholly.

    Returns
    -------
    Incomplete
        With the last of the whole layers in the order of `planned`.
    """
    there = set(whole)
    broken = {stage_of(path) for path in planned if path not in there}
    layers = [stage for path in planned if (stage := stage_of(path)) and stage not in broken]
    return Incomplete(whole=len(there), planned=len(planned), last_layer=layers[-1] if layers else None)
