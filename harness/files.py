"""Atomic file writes, folder locks, and reads of untrusted files: only regular ones, up to a size limit."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.limits import LimitError, in_words

_MOST = 180
"""Most bytes of a file's name that its hidden name starts with; most filesystems allow 255 bytes."""

DOCUMENT = 64 << 20
"""Size in bytes of the largest document, such as a JSON file, that is read."""

WHOLE = 16 << 30
"""Size in bytes of the largest file that is read at once because it cannot be read in parts, such as a pickle."""

_ENDING = ".partial"
NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)  # from some network filesystems or their settings


@contextmanager
def appearing(path: Path, *, ending: str = _ENDING, durable: bool = False) -> Iterator[Path]:
    """Yield a hidden path next to a file, and rename it to the file when the block ends without error.

    Parameters
    ----------
    path : Path
        The file; replaced if it exists.
    ending : str
        Suffix of the hidden name, by which the leftovers of a killed process can be found.
    durable : bool
        Wait until the content is on disk before the rename, and then until the new name is on disk.

    Yields
    ------
    Path
        Path to write to. Each process has its own, so that two processes can write the same file.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left of it, and an existing file is unchanged; if only the last wait
        of ``durable`` fails, the new file is in place.
    """
    # The name may have the maximum length already, with no room for a suffix.
    start = os.fsdecode(os.fsencode(path.name)[:_MOST])
    partial = path.with_name(f".{start}.{os.getpid()}{ending}")
    try:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def clear_partials(folder: Path) -> None:
    """Remove the incomplete files that killed processes left in a folder under names from `appearing`."""
    for path in folder.glob(f".*{_ENDING}"):
        if not alive(path.name.removesuffix(_ENDING).rpartition(".")[2]):
            path.unlink(missing_ok=True)


def alive(pid: str) -> bool:
    """Return whether a process with this number exists."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(path: Path, busy: str) -> Iterator[bool]:
    """Lock a folder against changes by other processes; the lock leaves no file and ends with its process.

    Parameters
    ----------
    path : Path
        The folder.
    busy : str
        Message of the error if another process holds the lock.

    Yields
    ------
    bool
        False if the filesystem has no locks, so that another process may use the folder at the same time.

    Raises
    ------
    UsageError
        If another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            sure = take_lock(descriptor)
        except BlockingIOError:
            raise UsageError(busy) from None
        yield sure
    finally:
        os.close(descriptor)


def take_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder, without waiting; closing the descriptor releases the lock.

    Returns
    -------
    bool
        False if the filesystem has no locks.

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file, which gets its name only when it is complete; line ends are not converted."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def forget_writes(descriptor: int) -> None:
    """Redirect later writes to an open file to memory, so that it can be closed even on a full disk."""
    memory = os.memfd_create("aborted")
    os.dup2(memory, descriptor)
    os.close(memory)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: Path) -> None:
    """Check that a path is a regular file, or a link to one, before a library opens it by its name.

    Raises
    ------
    HarnessError
        If it is another kind of file, which could block forever when opened, or have no end.
    OSError
        If it does not exist, or is a folder.
    """
    _check_mode(path, path.stat().st_mode)


def _check_mode(path: Path | str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise HarnessError(f"{path} is {kind}; a regular file is expected there.")


def check_tree(path: Path) -> None:
    """Check that a path, and everything at any depth of a folder, is a regular file or a folder.

    Raises
    ------
    HarnessError
        If not; the message names the first pipe, socket or device. Links to folders are not followed.
    OSError
        If the path does not exist.
    """
    if not path.is_dir():
        check_regular(path)
        return
    folders = [str(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file() and not entry.is_dir() and os.path.exists(entry.path):  # noqa: PTH110 - fast
                    _check_mode(entry.path, entry.stat().st_mode)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading; never block on another kind of file.

    Raises
    ------
    HarnessError
        If it is a pipe, a socket or a device.
    OSError
        If it does not exist, is a folder, or may not be read.
    """
    check_regular(path)  # before opening, because opening a device can already have an effect
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_mode(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int = DOCUMENT) -> bytes:
    """Read a regular file that is not longer than a limit.

    Parameters
    ----------
    path : Path
        The file, or a link to one.
    limit : int
        Bytes.

    Raises
    ------
    LimitError
        If it is longer, or does not fit into memory.
    HarnessError
        From `open_regular`.
    OSError
        If it does not exist, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read(size + 1) if size <= limit else b""
        except MemoryError as error:
            raise LimitError(f"{path} does not fit into memory: it has {in_words(size)}.") from error
    if max(size, len(data)) > limit:
        raise LimitError(f"{path} is larger than {in_words(limit)}, the most that is read of such a file.")
    return data


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tree_digest(folder: Path) -> str:
    """Return one SHA-256 for all files of a folder, over their digests and relative names.

    The same as ``find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`` in the folder.
    """
    files = {path.relative_to(folder).as_posix(): path for path in tree_files(folder)}
    lines = (f"{file_digest(files[name])}  {name}\n" for name in sorted(files, key=str.encode))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree_files(folder: Path) -> list[Path]:
    """List all regular files of a folder, without following links."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def plain_name(text: str) -> str:
    """Return a file name made from any text: only letters, digits, ``.``, ``_`` and ``-``, and not hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:_MOST] or "run"
