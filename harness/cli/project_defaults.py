"""A project's usual run: ``harness.toml`` of the current folder, or a table of its ``pyproject.toml``.

Such a file may be a stranger's, as that of a cloned checkout. It gives numbers, names of installed plug-ins and maps of
arrays, and names no module and no path. Only commands that take somebody's arrays or begin a run look for it.
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
"""Of ``run``, what a file may give: none that takes a path, an address, or what is imported because it was typed."""

_LOCAL = ("readers", "cache")
"""Of these, what a run that reads from a store has no use for."""


class _Tables(TypedDict, total=False):
    run: dict[str, str | int | list[str | int]]
    map: dict[str, str]


class UsualRun(NamedTuple):
    """What a project's file gives."""

    where: str  # The file; empty, as all else, where there is none.
    options: Mapping[str, str]  # Of ``run``, by name, as they would be typed.
    rules: tuple[str, ...]  # What arrays are, as ``--map`` takes it.


def usual_run() -> UsualRun:
    """Read the file of the current folder.

    Raises
    ------
    UsageError
        When it gives what it may not, or both files are there.
    """
    found = []
    for path, under in ((Path("harness.toml"), ()), (Path("pyproject.toml"), _TABLE)):
        text = read_bytes(path) if path.is_file() else b""
        if text and all(name.encode() in text for name in under):  # most files of other tools are left alone
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
    """Give options of ``run`` that were not typed the values of the usual run; return a sentence that names them."""
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
