"""Find plug-ins (backends, suites, trace sources, importers, models) by entry point or by ``module:attribute``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from harness.errors import UsageError, unknown_name

Group = Literal["backends", "suites", "traces", "importers", "models"]
_KIND = {"backends": "format", "suites": "suite", "traces": "trace", "importers": "kind", "models": "model"}


@dataclass(frozen=True)
class Listed:
    """A registered name, with what is missing to use it.

    Attributes
    ----------
    name : str
        The registered name.
    plugin : object or None
        What was loaded; None when it could not be.
    missing : str
        Why it cannot be used and how to install what lacks; empty when it can.
    """

    name: str
    plugin: Any
    missing: str


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=f"harness.{group}")}
    if not found:
        raise UsageError("The harness is not installed: run 'pip install -e .' in its folder first.")
    return found


def names(group: Group) -> list[str]:
    """List the registered names of a group."""
    return list(_points(group))


def load(group: Group, name: str) -> Any:
    """Load one plug-in.

    Parameters
    ----------
    group : {"backends", "suites", "traces", "importers", "models"}
        Where to look.
    name : str
        A registered name, or ``module:attribute`` for one that is not registered.

    Returns
    -------
    object
        The attribute that the entry point names.

    Raises
    ------
    UsageError
        When there is no such name, or what it names cannot be imported.
    """
    kind = _KIND[group]
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
            raise UsageError(f"The {kind} {name!r} cannot be imported: {error}.") from error
    if name not in _points(group):
        raise unknown_name(kind, name, _points(group))
    try:
        return _points(group)[name].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"The {kind} {name!r} cannot be imported: {error}.") from error


def listing(group: Group) -> list[Listed]:
    """List every plug-in of a group; one that fails to load is listed with the reason."""
    rows = []
    for name in names(group):
        try:
            plugin = load(group, name)
            rows.append(Listed(name, plugin, getattr(plugin, "missing", lambda: "")()))
        except UsageError as error:
            rows.append(Listed(name, None, str(error)))
    return rows
