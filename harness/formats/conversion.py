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
"""Returns what is wrong with an archive that was written and is read again, as phrases; none if it is correct."""

_MADE = ".in-place-"


class Mode:
    """A mode of ``harness convert`` that changes the trace first; an instance is registered in ``harness.modes``.

    Attributes
    ----------
    name, help : str
        Value of ``--mode``, and what the mode does.
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
        The format's settings, or a profile by name, which may be one of the format's own.
    check : callable, optional
        An additional check of the archive, such as of the error bounds of a lossy trace.

    Returns
    -------
    Manifest
        Of the archive.

    Raises
    ------
    HarnessError
        When the archive differs from the trace, or does not pass the check; it is then removed. Also from
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
    """Rewrite an archive with other settings of its format, under its name; no data is lost if the process is killed.

    The new archive is written next to the old one, is verified, and takes its name when it is on disk.

    Parameters
    ----------
    archive : Path
        Of any format; every byte is checked first.
    profile : Profile or str
        The settings.
    change : callable, optional
        Takes the format and manifest of the archive, and returns the format to write with, such as one that leaves
        tensors plain: an archive does not state which tensors it leaves plain.

    Returns
    -------
    Manifest
        Of the new archive, with the digests of the old one.

    Raises
    ------
    UsageError
        When the format has no such settings.
    HarnessError
        As from `convert`, and if the system cannot exchange two names atomically; the archive is then unchanged.
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
