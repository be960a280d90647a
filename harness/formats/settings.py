"""Tunable parameters of a format with their candidate values, and the values that a profile file chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

from harness.errors import HarnessError, unknown_name
from harness.trace.schema import Role, TensorSpec

Value = int | str
"""Value of a parameter: a number that applies to any tensor, such as the edge of a chunk, or one of a few names."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a format whose value can be chosen for the tensors of a role.

    It is a rule that scales with a tensor, not a shape: a value chosen on one trace applies to traces of any length.
    """

    name: str  # Its key in a profile file.
    about: str  # What it decides, with its unit.
    default: Value  # Its value in the profile ``tuned``.
    # The candidates of a search. A profile file may have any positive number, but only these names.
    values: tuple[Value, ...]
    missing: tuple[tuple[str, str], ...] = ()  # Names that exist but cannot be used here, each with the reason.

    def refusal(self, value: object) -> str:
        """Return why a value is invalid, or which ones are valid; empty when it is valid."""
        if isinstance(self.default, int):
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            return "" if whole else "give a whole number above 0"
        if isinstance(value, str) and value in dict(self.missing):
            return dict(self.missing)[value]
        return "" if value in self.values else f"choose one of {', '.join(map(repr, self.values))}"


SearchSpace = Mapping[Role, tuple[Parameter, ...]]
"""The parameters of a format, by the role of the tensors that they apply to."""

TUNED_ROLES = (Role.PAIR, Role.ATTENTION, Role.SINGLE, Role.ACTIVATION, Role.ARRAY)
"""Roles of large tensors, which have settings of their own; the other roles are small, and stay as in ``tuned``."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of one format's parameters under the name of a profile; missing values are those of ``tuned``."""

    profile: str  # The ``profile`` column of records.
    format: str  # Name of the format that the values are for.
    why: str  # Where they come from, for the ledger.
    chosen: tuple[tuple[Role, tuple[tuple[str, Value], ...]], ...]  # The values by role and name of the parameter.
    # By path, the complete shapes of tensors of which only the first rows are written: their chunks are those that the
    # complete tensor would have.
    whole: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def values(self, role: Role) -> dict[str, Value]:
        """Return the values for a role by the name of the parameter."""
        return dict(dict(self.chosen).get(role, ()))

    def whole_of(self, spec: TensorSpec) -> TensorSpec:
        """Return the specification of the complete tensor; `spec` itself, unless it is a part of a larger one."""
        shape = dict(self.whole).get(spec.path, spec.shape)
        return dataclasses.replace(spec, shape=shape) if len(shape) == len(spec.shape) else spec


ProfileName = Literal["seed", "tuned", "matched"]
PROFILES: tuple[ProfileName, ...] = ("seed", "tuned", "matched")

ALTERED: ProfileName = "tuned"
"""The profile that `TunableFormat.alternatives` differ from, and in whose group they are raced."""


Profile = ProfileName | Settings
"""The settings of a format: a profile that every format knows by its name, or what a profile file chose for one."""


class UnsupportedProfile(HarnessError):
    """A format does not support a profile; its cells are skipped with this reason."""


class UnsupportedReader(HarnessError):
    """A reader cannot read an archive, for example lacks its codec; its cells are skipped with this reason."""


@runtime_checkable
class TunableFormat(Protocol):
    """A format with tunable parameters: derive from this too, return them from `search_space`, and apply `values`.

    Attributes
    ----------
    withdrawn : mapping of str to (str or int, str)
        Keys of earlier profile files: the value that matches what is done now, and advice for any other value.
    alternatives : mapping of str to mapping
        Further settings, by their name in ``--profile`` and in the ``profile`` column: for each role, the values in
        which they differ from ``tuned``. Those that `Format.candidates` names are raced for its best.
    """

    name: ClassVar[str]
    withdrawn: ClassVar[Mapping[str, tuple[Value, str]]] = {}
    alternatives: ClassVar[Mapping[str, Mapping[Role, Mapping[str, Value]]]] = {}

    def alternative(self, name: str) -> Settings:
        """Return one of `alternatives` as settings."""
        chosen = tuple((role, tuple(values.items())) for role, values in self.alternatives[name].items())
        return Settings(profile=name, format=self.name, why=f"the settings {name} of {self.name}", chosen=chosen)

    def search_space(self) -> SearchSpace:
        """Return the tunable parameters by role; defaults are the values of ``tuned``, the other values candidates."""
        raise NotImplementedError

    def values(self, role: Role, profile: Profile) -> dict[str, Value]:
        """Return the values of all parameters that apply to a role: those of ``tuned``, unless settings change them.

        Raises
        ------
        UnsupportedProfile
            When the settings are for another format.
        """
        values = {parameter.name: parameter.default for parameter in self.search_space().get(role, ())}
        if isinstance(profile, Settings):
            if profile.format != self.name:
                raise UnsupportedProfile(f"the profile {profile.profile!r} is made for {profile.format}")
            values |= profile.values(role)
        return values

    def configured(self, profile: Profile) -> Self:
        """Return the format with the profile's settings for reading; itself if there are none."""
        return self


_Any = TypeVar("_Any")


def named_profiles(*formats: object) -> tuple[str, ...]:
    """Return the names of all profiles that at least one of the formats knows, those that all know first."""
    own = (name for found in formats if isinstance(found, TunableFormat) for name in found.alternatives)
    return tuple(dict.fromkeys((*PROFILES, *own)))


def profile_of(backend: object, name: str | Settings) -> Profile:
    """Return a profile by name, one that all formats know or one of the format's own; return settings unchanged.

    Raises
    ------
    UsageError
        When the format has no such profile.
    """
    if isinstance(name, Settings) or name in PROFILES:
        return name
    if isinstance(backend, TunableFormat) and name in backend.alternatives:
        return backend.alternative(name)
    raise unknown_name("profile", name, named_profiles(backend))


def search_space(backend: object) -> SearchSpace:
    """Return the tunable parameters of a format by role; empty if it has none."""
    return backend.search_space() if isinstance(backend, TunableFormat) else {}


def configured(backend: _Any, profile: Profile) -> _Any:
    """Return a format with the profile's settings for reading; itself if there are none."""
    return backend.configured(profile) if isinstance(backend, TunableFormat) else backend
