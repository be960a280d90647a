"""Seal an archive: one SHA-256 over every byte of it, stored inside it, so that any flipped bit is found."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

from harness.errors import ArchiveError

_MARK = b"trace-format-harness-seal:"
_DIGITS = 64
BLANK = (_MARK + b"0" * _DIGITS).decode()
"""Placeholder that a format stores in its file, or in one at the top of its folder; `seal` replaces the zeros."""

_BUFFER = 4 << 20


def files_of(path: Path) -> list[Path]:
    """List the files of an archive, a single file or a folder, in the order in which they are sealed."""
    if not path.is_dir():
        return [path]
    # os.walk and not Path.rglob, which takes ten times as long on the thousands of chunks of a Zarr archive.
    names: list[str] = []
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114 - not followed, but seen
        names += [f"{folder}/{name}" for name in (*files, *links)]
    return [Path(name) for name in sorted(names)]


def link_in(path: Path) -> str:
    """Return the name of a symbolic link in an archive's folder; empty if there is none, or no folder."""
    folders = [str(path)] if path.is_dir() else []
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    return f"the link {Path(entry.path).relative_to(path).as_posix()!r}"
                if entry.is_dir():
                    folders.append(entry.path)
    return ""


def _stray_folder(path: Path) -> str:
    """Return the name of an empty folder in an archive, which no format makes; an empty string if there is none."""
    empty = (folder for folder, folders, files in os.walk(path) if not folders and not files)
    return next((Path(folder).relative_to(path).as_posix() for folder in empty), "")


def find_seal(path: Path) -> tuple[Path | None, int]:
    """Return the file that holds the seal, and the offset of its digits in bytes; None and -1 if there is no seal.

    The file is the archive itself, or the first by name at the top of its folder that has a seal.
    """
    files = [path] if path.is_file() else []
    if path.is_dir():
        with os.scandir(path) as entries:
            files = [path / name for name in sorted(e.name for e in entries if e.is_file(follow_symlinks=False))]
    return next(((file, at) for file in files if (at := _position(file)) >= 0), (None, -1))


def _position(file: Path) -> int:
    with file.open("rb") as handle:
        if not file.stat().st_size:
            return -1
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
            # A seal is in a header or a trailer: a search of both ends avoids reading a large file.
            found = view.find(_MARK, 0, _BUFFER)
            found = found if found >= 0 else view.rfind(_MARK, max(0, len(view) - _BUFFER))
            return found + len(_MARK) if 0 <= found <= len(view) - len(BLANK) else -1


def _digest(path: Path, sealed: Path, position: int) -> str:
    state = hashlib.sha256()
    if link := link_in(path):
        raise ArchiveError(f"{path} holds {link}; an archive may not contain symbolic links.")
    for file in files_of(path):
        name = file.relative_to(path).as_posix() if file != path else ""
        state.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as handle:
            if file == sealed:
                # In parts: the complete archive comes before a seal at its end.
                for start in range(0, position, _BUFFER):
                    state.update(handle.read(min(_BUFFER, position - start)))
                state.update(b"0" * _DIGITS)
                handle.seek(position + _DIGITS)
            while part := handle.read(_BUFFER):
                state.update(part)
    return state.hexdigest()


def seal(path: Path) -> str:
    """Seal a finished archive.

    Parameters
    ----------
    path : Path
        The archive: a file, or a folder with a file at its top, that holds `BLANK`.

    Returns
    -------
    str
        SHA-256 in hexadecimal, over the names, sizes and bytes of all files with the seal itself taken as zeros.

    Raises
    ------
    ArchiveError
        When the format did not store `BLANK`.
    """
    file, position = find_seal(path)
    if file is None:
        raise ArchiveError(
            f"{path.name}: the format wrote no place for the seal; its writer must store seal.BLANK in the file, or "
            "in one at the top of the folder."
        )
    value = _digest(path, file, position)
    with file.open("r+b") as handle:
        handle.seek(position)
        handle.write(value.encode())
    return value


def read_seal(path: Path) -> str:
    """Return the digits that a sealed archive states, without checking them; empty where it has no seal."""
    file, position = find_seal(path)
    if file is None:
        return ""
    with file.open("rb") as handle:
        handle.seek(position)
        return handle.read(_DIGITS).decode("ascii", "replace")


def check_seal(path: Path) -> str:
    """Return what is wrong, in one sentence; empty when every byte is as it was sealed."""
    file, position = find_seal(path)
    if file is None:
        return "the archive has no seal: it is truncated, damaged, or was not finished"
    if read_seal(path) != _digest(path, file, position):
        return "it is damaged: at least one bit changed since it was sealed, or a file was added or lost"
    if stray := _stray_folder(path):
        return f"the empty folder {stray!r} was added"
    return ""
