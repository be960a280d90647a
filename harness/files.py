"""Files that appear whole or not at all, locked folders, and files of strangers: only regular ones, within a limit."""

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
"""Bytes of a name that its hidden name begins with; most filesystems take 255."""

DOCUMENT = 64 << 20
"""Bytes of the largest document, such as a JSON, that is read."""

WHOLE = 16 << 30
"""Bytes of the largest file that is read whole because it cannot be read in parts, such as a pickle."""

_ENDING = ".partial"
NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)  # some network filesystems, or their settings


@contextmanager
def appearing(path: Path, *, ending: str = _ENDING, durable: bool = False) -> Iterator[Path]:
    """Give a hidden name beside a file; what is written there gets the file's name when the block ends without error.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    ending : str
        Ends the hidden name, so that what a killed process left can be found.
    durable : bool
        Wait until the content is on disk before it gets its name, and then until the name is.

    Yields
    ------
    Path
        Where to write. Each process has its own, so that two that write the same file do not mix.

    Raises
    ------
    OSError
        When it cannot be written; nothing of it is left, and a file that was there is as it was.
    """
    # A name may be as long as names can be, and then has no room for more.
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
    """Remove what killed processes were writing in a folder under a name from `appearing`; it was never whole."""
    for path in folder.glob(f".*{_ENDING}"):
        if not alive(path.name.removesuffix(_ENDING).rpartition(".")[2]):
            path.unlink(missing_ok=True)


def alive(pid: str) -> bool:
    """Say whether there is a process of a number."""
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
    """Keep other processes from changing the same folder; the lock leaves no file and dies with its holder.

    Parameters
    ----------
    path : Path
        The folder.
    busy : str
        What to say when another process holds it.

    Yields
    ------
    bool
        False where the filesystem has no locks, so that two processes may well be at it.

    Raises
    ------
    UsageError
        When another process holds it.
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
    """Take the lock of an open file or folder, without waiting; closing it gives the lock back.

    Returns
    -------
    bool
        False where the filesystem has no locks.

    Raises
    ------
    BlockingIOError
        When another process holds it.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text under its final name only when it is complete; line ends stay as they are."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def forget_writes(descriptor: int) -> None:
    """Let what is written to an open file go to memory from now on: it can then be closed, also on a full disk."""
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
    """Refuse what is there and is no regular file, nor a link to one, before a library opens it by its name.

    Raises
    ------
    HarnessError
        When opening it could wait for ever, or read without end.
    OSError
        When there is nothing, or a folder.
    """
    _check_mode(path, path.stat().st_mode)


def _check_mode(path: Path | str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
        raise HarnessError(f"{path} is {kind}; a regular file is expected there.")


def check_tree(path: Path) -> None:
    """Refuse a file, or a folder with anything at any depth, that is neither a regular file nor a folder.

    Raises
    ------
    HarnessError
        Naming the first pipe, socket or device. Links to folders are not followed.
    OSError
        When there is nothing.
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
    """Open a regular file, or a link to one, to read; anything else is never waited for.

    Raises
    ------
    HarnessError
        When it is a pipe, a socket or a device.
    OSError
        When it is not there, is a folder, or may not be read.
    """
    check_regular(path)  # first by name, as opening a device can already do something
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
        When it is longer.
    HarnessError
        From `open_regular`.
    OSError
        When it is not there, or cannot be read.
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
    """Return one SHA-256 for all files of a folder: of their digests and relative names, as ``sha256sum`` prints them.

    It is what ``find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`` prints there.
    """
    files = {path.relative_to(folder).as_posix(): path for path in tree_files(folder)}
    lines = (f"{file_digest(files[name])}  {name}\n" for name in sorted(files, key=str.encode))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree_files(folder: Path) -> list[Path]:
    """List all regular files of a folder, without following links."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def plain_name(text: str) -> str:
    """Make a name of one file or folder from any text: letters, digits, ``.``, ``_`` and ``-``, not hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:_MOST] or "run"
