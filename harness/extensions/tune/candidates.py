"""Candidates for the tensors of one role: the present setting, its neighbours, and random draws from all others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.formats.base import Format, Layout
from harness.formats.settings import Parameter, Settings, Value, search_space
from harness.records import CONTROL
from harness.trace.schema import TensorSpec

Values = tuple[tuple[str, Value], ...]
"""Values of all parameters of a role, by name."""

_SHOWN = ("edge", "share_bytes", "rows", "codec", "shards", "storage", "checks")  # their effect is all in the layout


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting: values of all parameters of a role."""

    # Its label in samples, which includes the role, and its name in tables. The A/A control, which repeats the present
    # setting, has its own label and name.
    label: str
    name: str
    values: Values  # By name of the parameter.
    changes: int  # Number of values that differ from the present setting, which is the profile ``tuned``.
    layout: Layout  # Layout of the complete tensor with these values.
    is_control: bool = False  # Whether it is the A/A control.

    @property
    def present(self) -> bool:
        """Whether it is the present setting itself, not the control."""
        return self.changes == 0 and not self.is_control


def settings_of(backend: Format, spec: TensorSpec, label: str, values: Sequence[tuple[str, Value]]) -> Settings:
    """Return the settings for writing a candidate; `spec` is the complete tensor, of which a part is written."""
    return Settings(
        profile=label,
        format=backend.name,
        why="candidate",
        chosen=((spec.role, tuple(values)),),
        whole=((spec.path, spec.shape),),
    )


def candidates(backend: Format, spec: TensorSpec, most: int, rng: np.random.Generator) -> list[Candidate]:
    """Choose the candidates for a role.

    Parameters
    ----------
    backend : Format
        The format; it has parameters for the role.
    spec : TensorSpec
        A tensor of the role.
    most : int
        Largest number of candidates, not counting the A/A control.
    rng : numpy.random.Generator
        Draws among settings that differ from the present one in more than one parameter.

    Returns
    -------
    list of Candidate
        The present setting and the control first, then settings with one change, then draws. Of candidates that store
        the tensor in the same way, only the first in this order is included.
    """
    found: dict[object, Candidate] = {}
    for changes, values in _by_changes(search_space(backend)[spec.role], rng):
        if len(found) >= most:
            break
        layout = backend.layout(spec, settings_of(backend, spec, "", values))
        rest = tuple((name, value) for name, value in values if name not in _SHOWN)
        name = ", ".join(f"{name}={value}" for name, value in values)
        label = f"{spec.role.value}: {name}"
        candidate = Candidate(label=label, name=name, values=values, changes=changes, layout=layout)
        found.setdefault((layout.chunks, layout.shards, layout.codec, layout.checked, rest), candidate)
    present, *others = found.values()
    control = Candidate(
        label=CONTROL, name=CONTROL, values=present.values, changes=0, layout=present.layout, is_control=True
    )
    return [present, control, *others]


def _by_changes(parameters: Sequence[Parameter], rng: np.random.Generator) -> Iterator[tuple[int, Values]]:
    """Yield every combination with its number of changes: first those with up to one change, then others at random."""
    combinations: list[tuple[int, Values]] = []
    for values in itertools.product(*(parameter.values for parameter in parameters)):
        changes = sum(value != parameter.default for value, parameter in zip(values, parameters, strict=True))
        combinations.append((changes, tuple(zip((p.name for p in parameters), values, strict=True))))
    far = [found for found in combinations if found[0] > 1]
    yield from sorted((found for found in combinations if found[0] <= 1), key=lambda found: found[0])
    # Draw all of them once. A search with more candidates then continues in the same order.
    yield from (far[int(index)] for index in rng.permutation(len(far)))
