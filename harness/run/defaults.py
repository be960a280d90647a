"""Defaults of a run: available formats, traces and suites, and a configuration of them and the given values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness import registry
from harness.capacity import capacity
from harness.formats.base import load_format
from harness.formats.describing import ReadsWhole
from harness.run.config import RunConfig
from harness.suite import load_suite
from harness.trace.sources import find_source

Tell = Callable[[str], None]
"""Takes a sentence that states what is left out, and why."""


def default_formats(tell: Tell) -> tuple[str, ...]:
    """Return the formats that a run includes by default, without those that cannot be used here."""
    found = []
    for listed in registry.listing("formats"):
        if listed.plugin is not None and listed.plugin.standing != "default":
            continue
        if listed.missing:
            reason = listed.missing if listed.plugin is None else f"The format {listed.name!r} {listed.missing}."
            tell(f"Left out: {reason}")
        else:
            found.append(listed.name)
    return tuple(found)


def usable_traces(asked: Sequence[str], tell: Tell) -> tuple[str, ...]:
    """Return the traces of a preset, without those whose data are missing here."""
    found = []
    for text in asked:
        if missing := find_source(text)[0].missing():
            tell(f"Left out: the trace {text} {missing}.")
        else:
            found.append(text)
    return tuple(found)


def all_suites() -> tuple[str, ...]:
    """Return the names of all suites that are not optional, in the order of reports (`order` of a suite)."""
    found = sorted(map(load_suite, registry.names("suites")), key=lambda suite: suite.order)
    return tuple(suite.name for suite in found if not suite.optional)


def complete(values: Mapping[str, Any]) -> RunConfig:
    """Make a configuration from the fields of a preset, overridden by the given values.

    By default, the budget of threads is every processor that this process may use. The byte limit of a parallel sample
    (``parallel_bytes``) only matters to formats that read a complete tensor for each read, so it is None without such
    a format. For traces of files, plans name the arrays that are read only as part of the complete trace
    (``name_rest``), and draw arrays by their bytes (``by_bytes``).
    """
    sources = map(find_source, values["traces"])
    of_files = any(source.paths(parameters) for source, parameters in sources)
    options = dataclasses.replace(values["options"], name_rest=of_files, by_bytes=of_files)
    if not any(isinstance(load_format(name), ReadsWhole) for name in values["formats"]):
        options = dataclasses.replace(options, parallel_bytes=None)
    return RunConfig(**{"threads": capacity().cores_usable, **values, "options": options})
