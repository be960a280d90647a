"""Defaults of a project's runs: ``harness.toml`` in the current folder, or a table of its ``pyproject.toml``.

Such a file may be untrusted, as in a cloned checkout. It can set numbers, names of installed plug-ins and maps of
arrays, but no module and no path. Only commands that read the user's arrays or start a run read it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from harness.documents import decode_toml
from harness.errors import UsageError, unknown_name
from harness.files import read_bytes

_TABLE = ("tool", "trace-format-harness")
_OPTIONS = (
    "preset", "formats", "suites", "sizes", "trace-bytes", "profile", "cache", "rounds", "threads", "decoded-cache",
    "seed", "baseline", "timeout", "readers", "workers", "executors",
)  # fmt: skip
"""Options of ``run`` that a file may set: none with a path, an address, or a plug-in as ``module:attribute``."""

_LOCAL = ("readers", "cache")
"""Options of these that do not apply to a run that reads from a store."""


class _Tables(TypedDict, total=False):
    run: dict[str, str | int | list[str | int]]
    map: dict[str, str]


class UsualRun(NamedTuple):
    """Defaults from a project's file."""

    where: str  # The file; empty, like the other fields, if there is none.
    options: Mapping[str, str]  # Options of ``run``, by name, as they would be typed.
    rules: tuple[str, ...]  # Roles and axes of arrays, as values of ``--map``.


def usual_run() -> UsualRun:
    """Read the defaults from the file in the current folder.

    Raises
    ------
    UsageError
        If it sets something that it may not, or both files set defaults.
    """
    found = []
    for path, under in ((Path("harness.toml"), ()), (Path("pyproject.toml"), _TABLE)):
        text = read_bytes(path) if path.is_file() else b""
        if text and all(name.encode() in text for name in under):  # do not parse most files without the table
            mend = "write [run] with lines such as rounds = 10, and [map] with 'attn*' = 'attention:head,query,key'"
            tables = decode_toml(text, _Tables, path, mend=mend, error=UsageError, under=under)
            options = {name: _typed(name, value, path) for name, value in tables.get("run", {}).items()}
            rules = tuple(f"{pattern}={rule}" for pattern, rule in tables.get("map", {}).items())
            found += [UsualRun(str(path), options, rules)] if tables else []
    if len(found) > 1:
        raise UsageError("harness.toml and pyproject.toml both set defaults of a run: keep one of them.")
    return found[0] if found else UsualRun("", {}, ())


def _typed(name: str, value: Any, path: Path) -> str:
    if name not in _OPTIONS:
        raise unknown_name(f"option for [run] in {path}", name, _OPTIONS)
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if ":" in text:
        raise UsageError(f"{path} takes numbers and names of installed plug-ins: type --{name} {text} if you trust it.")
    return text


def fill_in(arguments: argparse.Namespace, types: Mapping[str, Callable[[str], Any] | None]) -> str:
    """Set options of ``run`` that were not typed from the project's file; return a sentence that names them."""
    usual, said = usual_run(), []
    for name, text in usual.options.items():
        option = name.replace("-", "_")
        if name in _LOCAL and arguments.store:
            continue
        if getattr(arguments, option) is None:
            try:
                setattr(arguments, option, (types[option] or str)(text))
            except UsageError as error:
                raise UsageError(f"[run] in {usual.where}: {error}") from error
            said.append(f"--{name} {text}")
    return f"From {usual.where}: {' '.join(said)}." if said else ""
