"""Whether a disk can hold what a run writes on it for a while."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.measure.config import TWIN
from harness.measure.directories import Directory
from harness.measure.subject import Arm, Subject
from harness.workload import SizeAccess, StreamAccess, WriteAccess


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a run may need of the disk at one time, and what there is; in bytes.

    Attributes
    ----------
    archives : int
        The archives of the trace that needs most, were no format to compress it, and the largest sample of a write.
    largest : str
        That trace; empty for a run without any.
    each, count : int
        Bytes of one such archive, and how many there are.
    copy : int
        The packed and the restored copy of the largest result directory.
    free : int
        Bytes that are free.
    """

    archives: int
    largest: str
    each: int
    count: int
    copy: int
    free: int

    def __str__(self) -> str:
        parts = []
        if self.archives:
            parts.append(
                f"archives need at most {_shown(self.archives)} at a time ({self.count} of {self.largest}, "
                f"{_shown(self.each)} each, and a sample of writing)"
            )
        if self.copy:
            parts.append(f"copies of a result directory at most {_shown(self.copy)}")
        return f"Disk: {' and '.join(parts) or 'nothing is needed'}, {_shown(self.free)} are free."


def space(folder: Path, subjects: Sequence[Subject], arms: Sequence[Arm], directories: Sequence[Directory]) -> Space:
    """Reckon what a run may need of the disk.

    Parameters
    ----------
    folder : Path
        Where archives and copies go; need not exist.
    subjects : sequence of Subject
        Traces, of which the archives of one at a time are there.
    arms : sequence of Arm
        Each has an archive, but for the twin of the baseline.
    directories : sequence of Directory
        Result directories, of which a copy of one at a time is there.

    Returns
    -------
    Space
        An upper bound: how far a trace compresses is not known before it was written.
    """
    count = sum(arm.label != TWIN for arm in arms)
    needs = [(count * s.manifest.nbytes + _sample(s), s) for s in subjects]
    archives, subject = max(needs, key=lambda need: need[0], default=(0, None))
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return Space(
        archives=archives,
        largest="" if subject is None else f"{subject.label}{f' of {n} residues' if (n := subject.n_res) else ''}",
        each=0 if subject is None else subject.manifest.nbytes,
        count=count,
        # While a copy is brought back, both its packed and its restored files are there.
        copy=2 * max((directory.size_bytes for directory in directories), default=0),
        free=shutil.disk_usage(existing).free,
    )


def _shown(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"


def _sample(subject: Subject) -> int:
    """Return the bytes of the largest archive that a sample of writing makes."""
    written: list[tuple[tuple[str, str], ...]] = []
    for _, access in subject.plans:
        if isinstance(access, WriteAccess | StreamAccess):
            written += access.tensors
        elif isinstance(access, SizeAccess) and access.tensors is not None:
            written.append(access.tensors)
    return max((sum(subject.manifest[source].nbytes for _, source in names) for names in written), default=0)


def require_space(
    folder: Path, subjects: Sequence[Subject], arms: Sequence[Arm], directories: Sequence[Directory]
) -> Space:
    """Refuse a run whose archives or copies may not fit on the disk; parameters as for `space`.

    Returns
    -------
    Space
        What is needed and what there is.

    Raises
    ------
    UsageError
        When there is less space free than is needed at one time.
    """
    found = space(folder, subjects, arms, directories)
    if found.archives > found.free:
        raise UsageError(
            f"{found.count} archives of {found.largest} may take {_shown(found.archives)} with what is written "
            f"beside them, {folder} has {_shown(found.free)} free: choose fewer formats, fewer layers with "
            "--trace-bytes, a smaller trace or another --out."
        )
    if found.copy > found.free:
        raise UsageError(
            f"A copy of the largest result directory may take {_shown(found.copy)}, {folder} has "
            f"{_shown(found.free)} free: choose a smaller one or another --out."
        )
    return found
