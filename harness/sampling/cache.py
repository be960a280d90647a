"""The page cache: evict an archive from it, bring it in, and see how much of it is there."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.capacity import capacity
from harness.errors import UsageError
from harness.formats.archive import archive_size, sync_archive
from harness.formats.seal import files_of
from harness.sampling.counters import fetched_bytes

COLD_BELOW = 0.01
"""An archive is cold when less than this part of its pages is resident."""

WARM_FROM = 0.99
"""An archive is warm when at least this part of its pages is resident."""

BESIDE_OTHERS = 0.25
"""Where the largest archive of a trace takes more than this part of memory, none is brought in whole to read a little.

In a round the formats take turns, so such archives would push each other out, and each sample would load its own again.
"""

_LITTLE = 0.5  # part of the largest archive that an access asks for, at most, for all to be warmed by reading
_STRAY = 128 << 10  # bytes that may be fetched again however little the first reading took: pages of other files
_READINGS = 3  # at most, of an archive, or of what an access asks for after it was read once
_MOUNTS = Path("/proc/self/mountinfo")
_PRIVATE = re.compile(r"^(\w*addr|\w*user\w*|\w*uid|\w*gid|group_id|domain|name|secret)=|/")  # of options of a mount
_MANY_FILES = 64
_MEMORY_FILESYSTEMS = ("tmpfs", "ramfs", "devtmpfs")
_PROVEN = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
"""Filesystems on a disk of this machine that keep data in the page cache and nowhere else."""


class Mount(NamedTuple):
    """The type of a filesystem, such as ``ext4``, and the options that it is mounted with, separated by commas."""

    kind: str = ""
    options: str = ""


def mount_of(path: Path) -> Mount:
    """Return how the filesystem that holds a path is mounted; empty where it cannot be told.

    Options that name folders, addresses or users are left out: they say nothing of speed, and are nobody's business.
    """
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return Mount()
    best, found = "", Mount()
    target = str(path.resolve())
    for line in lines:
        fields, _, rest = line.partition(" - ")
        own, (kind, *of_filesystem) = fields.split(), rest.split()
        point = own[4].encode().decode("unicode_escape")
        if (target == point or target.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            options = dict.fromkeys(",".join([own[5], *of_filesystem[1:]]).split(","))
            best, found = point, Mount(kind, ",".join(one for one in options if not _PRIVATE.search(one)))
    return found


def filesystem(path: Path) -> str:
    """Return the type of the filesystem that holds a path, such as ``ext4``; empty where it cannot be told."""
    return mount_of(path).kind


def require_evictable(folder: Path) -> None:
    """Refuse cold reads where eviction cannot work.

    Parameters
    ----------
    folder : Path
        Where archives will be.

    Raises
    ------
    UsageError
        On a filesystem that lives in memory, or on a system without ``posix_fadvise``.
    """
    kind = filesystem(folder)
    if kind in _MEMORY_FILESYSTEMS:
        raise UsageError(
            f"Cold reads cannot be measured on {kind} ({folder}), which keeps files in memory: "
            "choose --out on a disk, or --cache warm."
        )
    if not hasattr(os, "posix_fadvise"):
        raise UsageError("Cold reads need posix_fadvise, which this system lacks: use --cache warm.")


def cold_is_proven(folder: Path) -> bool:
    """Say whether an archive that is dropped from the page cache is known to come from the disk of this machine.

    A network filesystem, or one with a cache of its own as ZFS, may still have it in memory: such reads are
    ``lukewarm``. The folder need not exist.
    """
    return filesystem(folder) in _PROVEN


def evict(path: Path) -> None:
    """Drop an archive's pages from the page cache: sync first, for dirty pages stay, then ``POSIX_FADV_DONTNEED``."""
    sync_archive(path)
    for file in files_of(path):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def load(path: Path) -> None:
    """Bring an archive into the page cache by reading every byte of it, without the format's library."""
    buffer = bytearray(4 << 20)
    for file in files_of(path):
        with file.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def chill(path: Path) -> tuple[float | None, str]:
    """Make an archive cold.

    Parameters
    ----------
    path : Path
        A file or a folder.

    Returns
    -------
    resident : float or None
        What `residency` says afterwards.
    rejected : str
        Why the archive is not cold; empty when it is, or the system cannot tell.
    """
    evict(path)
    resident = residency(path, every_file=True)
    if resident is not None and resident >= COLD_BELOW:
        return resident, f"{resident:.1%} of the archive stayed in the page cache"
    return resident, ""


