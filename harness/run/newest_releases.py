"""The newest known releases of libraries that read and write archives; runs record them with the installed ones."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import msgspec


class Release(TypedDict):
    """A release of a library.

    Attributes
    ----------
    version, released : str
        Version number and release date, such as ``2026-10-27``.
    python : str
        The oldest Python version that this release supports.
    """

    version: str
    released: str
    python: str


class Newest(TypedDict):
    """The newest known releases on a date (`as_of`), by library name."""

    as_of: str
    libraries: dict[str, Release]


def newest() -> Newest:
    """Return the contents of ``newest.toml``."""
    return msgspec.convert(tomllib.loads(Path(__file__).with_name("newest.toml").read_text()), Newest)


def is_older(version: str, than: str) -> bool:
    """Return whether a version precedes another, comparing the numbers in both."""
    one, other = (tuple(map(int, re.findall(r"\d+", text))) for text in (version, than))
    return one < other


def behind(known: Newest, installed: Mapping[str, str | None]) -> list[str]:
    """Return a sentence for each library whose known newest release is older than the installed one."""
    return [
        f"{name} {release['version']} in harness/run/newest.toml is behind {installed[name]}, which is installed here."
        for name, release in known["libraries"].items()
        if is_older(release["version"], installed.get(name) or "0")
    ]
