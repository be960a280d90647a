"""Processors and memory that this process may use, as limited by the machine and its control groups.

In a container or a batch job, the machine's own figures are misleading: Linux limits both by control groups, version 1
or 2 (https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://docs.kernel.org/admin-guide/cgroup-v1/index.html).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from harness.errors import UsageError

_NO_LIMIT = 1 << 62  # bytes; version 1 reports no limit as a larger number: the largest signed one, in complete pages


@dataclass(frozen=True, kw_only=True)
class GroupLimits:
    """Limits of control groups; None if they set no limit."""

    memory_bytes: int | None  # Includes the page cache of files that are read.
    cores: float | None  # Processor seconds per second.


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Resources of the machine, and the part of them that this process may use."""

    cores: int | None  # Of the machine; None if unknown.
    # Processors that this process may use, by its affinity and its limit of processor time; at least 1.
    cores_usable: int
    memory_bytes: int | None  # Of the machine; None if unknown.
    limits: GroupLimits  # Of its control groups, only those below what affinity and machine allow.

    @property
    def memory_usable_bytes(self) -> int | None:
        """Bytes of memory that this process may use; None if unknown."""
        return self.limits.memory_bytes or self.memory_bytes


@cache
def capacity() -> Capacity:
    """Return what this process may use; the result is cached, so that only the first call costs time."""
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
    """Return the processors for a budget of threads: the first `threads` of those that this process may run on.

    Raises
    ------
    UsageError
        If `threads` is below 1, or larger than the number of processors that this process may use.
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
    """Read the limits of the control groups of this process from the system's files below a root folder.

    Each limit is the lowest of all groups from the innermost up to the highest one that is visible to this process.
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
    """Return the integers in a file; an empty list if the file is missing or contains the word ``max``."""
    words = [word for line in _lines(file) for word in line.split()]
    return [] if "max" in words else [int(word) for word in words]


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folder of every control group of this process, from the innermost up to the mount point."""
    mounts = [line.split() for line in _lines(root / "proc/self/mountinfo")]
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            kind, _, options = mount[mount.index("-") + 1 :][:3]
            if kind == "cgroup2" if not controllers else set(controllers.split(",")) <= set(options.split(",")):
                yield from _upwards(root, PurePosixPath(mount[3]), PurePosixPath(mount[4]), PurePosixPath(group))


def _upwards(root: Path, mounted: PurePosixPath, place: PurePosixPath, group: PurePosixPath) -> Iterator[Path]:
    """Yield a group's folder and those above it; in a container, the mount may be the group itself."""
    inner = group.relative_to(mounted) if group.is_relative_to(mounted) and ".." not in group.parts else PurePosixPath()
    for part in (inner, *inner.parents):
        yield root / place.relative_to("/") / part


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
