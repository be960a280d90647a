"""Profile files: named settings of one or more formats, found by ``harness tune`` or written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from harness.documents import decode_toml
from harness.errors import HarnessError, UsageError
from harness.files import read_bytes
from harness.formats.base import PROFILES, Format, load_format
from harness.formats.settings import Settings, TunableFormat, Value, search_space
from harness.trace.schema import Role

VERSION = 1

_MOST = 1 << 20  # bytes of a file; a hundred formats need far less
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class _Origin:
    """Origin of the values, for human readers only."""

    command: Any = None
    trace: Any = None
    n_res: Any = None
    mix: Any = None
    sample: Any = None


@dataclass(frozen=True, kw_only=True)
class _Document:
    """Content of the file: values by format, role and parameter name."""

    version: int
    name: str
    formats: dict[str, dict[str, dict[str, Any]]]
    origin: _Origin = field(default_factory=_Origin)


@dataclass(frozen=True)
class ProfileFile:
    """A profile that is not built in."""

    name: str  # The ``profile`` column of records.
    text: str  # Text of the file, unchanged; `parse_profile_file` reads it again.
    settings: tuple[Settings, ...]  # One for each format that the file names.

    def of(self, backend: Format) -> Settings | None:
        """Return the settings for a format; None when the file has none."""
        return next((found for found in self.settings if found.format == backend.name), None)


def read_profile_file(path: Path) -> ProfileFile:
    """Read a profile file.

    Raises
    ------
    UsageError
        When the file cannot be read, or as from `parse_profile_file`.
    """
    try:
        text = read_bytes(path, _MOST).decode()
    except OSError as error:
        raise UsageError(f"The profile file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The profile file {path} is not TOML: {error}.") from error
    return parse_profile_file(text, f"the profile file {path}")


def parse_profile_file(text: str, where: str) -> ProfileFile:
    """Parse the text of a profile file.

    Parameters
    ----------
    text : str
        TOML: ``version``, ``name``, optionally a table ``origin``, and a table ``formats.FORMAT.ROLE`` for each role.
    where : str
        Name of the text in messages.

    Returns
    -------
    ProfileFile
        With valid formats, roles, keys and values only.

    Raises
    ------
    UsageError
        When a part of the text is invalid; the message names that part.
    """
    begin = where[0].upper() + where[1:]
    found = decode_toml(text.encode(), _Document, begin, mend="write what harness tune writes", error=UsageError)
    if found.version != VERSION:
        raise UsageError(f"{begin} has version {found.version}; this reader knows {VERSION}.")
    if not _NAME.fullmatch(found.name) or found.name in PROFILES:
        known = ", ".join(PROFILES)
        raise UsageError(
            f"In {where}, name is {found.name!r}; give letters, digits, '.', '_' and '-', and none of {known}."
        )
    if not found.formats:
        raise UsageError(f"{begin} has settings for no format; add a table [formats.FORMAT.ROLE].")
    settings = tuple(_settings(found.name, key, roles, where) for key, roles in found.formats.items())
    return ProfileFile(found.name, text, settings)


def _settings(profile: str, key: str, roles: dict[str, dict[str, Any]], where: str) -> Settings:
    """Check the file's values for one format, and return them as settings."""
    try:
        backend = load_format(key)
    except HarnessError as error:
        raise UsageError(f"In {where}, formats: {error}") from error
    space = search_space(backend)
    if not (space and isinstance(backend, TunableFormat)):
        raise UsageError(f"In {where}, the format {key!r} has nothing that could be chosen: leave it out.")
    found: list[tuple[Role, tuple[tuple[str, Value], ...]]] = []
    for role, values in roles.items():
        _require([role], [role.value for role in space], f"role of {key}", where)
        parameters = {parameter.name: parameter for parameter in space[Role(role)]}
        _require(values.keys() - backend.withdrawn, parameters, f"key of formats.{key}.{role}", where)
        kept: dict[str, Value] = {}
        for parameter, value in values.items():
            if parameter in parameters:
                refusal = parameters[parameter].refusal(value)
                kept[parameter] = value
            else:
                as_it_is, advice = backend.withdrawn[parameter]
                refusal = "" if value == as_it_is else advice
            if refusal:
                raise UsageError(f"In {where}, formats.{key}.{role}: {parameter} is {value!r}; {refusal}.")
        found.append((Role(role), tuple(sorted(kept.items()))))
    return Settings(profile=profile, format=backend.name, why=f"profile file {profile}", chosen=tuple(sorted(found)))


def _require(keys: Iterable[str], known: Iterable[str], kind: str, where: str) -> None:
    for key in keys:
        if key not in known:
            raise UsageError(f"In {where}, there is no {kind} named {key!r}; choose among {', '.join(known)}.")


def profile_text(
    name: str, origin: Mapping[str, Value], formats: Mapping[str, Mapping[Role, Mapping[str, Value]]]
) -> str:
    """Return the text of a profile file for `parse_profile_file`, the same for the same arguments.

    Parameters
    ----------
    name : str
        Of the profile.
    origin : mapping of str to str or int
        Where the values come from: ``command``, ``trace``, ``n_res``, ``mix``, ``sample``.
    formats : mapping
        Values by format, role and name of the parameter.
    """
    roles = {name: {role.value: values for role, values in roles.items()} for name, roles in formats.items()}
    return tomli_w.dumps({"version": VERSION, "name": name, "origin": dict(origin), "formats": roles})
