"""Untrusted zip files: check the directory before it is used, and read members up to a size limit."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from harness.errors import HarnessError
from harness.files import DOCUMENT, open_regular
from harness.limits import LimitError, archive_limit, in_words, inflation_limit

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""Exceptions that `zipfile` raises for files that are truncated, damaged, encrypted or of another kind."""

DIRECTORY = 4 << 20
"""Size in bytes of the largest directory that is read: more than 30,000 members with names of 80 characters."""

_END, _END_SIZE = b"PK\x05\x06", 22  # the end record of the directory, without its comment
_LONGER, _LONGER_SIZE = b"PK\x06\x06", 56 + 20  # the zip64 record before it in large files, with its locator
_TAIL = _LONGER_SIZE + _END_SIZE + (1 << 16)
_LOCAL = 30  # bytes of the fixed part of every member's local header
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STEP = 1 << 20


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file, and check its directory.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ZipFile
        Its members do not overlap, and are stored or deflated.

    Raises
    ------
    LimitError
        If it has too many members.
    HarnessError
        If its members overlap or are compressed in another way.
    BadZipFile, and others of `DAMAGE`
        If it is not a zip file.
    OSError
        If it cannot be read.
    """
    file = open_regular(path)
    try:
        _check_directory(file, path)
        opened = zipfile.ZipFile(file)
        opened.filename = str(path)  # for messages; else it would be the number of the descriptor
        _check_members(opened, path)
    except BaseException:
        file.close()
        raise
    return opened


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Raise LimitError if the directory is too large, before `zipfile` creates an object for each member."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    file.seek(0)
    plain = tail[-_END_SIZE:]
    bare = plain.startswith(_END) and plain.endswith(b"\0\0")
    at = len(tail) - _END_SIZE if bare else tail.rfind(_END)
    if at < 0:
        return  # not a zip file; opening it raises the error
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    longer = at - _LONGER_SIZE
    if longer >= 0 and tail.startswith(_LONGER, longer):
        directory = int.from_bytes(tail[longer + 40 : longer + 48], "little")
    if directory > DIRECTORY:
        raise LimitError(f"{path} has too many members: its directory is larger than {in_words(DIRECTORY)}.")


def _check_members(file: zipfile.ZipFile, path: Path) -> None:
    end = 0
    for info in sorted(file.infolist(), key=lambda info: info.header_offset):
        if info.compress_type not in _METHODS:
            raise HarnessError(f"{path}: {info.filename} is compressed with an unsupported method.")
        if info.header_offset < end:
            raise HarnessError(f"{path} is damaged: {info.filename} lies over another member.")
        end = info.header_offset + _LOCAL + info.compress_size


def check_inflation(file: zipfile.ZipFile, info: zipfile.ZipInfo, *, streamed: bool = False) -> int:
    """Return the inflated size of a member in bytes, as the directory states it.

    Parameters
    ----------
    file : ZipFile
        From `open_zip`.
    info : ZipInfo
        The member.
    streamed : bool
        Whether it is read in parts, which costs no memory.

    Raises
    ------
    LimitError
        If it exceeds the limit for the member's stored size: `inflation_limit`, or `archive_limit` if `streamed`.
    """
    limit = archive_limit if streamed else inflation_limit
    if info.file_size > (most := max(info.compress_size, limit(info.compress_size))):
        raise LimitError(
            f"{file.filename}: {info.filename} inflates to {in_words(info.file_size)}, more than {in_words(most)}; if "
            "you trust it, raise that with --max-inflated."
        )
    return info.file_size


def read_member(file: zipfile.ZipFile, name: str | zipfile.ZipInfo, limit: int = DOCUMENT) -> bytes:
    """Read a member that is not longer than a limit.

    Parameters
    ----------
    file : ZipFile
        From `open_zip`.
    name : str or ZipInfo
        The member.
    limit : int
        Bytes.

    Raises
    ------
    LimitError
        If the directory states that it is longer. What it holds beyond the stated size is not inflated.
    KeyError, and those of `DAMAGE`
        As `zipfile` raises them.
    """
    info = file.getinfo(name) if isinstance(name, str) else name
    if info.file_size > limit:
        raise LimitError(
            f"{file.filename or info.filename}: {info.filename} inflates to {in_words(info.file_size)}, "
            f"and {in_words(limit)} are the most that is read of such a member."
        )
    out = bytearray()
    with file.open(info) as member:
        while part := member.read(_STEP):  # in parts: a single read would inflate the complete stream
            out += part
    return bytes(out)


def read_into(member: IO[bytes], values: np.ndarray) -> None:
    """Fill an array in C order with the next bytes of a member.

    Raises
    ------
    EOFError
        If there are fewer.
    BadZipFile, and others of `DAMAGE`
        If they are damaged, which is detected at the end of the member.
    """
    left = values.reshape(-1).view(np.uint8).data
    while len(left):
        part = member.read(min(_STEP, len(left)))  # in parts, as each needs memory in addition to the array
        if not part:
            raise EOFError("it ends early")
        left[: len(part)] = part
        left = left[len(part) :]


def check_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Compare a member with its checksum; raise an exception of `DAMAGE` if they differ."""
    with file.open(info) as member:
        while member.read(_STEP):
            pass
