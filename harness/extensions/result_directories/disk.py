"""Atomic writes of files, and a lock with which one process at a time changes a directory."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness import files
from harness.errors import HarnessError, UsageError
from harness.files import appearing, sync

PARTIAL = ".harness-slim-partial"
"""End of the hidden name of a file during its write; files with it are the harness's own and never complete."""

_BUFFER = 1 << 20

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space and "),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "see that you may write in the directory and "),
}
"""Remedy by error code, to be applied before the command is repeated."""


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises
    ------
    HarnessError
        If it cannot be read; other files of its directory may still be readable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(f"it cannot be read ({error.strerror or error})") from error


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file of a directory, by its path in it; links are not followed."""
    paths = sorted(path for path in folder.rglob("*") if is_plain_file(path))
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}


def write_whole(path: Path, data: bytes, mode: int | None = None, mtime_ns: int | None = None) -> None:
    """Write a file atomically: when this returns, it is complete on disk under its name; after an error, it is absent.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.
    data : bytes
        Its content.
    mode : int, optional
        Its permissions, limited as for an unpacked archive because a stranger may have made the directory: read and
        write bits only if a new file has them, execute bits only where a new file is readable, no special bits.
    mtime_ns : int, optional
        Its modification time, in nanoseconds.

    Raises
    ------
    OSError
        If it cannot be written; no part of it is left.
    """
    with appearing(path, ending=PARTIAL, durable=True) as partial, partial.open("wb") as handle:
        _fill(handle, data)
        handle.flush()
        if mode is not None:
            new = os.fstat(handle.fileno()).st_mode & 0o666
            os.fchmod(handle.fileno(), mode & (new | (new & 0o444) >> 2) | 0o400)
        if mtime_ns is not None:
            os.utime(handle.fileno(), ns=(mtime_ns, mtime_ns))


def _fill(handle: BinaryIO, data: bytes) -> None:
    for start in range(0, len(data), _BUFFER):
        handle.write(data[start : start + _BUFFER])


def remove_file(path: Path) -> None:
    """Remove a file and wait until its removal is on disk."""
    path.unlink(missing_ok=True)
    sync(path.parent)


def copy_folder(source: Path, destination: Path) -> None:
    """Copy a directory with links and times; skip special files, and make the folders of the copy writable."""

    def special(folder: str, names: list[str]) -> list[str]:
        paths = [Path(folder, name) for name in names]
        return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]

    shutil.copytree(source, destination, symlinks=True, ignore=special)
    for folder in (destination, *destination.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(folder.stat().st_mode | 0o700)


def is_safe_name(name: str) -> bool:
    """Return whether a path can be stored in a manifest and shown: no control characters, no invalid UTF-8."""
    return bool(name) and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def is_plain_file(path: Path) -> bool:
    """Return whether a path is a regular file, not a link to one."""
    return path.is_file() and not path.is_symlink()


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Lock a directory against changes by other processes, and convert errors of the disk to one sentence.

    Raises
    ------
    UsageError
        If there is no such directory, or another process is changing it.
    HarnessError
        If an operation on the disk fails; no file is lost then.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    try:
        with files.locked(folder, f"{folder} is being slimmed by another process; wait until it is done."):
            yield
    except OSError as error:
        first = _REMEDIES.get(error.errno or 0, "")
        place = error.filename or folder
        raise HarnessError(
            f"{place}: {error.strerror or error}; no file is lost: {first}run the same command again."
        ) from error


def clear_partials(folder: Path) -> None:
    """Remove the incomplete files of a killed run, at any depth."""
    for path in folder.rglob(f".*{PARTIAL}"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()
