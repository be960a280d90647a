"""The candidates for the tensors of one role: the present setting, its neighbours, and draws from all others."""

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
"""Of all parameters of a role, by name."""

_SHOWN = ("edge", "share_bytes", "rows", "codec", "shards", "storage", "checks")  # what they do is all in the layout


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Values of all parameters of a role."""

    # What samples call it, with the role, and what tables do. The A/A control, the present setting once more, has its
    # own in both.
    label: str
    name: str
    values: Values  # By name of the parameter.
    changes: int  # How many of them differ from the present setting, which is the profile ``tuned``.
    layout: Layout  # How the complete tensor is laid out by them.
    is_control: bool = False  # Whether it is the A/A control.

    @property
    def present(self) -> bool:
        """Whether it is the present setting itself."""
        return self.changes == 0 and not self.is_control


def settings_of(backend: Format, spec: TensorSpec, label: str, values: Sequence[tuple[str, Value]]) -> Settings:
    """Return the settings that a candidate is written with; `spec` is the tensor of which a part is written."""
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
        How many candidates at most, the A/A control aside.
    rng : numpy.random.Generator
        Draws among those that differ from the present setting in more than one parameter.

    Returns
    -------
    list of Candidate
        The present setting and the control first, then by the number of changes. Of candidates that lay the tensor out
        in the same way only the one with the fewest changes is there.
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
    """Yield every combination of values: fewest changes first, up to one change in order, then drawn."""
    combinations: list[tuple[int, Values]] = []
    for values in itertools.product(*(parameter.values for parameter in parameters)):
        changes = sum(value != parameter.default for value, parameter in zip(values, parameters, strict=True))
        combinations.append((changes, tuple(zip((p.name for p in parameters), values, strict=True))))
    far = [found for found in combinations if found[0] > 1]
    yield from sorted((found for found in combinations if found[0] <= 1), key=lambda found: found[0])
    # In the order drawn, all of them once: a search that has room for more of them then goes on in the same order.
    yield from (far[int(index)] for index in rng.permutation(len(far)))
