"""Page cache control: evict, load, and measure the resident fraction of archives."""

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
"""An archive is cold if less than this fraction of its pages is resident."""

WARM_FROM = 0.99
"""An archive is warm if at least this fraction of its pages is resident."""

BESIDE_OTHERS = 0.25
"""If the largest archive of a trace takes more than this fraction of memory, small reads do not load complete archives.

In a round the formats take turns, so such archives would evict each other, and each sample would load its own again.
"""

_LITTLE = 0.5  # maximum fraction of the largest archive that an access may request for warming by reading
_STRAY = 128 << 10  # bytes that any repeated reading may fetch: pages of other files
_READINGS = 3  # maximum number of readings of an archive, or of an access after its first reading
_MOUNTS = Path("/proc/self/mountinfo")
_PRIVATE = re.compile(r"^(\w*addr|\w*user\w*|\w*uid|\w*gid|group_id|domain|name|secret)=|/")  # private mount options
_MANY_FILES = 64
_MEMORY_FILESYSTEMS = ("tmpfs", "ramfs", "devtmpfs")
_PROVEN = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
"""Filesystems on a local disk that cache data only in the page cache."""


class Mount(NamedTuple):
    """The type of a filesystem, such as ``ext4``, and its mount options, separated by commas."""

    kind: str = ""
    options: str = ""


def mount_of(path: Path) -> Mount:
    """Return the type and mount options of the filesystem that holds a path; both empty if unknown.

    Options that name folders, addresses or users are left out: they are private, and do not affect speed.
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
    """Return the type of the filesystem that holds a path, such as ``ext4``; empty if unknown."""
    return mount_of(path).kind


def require_evictable(folder: Path) -> None:
    """Check that eviction from the page cache can work, as cold reads require.

    Parameters
    ----------
    folder : Path
        Folder of the archives.

    Raises
    ------
    UsageError
        When the filesystem keeps files in memory, or the system lacks ``posix_fadvise``.
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
    """Return whether an archive that is evicted from the page cache is certain to be read from a local disk.

    A network filesystem, or one with its own cache such as ZFS, may still have the archive in memory: such reads are
    ``lukewarm``. The folder need not exist.
    """
    return filesystem(folder) in _PROVEN


def evict(path: Path) -> None:
    """Evict an archive from the page cache with ``POSIX_FADV_DONTNEED``, after a sync, because dirty pages stay."""
    sync_archive(path)
    for file in files_of(path):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def load(path: Path) -> None:
    """Load an archive into the page cache by reading every byte, without the format's library."""
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
        Resident fraction after eviction, from `residency`.
    rejected : str
        Why the archive is not cold; empty if it is cold, or if the fraction is unknown.
    """
    evict(path)
    resident = residency(path, every_file=True)
    if resident is not None and resident >= COLD_BELOW:
        return resident, f"{resident:.1%} of the archive stayed in the page cache"
    return resident, ""


def read_little(sizes: Collection[int], nbytes: int) -> bool:
    """Return whether to warm the archives of a trace by performing the access; decided for all archives together.

    Parameters
    ----------
    sizes : collection of int
        Bytes of the archives of one trace, in every compared format.
    nbytes : int
        Bytes that the access requests.

    Returns
    -------
    bool
        True if the largest archive cannot stay in memory together with the others (`BESIDE_OTHERS`), and the access
        requests less than half of it.
    """
    memory, largest = capacity().memory_usable_bytes, max(sizes, default=0)
    return memory is not None and largest > BESIDE_OTHERS * memory and nbytes < _LITTLE * largest


def warm(path: Path, read: Callable[[], object] | None = None) -> tuple[float | None, str]:
    """Make an archive warm if it is not.

    Parameters
    ----------
    path : Path
        A file or a folder.
    read : callable, optional
        Performs the access; given if `read_little` returns True.

    Returns
    -------
    resident, rejected
        As for `chill`. With `read`, only the data that it reads is loaded, by repeated reading. `resident` is then the
        fraction of the bytes fetched from disk by the first reading that the last reading did not fetch again.
    """
    if read is not None:
        return _warm_by_reading(path, read)
    size, memory = archive_size(path)[0], capacity().memory_usable_bytes
    resident = residency(path, every_file=False)
    if memory and size > memory:
        return resident, f"an archive of {size / 1e9:.1f} GB does not stay in the page cache: memory is too small"
    for _ in range(_READINGS):  # the system evicts other data only gradually
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
        return None, ""  # unknown on this system
    for _ in range(_READINGS):  # read-ahead may complete late, and then counts as fetched by the next reading
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
    """Measure the fraction of an archive's pages that is in the page cache.

    Parameters
    ----------
    path : Path
        A file or a folder.
    every_file : bool
        Check every file. Otherwise check a random 64 if there are more: this suffices to see that an archive is still
        warm, and saves tens of thousands of system calls per sample.

    Returns
    -------
    float or None
        Between 0 and 1, from ``mincore``; None if the system does not provide it.
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
_WINDOW = 1 << 30  # bytes; ctypes needs a writable mapping, and the system grants none larger than memory


def _windows(file: Path) -> Iterator[np.ndarray | None]:
    """Yield the result of ``mincore`` for each page, window by window; None if it fails."""
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
