"""Members of a ``torch.save`` file: its pickle, and the bytes of its storages, mapped if they are uncompressed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.formats.npz_recovery import LOCAL_HEADER, header_length
from harness.scratch import is_large, room
from harness.zips import DAMAGE, check_inflation, check_member, open_zip, read_into, read_member


def open_torch(path: Path) -> zipfile.ZipFile:
    """Open a file of ``torch.save``; raise `HarnessError` if it cannot be read as one."""
    try:
        return open_zip(path)
    except DAMAGE as error:
        raise HarnessError(f"{path} is truncated, damaged, or not a file of torch.save in its zip format.") from error


def read_torch_member(file: zipfile.ZipFile, path: Path, name: str) -> bytes:
    """Read a member that is not a storage; raise `HarnessError` if it is missing, damaged or too long."""
    info = _find(file, path, name)
    try:
        return read_member(file, info, check_inflation(file, info))
    except DAMAGE as error:
        raise _damaged(path, name, error) from error


def _find(file: zipfile.ZipFile, path: Path, name: str) -> zipfile.ZipInfo:
    # All members are inside one folder, named after the file when it was written.
    found = [info for info in file.infolist() if info.filename.partition("/")[2] == name]
    if len(found) != 1:
        raise HarnessError(f"{path} is damaged, or not a file of torch.save: it holds no {name}.")
    return found[0]


def _damaged(path: Path, name: str, error: BaseException) -> HarnessError:
    return HarnessError(f"{path} is damaged: {name} cannot be read ({error}).")


class Storages:
    """Storages of a file, mapped if they are uncompressed, as torch writes them, and checked once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, np.ndarray] = {}
        self._mapped: np.ndarray | None = None

    def values(self, name: str) -> np.ndarray:
        """Return the bytes of a storage, uint8.

        Raises
        ------
        HarnessError
            If it is missing, damaged, or inflates to too much.
        """
        if name in self._known:
            return self._known[name]
        with open_torch(self._path) as file:
            info = _find(file, self._path, f"data/{name}")
            as_it_is = info.compress_type == zipfile.ZIP_STORED
            try:
                found = self._where_it_lies(file, info) if as_it_is else _inflated(file, info)
            except DAMAGE as error:
                raise _damaged(self._path, f"data/{name}", error) from error
        if as_it_is or is_large(len(found)):  # both are mapped; storages in memory are not kept
            self._known[name] = found
        return found

    def _where_it_lies(self, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
        check_member(file, info)
        if self._mapped is None:
            self._mapped = np.asarray(np.memmap(self._path, np.uint8, "r"))
        start = info.header_offset
        start += header_length(self._mapped[start : start + LOCAL_HEADER].tobytes())
        return self._mapped[start : start + info.file_size]


def _inflated(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    check_inflation(file, info, streamed=True)
    found = room((info.file_size,), np.uint8)
    with file.open(info) as member:
        read_into(member, found)
    return found
