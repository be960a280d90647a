"""Write a trace as an archive, read it back, and keep it only if it is correct."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from harness.errors import HarnessError
from harness.formats.archive import remove, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace, open_archived
from harness.formats.base import Format, Profile
from harness.formats.opening import detect
from harness.formats.placing import exchange, hidden
from harness.trace.manifest import Manifest
from harness.trace.stream import Trace

Check = Callable[[Trace], list[str]]
"""Says what is wrong with an archive that was written and is read again: phrases, none where nothing is."""

_MADE = ".in-place-"


class Mode:
    """A mode of ``harness convert`` that changes the trace first; an instance is registered in ``harness.modes``.

    Attributes
    ----------
    name, help : str
        As ``--mode`` takes it, and what it does.
    options : tuple of str
        Options that `add_arguments` adds; they are refused with other modes.
    checked : str
        Additional check of the archive, in words for the last line.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    checked: ClassVar[str]

    def add_arguments(self, parser: argparse._ActionsContainer) -> None:
        """Add the options of this mode."""

    def change(self, arguments: argparse.Namespace) -> Callable[[Trace], tuple[Trace, Check]]:
        """Read the options; return a function from a trace to the trace to write and a check of the archive.

        Raises
        ------
        UsageError
            If an option is invalid.
        """
        raise NotImplementedError


def convert(
    trace: Trace, backend: Format, destination: Path, profile: Profile | str = "tuned", *, check: Check | None = None
) -> Manifest:
    """Write a trace and verify the archive bit for bit.

    Parameters
    ----------
    trace : Trace
        What to write.
    backend : Format
        The format.
    destination : Path
        The archive's name; must not exist.
    profile : Profile or str
        The format's settings, which may be a name of its own.
    check : callable, optional
        What the archive has to pass besides, such as the bounds that a lossy trace promised.

    Returns
    -------
    Manifest
        Of the archive.

    Raises
    ------
    HarnessError
        When the archive is not what was written, or does not pass the check; it is removed then. Also from
        `write_archive`.
    """
    manifest = write_archive(trace, backend, destination, profile)
    try:
        problems = verify_archive(destination, backend, own=True) or (check(ArchiveTrace(destination)) if check else [])
    except BaseException:
        remove(destination)
        raise
    if problems:
        remove(destination)
        raise HarnessError(f"The converted archive differs from what was written, and was removed: {problems[0]}")
    return manifest


def convert_in_place(
    archive: Path, profile: Profile | str, change: Callable[[Format, Manifest], Format] | None = None
) -> Manifest:
    """Store an archive in other settings of its format, under its name; killed at any moment, nothing of it is lost.

    The new one is written beside it and verified, and takes its name when it is on disk.

    Parameters
    ----------
    archive : Path
        Of any format; every byte is checked before.
    profile : Profile or str
        The settings.
    change : callable, optional
        Takes its format and manifest, and returns the format to write it with, such as one that leaves tensors plain:
        what an archive leaves plain, it does not state.

    Returns
    -------
    Manifest
        Of the archive, with the digests that it had.

    Raises
    ------
    UsageError
        When the format has no such settings.
    HarnessError
        As `convert`, and where the system cannot exchange two names at once; the archive is then as it was.
    """
    path = archive.resolve()
    trace = open_archived(path)
    folder = hidden(path, _MADE)
    folder.mkdir()
    made = folder / path.name
    try:
        backend = detect(path)
        manifest = convert(trace, change(backend, trace.manifest) if change else backend, made, profile)
        if manifest.digests != trace.manifest.digests:
            raise HarnessError(f"{archive} was left as it was: what was written has other values.")
        exchange(made, path)
    finally:
        remove(folder)
    return manifest
