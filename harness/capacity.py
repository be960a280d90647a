"""How many processors and how much memory this process may use: of the machine, and of its control groups.

In a container or a batch job the machine's own figures say nothing: Linux bounds both by control groups, version 1 or 2
(https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/index.html).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from harness.errors import UsageError

_NO_LIMIT = 1 << 62  # from here on, bytes that version 1 gives for no limit: as many as a signed number holds, in pages


@dataclass(frozen=True, kw_only=True)
class GroupLimits:
    """What control groups allow; None where they set no limit."""

    # Memory, the page cache of what is read among it.
    memory_bytes: int | None  # the page cache of what is read among it
    # Processor seconds in a second.
    cores: float | None  # processor seconds in a second


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What the machine has, and what of it this process may use."""

    cores: int | None  # Of the machine; None where unknown.
    # On which this process may run, by its affinity and the processor time that it may take; at least 1.
    cores_usable: int
    memory_bytes: int | None  # Of the machine; None where unknown.
    limits: GroupLimits  # Of its control groups, those that bind: below what the machine has.

    @property
    def memory_usable_bytes(self) -> int | None:
        """Memory that this process may use; None where unknown."""
        return self.limits.memory_bytes or self.memory_bytes


@cache
def capacity() -> Capacity:
    """Return what this process may use; found once, so that no reader pays for it again."""
    cores, memory = os.cpu_count(), _memory()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores or 1
    limits = read_limits(Path("/"))
    quota = limits.cores if limits.cores is not None and limits.cores < allowed else None
    bound = limits.memory_bytes
    return Capacity(
        cores=cores,
        cores_usable=allowed if quota is None else max(1, math.ceil(quota)),
        memory_bytes=memory,
        limits=GroupLimits(memory_bytes=bound if bound and bound < (memory or math.inf) else None, cores=quota),
    )


def processors(threads: int) -> frozenset[int]:
    """Choose the processors of a budget of threads: the first so many of those that this process may run on.

    Raises
    ------
    UsageError
        When there are not so many.
    """
    most = capacity().cores_usable
    if not 0 < threads <= most:
        raise UsageError(
            f"A budget of {threads} threads is too large: this process may use {most} processors. Ask for 1 to {most}."
        )
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(most)
    return frozenset(sorted(here)[:threads])


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def read_limits(root: Path) -> GroupLimits:
    """Read the limits of the control groups that this process is in, from the system's files below a root.

    They are the tightest on the way from each group up to the highest one that is seen from here.
    """
    memory, cores = [], []
    for folder in _groups(root):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            memory += [n for n in _numbers(folder / name) if n < _NO_LIMIT]
        for time in (
            _numbers(folder / "cpu.max"),
            _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us"),
        ):
            if len(time) == 2 and time[0] > 0:  # -1 where there is no limit
                cores.append(time[0] / time[1])
    return GroupLimits(memory_bytes=min(memory, default=None), cores=min(cores, default=None))


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file; none where there is no such file, or the word ``max`` in it."""
    words = [word for line in _lines(file) for word in line.split()]
    return [] if "max" in words else [int(word) for word in words]


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of every control group that this process is in, from the innermost up to where it is mounted."""
    mounts = [line.split() for line in _lines(root / "proc/self/mountinfo")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            kind, _, options = mount[mount.index("-") + 1 :][:3]
            if kind == "cgroup2" if not controllers else set(controllers.split(",")) <= set(options.split(",")):
                yield from _upwards(root, PurePosixPath(mount[3]), PurePosixPath(mount[4]), PurePosixPath(group))


def _upwards(root: Path, mounted: PurePosixPath, place: PurePosixPath, group: PurePosixPath) -> Iterator[Path]:
    """Yield a group's folder and those above it; in a container what is mounted may be the group itself."""
    inner = group.relative_to(mounted) if group.is_relative_to(mounted) and ".." not in group.parts else PurePosixPath()
    for part in (inner, *inner.parents):
        yield root / place.relative_to("/") / part


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
