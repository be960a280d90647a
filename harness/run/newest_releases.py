"""The newest releases that were known of libraries that read and write archives; a run records them beside its own."""

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
        Its number and its day, such as ``2026-10-27``.
    python : str
        The oldest Python that gets it.
    """

    version: str
    released: str
    python: str


class Newest(TypedDict):
    """What was known on a day, by the name of the library."""

    as_of: str
    libraries: dict[str, Release]


def newest() -> Newest:
    """Return what ``newest.toml`` holds."""
    return msgspec.convert(tomllib.loads(Path(__file__).with_name("newest.toml").read_text()), Newest)


def is_older(version: str, than: str) -> bool:
    """Say whether a version comes before another, by its numbers."""
    one, other = (tuple(map(int, re.findall(r"\d+", text))) for text in (version, than))
    return one < other


def behind(known: Newest, installed: Mapping[str, str | None]) -> list[str]:
    """Name, in a sentence each, what is older in what was known than in what is installed."""
    return [
        f"{name} {release['version']} in harness/run/newest.toml is behind {installed[name]}, which is installed here."
        for name, release in known["libraries"].items()
        if is_older(release["version"], installed.get(name) or "0")
    ]
