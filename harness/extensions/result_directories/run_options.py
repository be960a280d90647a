"""What a run asks of result directories: its part of ``run.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from harness.documents import Figure
from harness.records import CellKey
from harness.run.config import RunConfig
from harness.run.measurement import part

NAME = "result-directories"
ACCESS = "result_directory"
"""The access of a sample that holds the size of a result directory; its format is one of `MODES`."""

SUITE = "size"
"""The question that such samples answer."""

VANILLA: Final = "vanilla"
DirectoryMode = Literal["vanilla", "slim", "slim-plain-none", "minimal"]
DIRECTORY_MODES: tuple[DirectoryMode, ...] = (VANILLA, "slim", "slim-plain-none", "minimal")
"""A result directory as its program wrote it, slimmed without loss so that tools go on reading it or have to restore it
first, and slimmed within a bound."""


@dataclass(frozen=True, kw_only=True)
class AskedDirectories:
    """The part of ``run.json``."""

    directories: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]  # By path.
    bound: Figure | None = None  # The largest error that slimming in mode minimal may make, in Angstrom; None for none.
    # What is measured of each; runs of earlier versions, which do not say, have three.
    modes: tuple[DirectoryMode, ...] = (VANILLA, "slim", "minimal")


def asked_of(config: RunConfig) -> AskedDirectories | None:
    """Return what a run asks; None where it asks for none."""
    return part(config, NAME, AskedDirectories)


def directory_key(label: str, mode: str, suite: str = SUITE) -> CellKey:
    """Return the key of the one sample of a directory in a mode."""
    return CellKey(suite, ACCESS, label, None, mode, "", "", "main", 1)