def read_little(sizes: Collection[int], nbytes: int) -> bool:
    """Say whether archives are warmed for an access by reading what it asks for: all of them alike, or none.

    Parameters
    ----------
    sizes : collection of int
        Bytes of the archives of one trace, in every format that is compared.
    nbytes : int
        What the access asks for.

    Returns
    -------
    bool
        True where the largest cannot stay in memory beside the others (`BESIDE_OTHERS`), and the access asks for less
        than half of it.
    """
    memory, largest = capacity().memory_usable_bytes, max(sizes, default=0)
    return memory is not None and largest > BESIDE_OTHERS * memory and nbytes < _LITTLE * largest


def warm(path: Path, read: Callable[[], object] | None = None) -> tuple[float | None, str]:
    """Make an archive warm, where it is not.

    Parameters
    ----------
    path : Path
        A file or a folder.
    read : callable, optional
        Reads what is asked for; given where `read_little` says so.

    Returns
    -------
    resident, rejected
        As for `chill`. With `read` only what it reads is brought in, by reading it until it is there: `resident` is
        then the part of what the first reading fetched from the disk that the last one did not have to.
    """
    if read is not None:
        return _warm_by_reading(path, read)
    size, memory = archive_size(path)[0], capacity().memory_usable_bytes
    resident = residency(path, every_file=False)
    if memory and size > memory:
        return resident, f"an archive of {size / 1e9:.1f} GB does not stay in the page cache: memory is too small"
    for _ in range(_READINGS):  # what was in memory before gives way little by little
        if resident is None or resident >= WARM_FROM:
            return resident, ""
        load(path)
        resident = residency(path, every_file=False)
    return _stays(resident, "the archive")


def _stays(resident: float | None, what: str, *, enough: bool = False) -> tuple[float | None, str]:
    if resident is None or resident >= WARM_FROM or enough:
        return resident, ""
    return resident, f"only {resident:.1%} of {what} stays in the page cache: memory is too small"


def _warm_by_reading(path: Path, read: Callable[[], object]) -> tuple[float | None, str]:
    evict(path)
    first = _fetched_by(read)
    if not first:
        return None, ""  # the system cannot tell
    for _ in range(_READINGS):  # what the system reads ahead of a reader may come late, and counts as fetched then
        again = _fetched_by(read) or 0
        resident, rejected = _stays(max(0.0, 1 - again / first), "what is read", enough=again <= _STRAY)
        if not rejected:
            break
    return resident, rejected


def _fetched_by(read: Callable[[], object]) -> int | None:
    before = fetched_bytes()
    read()
    after = fetched_bytes()
    return None if before is None or after is None else after - before


def residency(path: Path, *, every_file: bool) -> float | None:
    """Measure which part of an archive's pages is in the page cache.

    Parameters
    ----------
    path : Path
        A file or a folder.
    every_file : bool
        Look at every file; otherwise at a random 64 where there are more, which is enough to see that an archive is
        still warm and spares a run tens of thousands of system calls per sample.

    Returns
    -------
    float or None
        Between 0 and 1, by ``mincore``; None where the system cannot tell.
    """
    files: Sequence[Path] = files_of(path)
    if not every_file and len(files) > _MANY_FILES:
        files = random.Random(len(files)).sample(list(files), _MANY_FILES)
    if not hasattr(_LIBC, "mincore"):
        return None
    pages = resident = 0
    for file in files:
        for window in _windows(file):
            if window is None:
                return None
            pages += len(window)
            resident += int(np.count_nonzero(window & 1))  # mincore sets only the lowest bit of each byte
    return resident / pages if pages else 1.0


_LIBC = ctypes.CDLL(None, use_errno=True)
_WINDOW = 1 << 30  # bytes; ctypes wants a mapping that could be written, and the system gives none larger than memory


def _windows(file: Path) -> Iterator[np.ndarray | None]:
    """Yield what ``mincore`` says of each page, window by window; None where it fails."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        for offset in range(0, size, _WINDOW):
            length = min(_WINDOW, size - offset)
            seen = np.zeros(-(-length // mmap.PAGESIZE), np.uint8)
            with mmap.mmap(handle.fileno(), length, flags=mmap.MAP_PRIVATE, offset=offset) as view:
                address = ctypes.addressof(ctypes.c_char.from_buffer(view))
                failed = _LIBC.mincore(
                    ctypes.c_void_p(address), ctypes.c_size_t(length), ctypes.c_void_p(seen.ctypes.data)
                )
            yield None if failed else seen
