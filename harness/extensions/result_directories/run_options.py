"""Options of a run for result directories: its part of ``run.json``."""

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
"""Access of samples with the size of a result directory; their format is one of `DIRECTORY_MODES`."""

SUITE = "size"
"""Suite of such samples."""

VANILLA: Final = "vanilla"
DirectoryMode = Literal["vanilla", "slim", "slim-plain-none", "minimal"]
DIRECTORY_MODES: tuple[DirectoryMode, ...] = (VANILLA, "slim", "slim-plain-none", "minimal")
"""Modes of a result directory: as its program wrote it; slimmed without loss, so that tools still read it; slimmed
without loss, to be restored before tools read it; slimmed within a bound."""


@dataclass(frozen=True, kw_only=True)
class AskedDirectories:
    """The part of ``run.json``."""

    directories: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]  # By path.
    bound: Figure | None = None  # Largest allowed error of mode minimal, in Angstrom; None if not given.
    # Modes measured for each directory; runs of earlier versions, which do not record them, have these three.
    modes: tuple[DirectoryMode, ...] = (VANILLA, "slim", "minimal")


def asked_of(config: RunConfig) -> AskedDirectories | None:
    """Return the part of a run's configuration; None if it has no result directories."""
    return part(config, NAME, AskedDirectories)


def directory_key(label: str, mode: str, suite: str = SUITE) -> CellKey:
    """Return the key of the only sample of a directory in a mode."""
    return CellKey(suite, ACCESS, label, None, mode, "", "", "main", 1)
