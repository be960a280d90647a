"""Disk space check: whether a disk can hold the archives and copies that a run writes temporarily."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.run.config import RunConfig
from harness.run.estimate import MARGIN, estimate, sampled
from harness.run.subject import Arm, Subject
from harness.trace.first_layers import count_layers, first_layer_bytes
from harness.workload import SizeAccess, WriteAccess

_SAMPLE = 3  # sizes of an estimate's sample: the sample itself, one archive of it, and the same again as reserve


@dataclass(frozen=True, kw_only=True)
class Space:
    """Disk space that a run needs at one time, and free space, in bytes."""

    archives: int  # The archives of the trace that needs most, and the largest sample of a write.
    largest: str  # Name of that trace; empty for a run without traces.
    # Bytes of that trace, equal to those of an archive without compression, and the number of archives.
    each: int
    count: int
    copy: int  # Copies made by measurements of extensions.
    free: int  # Free space.
    # Upper bound of `archives`, without any compression, if `archives` is an estimate; None if it is the bound itself.
    bound: int | None = None
    # Number of layers of that trace, and its bytes with only the first layer.
    layers: int = 0
    least: int = 0
    of_files: bool = False  # Whether that trace comes from files (source ``file``).

    def __str__(self) -> str:
        parts = []
        if self.archives:
            need, size = ("at most", "each") if self.bound is None else ("about", "each before compression")
            parts.append(
                f"archives need {need} {_shown(self.archives)} at a time ({self.count} of {self.largest}, "
                f"{_shown(self.each)} {size}, and a sample of writing{self._from})"
            )
        if self.copy:
            parts.append(f"copies at most {_shown(self.copy)}")
        return f"Disk: {' and '.join(parts) or 'nothing is needed'}, {_shown(self.free)} are free."

    @property
    def _from(self) -> str:
        return "" if self.bound is None else f"; estimated from the first layer, with {MARGIN - 1:.0%} to spare"

    @property
    def _smaller(self) -> str:
        """Suggestions for a run that fits, depending on the trace."""
        found = ["fewer formats"]
        fits = _round_down(self.free * self.each // self.archives)
        if self.layers > 1 and self.least <= fits:
            found.append(f"fewer layers with --trace-bytes {fits}")
        found.append("fewer arrays with --map 'NAME=skip'" if self.of_files else "a smaller trace")
        return f"{', '.join(found)} or another --out."

    def require(self, folder: Path) -> None:
        """Raise `UsageError` if the folder's disk cannot hold the run."""
        has = f"{folder} has {_shown(self.free)} free: choose"
        if self.archives > self.free:
            takes = "may take" if self.bound is None else "take about"
            raise UsageError(
                f"{self.count} archives of {self.largest} {takes} {_shown(self.archives)} with what is written beside "
                f"them{self._from}, {has} {self._smaller}"
            )
        if self.copy > self.free:
            copy = f"A copy of what is measured besides may take {_shown(self.copy)}"
            raise UsageError(f"{copy}, {has} less of it or another --out.")

    def to_document(self) -> dict[str, Any]:
        """Return plain values for the record of a run; ``basis`` is ``bound`` or ``estimate``."""
        return {
            "basis": "bound" if self.bound is None else "estimate",
            "archives_bytes": self.archives,
            "archives_bound_bytes": self.archives if self.bound is None else self.bound,
            "copy_bytes": self.copy,
            "free_bytes": self.free,
        }


def space(folder: Path, subjects: Sequence[Subject], arms: Sequence[Arm], copy: int = 0) -> Space:
    """Compute the disk space that a run needs if no format compresses.

    Parameters
    ----------
    folder : Path
        Folder of archives and copies; need not exist.
    subjects : sequence of Subject
        Traces; only the archives of one trace exist at a time.
    arms : sequence of Arm
        Each arm has an archive, except those that share another arm's.
    copy : int
        Bytes that copies of measurements take at one time.

    Returns
    -------
    Space
        An upper bound.
    """
    count = sum(not arm.shares for arm in arms)
    free = shutil.disk_usage(_existing(folder)).free
    if not subjects:
        return Space(archives=0, largest="", each=0, count=count, copy=copy, free=free)
    return _needed(max(subjects, key=lambda subject: _bound(subject, count)), count, copy=copy, free=free)


def _needed(subject: Subject, count: int, estimated: int | None = None, **about: int) -> Space:
    bound, of = _bound(subject, count), f" of {subject.n_res} residues" if subject.n_res else ""
    return Space(
        archives=bound if estimated is None else estimated,
        largest=subject.label + of,
        each=subject.manifest.nbytes,
        count=count,
        bound=None if estimated is None else bound,
        layers=count_layers(subject.manifest),
        least=first_layer_bytes(subject.manifest),
        of_files=subject.text.startswith("file:"),
        **about,
    )


def require_space(
    folder: Path,
    subjects: Sequence[Subject],
    arms: Sequence[Arm],
    copy: int = 0,
    *,
    timeout: float = RunConfig.timeout,
    tell: Callable[[str], None] = lambda text: None,
) -> Space:
    """Raise `UsageError` if the archives or copies of a run do not fit on the disk.

    If the upper bound of `space` does not fit, estimate the archives: write a sample of each trace that may not fit in
    every format, next to the folder, and remove it.

    Parameters
    ----------
    folder, subjects, arms, copy
        As for `space`.
    timeout : float
        Seconds after which a format that writes a sample counts as hung.
    tell : callable
        Called with a sentence if an estimate is made, which may take minutes.

    Returns
    -------
    Space
        Space needed and free space.

    Raises
    ------
    UsageError
        When the free space is less than the run needs at one time.
    KeyboardInterrupt
        After Ctrl-C, once the sample is removed.
    """
    found = space(folder, subjects, arms, copy)
    free = found.free
    large = [subject for subject in subjects if _bound(subject, found.count) > free]
    if large and copy <= free and all(sampled(each) and _may_fit(each, free) for each in large):
        tell(
            f"Disk: archives need at most {_shown(found.archives)} at a time, {_shown(free)} are free: estimate "
            "from a sample what they take."
        )
        scratch = _existing(folder) / f".{folder.absolute().name}-sample"
        needs = [estimate(subject, arms, scratch, timeout) + _sample(subject) for subject in large]
        most = max(range(len(large)), key=needs.__getitem__)
        found = _needed(large[most], found.count, needs[most], copy=copy, free=free)
    found.require(folder)
    return found


def _bound(subject: Subject, count: int) -> int:
    return count * subject.manifest.nbytes + _sample(subject)


def _may_fit(subject: Subject, free: int) -> bool:
    """Return whether the raw archive, which never compresses, and the sample fit; otherwise an estimate is useless."""
    sample = sum(spec.nbytes for spec in sampled(subject))
    return subject.manifest.nbytes + _sample(subject) <= free and _SAMPLE * sample <= free


def _round_down(count: int) -> int:
    """Round a number down to its first two digits."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return count // unit * unit


def _existing(folder: Path) -> Path:
    """Return the nearest existing parent folder, or the folder itself; new subfolders are on the same disk."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _shown(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"


def _sample(subject: Subject) -> int:
    """Return the bytes of the largest archive that a sample of a write or size access writes, without compression."""
    written: list[tuple[tuple[str, str], ...]] = []
    for _, access in subject.plans:
        if isinstance(access, WriteAccess):
            written += access.tensors
        elif isinstance(access, SizeAccess) and access.tensors is not None:
            written.append(access.tensors)
    return max((sum(subject.manifest[source].nbytes for _, source in names) for names in written), default=0)
