"""Files that appear whole or not at all, locked folders, and files of strangers: only regular ones, within a limit."""

from __future__ import annotations

import errno
import fcntl
import lzma
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Literal, Protocol

from harness.errors import HarnessError, UsageError

_MOST = 180
"""Bytes of a name that its hidden name begins with; most filesystems take 255."""

DOCUMENT = 64 << 20
"""Bytes of the largest document, such as a JSON, that is read."""

WHOLE = 16 << 30
"""Bytes of the largest file that is read whole because it cannot be read in parts, such as a pickle."""

_INFLATED, _SMALL, _RATIO = 4 << 30, 128 << 20, 100
"""Without a stated size: the most bytes that are inflated, the most of a small file, and the most for each byte."""

_ENDING = ".partial"
NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)  # some network filesystems, or their settings

_FED, _STEP = 1 << 16, 1 << 20
_RAISED = "HARNESS_MAX_INFLATED"  # in the environment, where worker processes look for it
_LZMA_MEMORY = 256 << 20  # bytes; a header may ask for a window of 4 GiB, and no preset of xz for more than 64 MiB


class LimitError(HarnessError):
    """Something takes more than a limit that guards against hostile files."""


class Limits:
    """What a person raised on the command line, for this process and those that it starts.

    Attributes
    ----------
    inflated : int or None
        Bytes that something compressed may inflate to; None for the defaults of `inflation_limit` and `archive_limit`.
    """

    @property
    def inflated(self) -> int | None:
        text = os.environ.get(_RAISED, "")
        return int(text) if text.isdecimal() else None

    @inflated.setter
    def inflated(self, value: int | None) -> None:
        os.environ.pop(_RAISED, None)
        if value is not None:
            os.environ[_RAISED] = str(value)


limits = Limits()


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


def in_words(size: int) -> str:
    """Return a number of bytes as a person reads it, such as ``64 MiB``; exact, or to four digits."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.4g} {unit}"
    return f"{size} bytes"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


def scaled_limit(size: int, small: int = _SMALL, ratio: int = _RATIO) -> int:
    """Return how many bytes something compressed of a size may give: `ratio` times as many, or `small` if that is more.

    What ``--max-inflated`` says replaces both.
    """
    return limits.inflated if limits.inflated is not None else max(small, ratio * size)


def inflation_limit(packed: int, stated: int | None = None) -> int:
    """Return how many bytes a compressed stream may inflate to.

    Parameters
    ----------
    packed : int
        Bytes of the stream.
    stated : int, optional
        The size that a document beside it states.

    Returns
    -------
    int
        What ``--max-inflated`` says, or else 4 GiB, and for a small stream 100 times its size or 128 MiB if that is
        more; never more than the stated size.
    """
    most = limits.inflated if limits.inflated is not None else min(_INFLATED, scaled_limit(packed, _SMALL))
    return most if stated is None else max(0, min(most, stated))


def archive_limit(packed: int) -> int:
    """Return how many bytes the tensors of an archive of a size may have.

    Parameters
    ----------
    packed : int
        Bytes of the archive.

    Returns
    -------
    int
        What ``--max-inflated`` says, or else 4 GiB, and 100 times the archive's size if that is more: every byte of it
        is read in parts, which costs time and no memory.
    """
    return scaled_limit(packed, _INFLATED)


def inflate(kind: Literal["xz", "gzip", "deflate"], data: bytes, name: str, stated: int | None = None) -> bytes:
    """Inflate streams, one behind the other as in a file, up to `inflation_limit`.

    Parameters
    ----------
    kind : {"xz", "gzip", "deflate"}
        How they are compressed; ``deflate`` has no header, as within a zip file.
    data : bytes
        The streams.
    name : str
        What they are called in messages.
    stated : int, optional
        The size that a document beside them states.

    Raises
    ------
    LimitError
        When they give more; inflating stops there.
    HarnessError
        When they are truncated or damaged.
    """
    limit, out, at = inflation_limit(len(data), stated), bytearray(), 0
    view = memoryview(data)
    try:
        while at < len(view):
            one = _decompressor(kind)
            while not one.eof:
                # In small pieces: what a piece leaves over is copied each time.
                piece = view[at : at + _FED] if getattr(one, "needs_input", True) else b""
                before = len(out)
                out += one.decompress(piece, _STEP)
                if len(out) > limit:
                    raise _too_much(name, limit, stated)
                # zlib gives back what lzma keeps, and at the end of a stream says it twice.
                at += len(piece) - (0 if one.eof else len(getattr(one, "unconsumed_tail", b"")))
                if len(out) == before and not one.eof and at == len(view):
                    raise EOFError("it ends early")
            at -= len(one.unused_data)
            while at < len(view) and not view[at]:  # padding between streams
                at += max(1, len(piece := bytes(view[at : at + _FED])) - len(piece.lstrip(b"\0")))
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise HarnessError(f"{name} is truncated or damaged ({error}).") from error
    return bytes(out)


def _decompressor(kind: str) -> _Decompressor:
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
    return zlib.decompressobj(zlib.MAX_WBITS | 16 if kind == "gzip" else -zlib.MAX_WBITS)


def _too_much(name: str, limit: int, stated: int | None) -> LimitError:
    if stated == limit:
        return LimitError(f"{name} inflates to more than the {in_words(limit)} that are stated for it.")
    return LimitError(
        f"{name} inflates to more than {in_words(limit)}; if you trust it, raise that with --max-inflated."
    )


def plain_name(text: str) -> str:
    """Make a name of one file or folder from any text: letters, digits, ``.``, ``_`` and ``-``, not hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:_MOST] or "run"
