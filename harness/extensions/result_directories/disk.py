"""Files that appear whole or not at all, and a directory that one process changes at a time."""

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
"""Ends the hidden name of a file that is being written; what carries it is ours and never whole."""

_BUFFER = 1 << 20

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space and "),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "see that you may write in the directory and "),
}
"""What to do, by error, before the same command can do better."""


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises
    ------
    HarnessError
        When it cannot be read, which says nothing about the other files beside it.
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
    """Write a file that is on disk, complete and under its name when this returns, or not there at all.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    data : bytes
        Its content.
    mode : int, optional
        Its permissions. As of an archive that is unpacked, no more of them come back than a new file may have, and no
        bits that are not permissions: who made the directory may be a stranger.
    mtime_ns : int, optional
        Its time of change.

    Raises
    ------
    OSError
        When it cannot be written; nothing of it is left.
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
    """Copy a directory to work on: links stay links, times stay, and the folders of the copy can be written to."""

    def special(folder: str, names: list[str]) -> list[str]:
        paths = [Path(folder, name) for name in names]
        return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]

    shutil.copytree(source, destination, symlinks=True, ignore=special)
    for folder in (destination, *destination.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(folder.stat().st_mode | 0o700)


def is_safe_name(name: str) -> bool:
    """Say whether a path can be written into a manifest and shown: no control characters, no bytes beyond UTF-8."""
    return bool(name) and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def is_plain_file(path: Path) -> bool:
    """Say whether a path is a regular file itself, not a link to one."""
    return path.is_file() and not path.is_symlink()


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep other processes from changing a directory, and turn what the disk refuses into one sentence.

    Raises
    ------
    UsageError
        When there is no such directory, or another process changes it.
    HarnessError
        When the disk refuses something; nothing is lost then.
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
    """Remove what a killed run was writing, at any depth; it was never whole."""
    for path in folder.rglob(f".*{PARTIAL}"):
        if not path.is_dir() or path.is_symlink():
            path.unlink()
