"""Write a trace as an archive, read it back, and leave it only if it is what it should be."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.extensions.lossy.check import check_loss
from harness.formats.archive import remove, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import Format, Profile
from harness.trace.schema import Manifest
from harness.trace.stream import Trace


def convert(
    trace: Trace, backend: Format, destination: Path, profile: Profile = "tuned", *, source: Trace | None = None
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
    profile : {"seed", "tuned", "matched"}
        The format's settings.
    source : Trace, optional
        What a lossy trace was made from; the archive is then also compared with it, against the promised bounds.

    Returns
    -------
    Manifest
        Of the archive.

    Raises
    ------
    HarnessError
        When the archive is not what was written, or not within its bounds; it is removed then. Also from
        `write_archive`.
    """
    manifest = write_archive(trace, backend, destination, profile)
    try:
        problems = verify_archive(destination, backend)
        if not problems and source is not None:
            problems = check_loss(source, ArchiveTrace(destination))
    except BaseException:
        remove(destination)
        raise
    if problems:
        remove(destination)
        raise HarnessError(f"The converted archive was not what was written, and was removed: {problems[0]}")
    return manifest
