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

_SHOWN = ("edge", "share_bytes", "rows", "codec", "shards")  # what they do is all in the layout


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Values of all parameters of a role.

    Attributes
    ----------
    label : str
        Its name in tables and in samples; that of the A/A control, the present setting once more, is
        ``a/a``.
    values : tuple of (str, int or str)
        By name of the parameter.
    changes : int
        How many of them differ from the present setting, which is the profile ``tuned``.
    layout : Layout
        How the whole tensor is laid out by them.
    """

    label: str
    values: tuple[tuple[str, Value], ...]
    changes: int
    layout: Layout

    @property
    def present(self) -> bool:
        """Whether it is the present setting itself."""
        return self.changes == 0 and self.label != CONTROL


def settings_of(backend: Format, spec: TensorSpec, label: str, values: Sequence[tuple[str, Value]]) -> Settings:
    """Return the settings that a candidate is written with; `spec` is the whole tensor, of which a part is written."""
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
    parameters = search_space(backend)[spec.role]
    found: dict[object, Candidate] = {}
    for changes, values in _by_changes(parameters, rng):
        settings = settings_of(backend, spec, "", values)
        layout = backend.layout(spec, settings)
        rest = tuple((name, value) for name, value in values if name not in _SHOWN)
        if len(found) < most:
            label = f"{spec.role.value}: " + ", ".join(f"{name}={value}" for name, value in values)
            key = (layout.chunks, layout.shards, layout.codec, rest)
            found.setdefault(key, Candidate(label=label, values=values, changes=changes, layout=layout))
    present, *others = found.values()
    control = Candidate(label=CONTROL, values=present.values, changes=0, layout=present.layout)
    return [present, control, *others]


def _by_changes(
    parameters: Sequence[Parameter], rng: np.random.Generator
) -> Iterator[tuple[int, tuple[tuple[str, Value], ...]]]:
    """Yield every combination of values: fewest changes first, up to one change in order, then drawn."""
    combinations: list[tuple[int, tuple[tuple[str, Value], ...]]] = []
    for values in itertools.product(*(parameter.values for parameter in parameters)):
        changes = sum(value != parameter.default for value, parameter in zip(values, parameters, strict=True))
        combinations.append((changes, tuple(zip((p.name for p in parameters), values, strict=True))))
    near = sorted((c for c in combinations if c[0] <= 1), key=lambda c: c[0])
    far = [c for c in combinations if c[0] > 1]
    yield from near
    # In the order drawn, all of them once: a search that has room for more of them then goes on in the same order.
    yield from (far[int(index)] for index in rng.permutation(len(far)))
