"""Description of the node of a task: its name, memory, filesystem and clock."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec

from harness.capacity import capacity
from harness.documents import Count, Positive
from harness.sampling.cache import filesystem

Offset = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
"""Seconds by which one clock is ahead of another."""

_WAIT = 60.0  # seconds that a program may take


class Node(TypedDict):
    """A node as one of its tasks saw it.

    ``storage`` is the output of ``stat -f`` for the run's folder, ``stripe_count`` that of ``lfs getstripe``: None if
    that program is missing or the filesystem is not Lustre. ``clock_offset_seconds`` is the time that the filesystem
    gave a new file, minus that of the node.
    """

    host: str
    memory_bytes: Positive | None
    filesystem: str
    storage: str
    stripe_count: Count | None
    clock_offset_seconds: Offset | None


def host() -> str:
    """Return the name of this node: Slurm's name if Slurm started this process, else the host name."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def describe_node(folder: Path) -> Node:
    """Describe this node, and the filesystem of a folder as this node sees it."""
    stripes = _said("lfs", "getstripe", "--stripe-count", str(folder))
    return {
        "host": host(),
        "memory_bytes": capacity().memory_usable_bytes,
        "filesystem": filesystem(folder),
        "storage": _said("stat", "--file-system", "--format", "%T, blocks of %S bytes", str(folder)),
        "stripe_count": int(stripes) if stripes.isdigit() else None,
        "clock_offset_seconds": _clock_offset(folder),
    }


def _said(*command: str) -> str:
    """Return the output of a program; empty if it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_WAIT)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _clock_offset(folder: Path) -> float | None:
    """Return the time that a filesystem gives a new file, minus this node's clock, in seconds; None if it fails.

    If the clients of a filesystem give the time, as in Lustre, there is no difference whatever the clock shows. So the
    times at which tasks began and ended are also compared with those of the process that started them.
    """
    probe = folder / f".clock-{host()}-{os.getpid()}"
    try:
        before = time.time()
        probe.write_bytes(b"0")
        after = time.time()
        return round(probe.stat().st_mtime - (before + after) / 2, 3)
    except OSError:
        return None
    finally:
        probe.unlink(missing_ok=True)
