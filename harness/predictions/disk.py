"""Files that appear whole or not at all, and a directory that one process changes at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError, UsageError

PARTIAL = ".harness-slim-partial"
"""Ends the hidden name of a file that is being written; what carries it is ours and never whole."""

_BUFFER = 1 << 20


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: Path, data: bytes, mode: int | None = None, mtime_ns: int | None = None) -> None:
    """Write a file that is on disk, complete and under its name when this returns, or not there at all.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    data : bytes
        Its content.
    mode : int, optional
        Its permissions.
    mtime_ns : int, optional
        Its time of change.

    Raises
    ------
    OSError
        When it cannot be written; nothing of it is left.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with partial.open("wb") as handle:
            _fill(handle, data)
            handle.flush()
            if mode is not None:
                os.fchmod(handle.fileno(), mode)
            if mtime_ns is not None:
                os.utime(handle.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _fill(handle: BinaryIO, data: bytes) -> None:
    for start in range(0, len(data), _BUFFER):
        handle.write(data[start : start + _BUFFER])


def remove_file(path: Path) -> None:
    """Remove a file and wait until its removal is on disk."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_plain_file(path: Path) -> bool:
    """Say whether a path is a regular file itself, not a link to one."""
    return path.is_file() and not path.is_symlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from slimming the same directory; the lock leaves no file and dies with its holder.

    Raises
    ------
    UsageError
        When another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder} is being slimmed by another process; wait until it is done.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def disk_is_whole(folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into one sentence, which can say that nothing is lost."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "free some space and run the same command again" if full else "run the same command again"
        place = error.filename or folder
        raise HarnessError(f"{place}: {error.strerror or error}; no file is lost: {way}.") from error


def clear_partials(folders: Iterable[Path]) -> None:
    """Remove what a killed run was writing; it was never whole."""
    for folder in folders:
        for path in folder.glob(f".*{PARTIAL}"):
            path.unlink()
