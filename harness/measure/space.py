"""Whether a disk can hold what a run writes on it for a while."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.measure.directories import Directory
from harness.measure.subject import Subject


def require_space(folder: Path, subjects: Sequence[Subject], arms: int, directories: Sequence[Directory]) -> None:
    """Refuse a run whose archives or copies may not fit on the disk.

    Parameters
    ----------
    folder : Path
        Where they go.
    subjects : sequence of Subject
        Traces, of which the archives of one at a time are there.
    arms : int
        Archives of each, at most.
    directories : sequence of Directory
        Result directories, of which a copy of one at a time is there.

    Raises
    ------
    UsageError
        When there is less space free than the largest of them may take.
    """
    archives = max((subject.manifest.nbytes for subject in subjects), default=0) * (arms + 1)
    # While a copy is brought back, both its packed and its restored files are there.
    copy = 2 * max((directory.size_bytes for directory in directories), default=0)
    free = shutil.disk_usage(folder).free
    for need, what, instead in (
        (archives, "The archives of the largest trace", "choose fewer formats, a smaller trace or"),
        (copy, "A copy of the largest result directory", "choose a smaller one or"),
    ):
        if need > free:
            raise UsageError(
                f"{what} may take {need / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free: {instead} another --out."
            )
