"""The members of a foreign NPZ: shapes without their values, values one member at a time."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from harness.extensions.importing.source import Load, SourceError, readable
from harness.zips import check_inflation, open_zip


class NpzMembers:
    """An NPZ that another program wrote.

    Parameters
    ----------
    path : Path
        Must not hold pickled objects.

    Attributes
    ----------
    shapes : dict of str to (tuple of int, dtype)
        Shape and dtype of each array, by name.

    Raises
    ------
    SourceError
        When it is truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        with readable(str(path)), open_zip(path) as file:
            for info in file.infolist():
                if info.filename.endswith(".npy"):
                    check_inflation(file, info)
                    with file.open(info) as member:
                        self.shapes[info.filename.removesuffix(".npy")] = _header(
                            member, info, f"{path}:{info.filename}"
                        )

    def load(self, name: str) -> Load:
        """Return what reads one array."""

        def read() -> np.ndarray:
            with np.load(self._path, allow_pickle=False) as file:
                array: np.ndarray = file[name]
            return array

        return read


def _header(member: IO[bytes], info: zipfile.ZipInfo, origin: str) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise SourceError(f"{origin} has NumPy's format {version}, which is for records and is not read here.")
    shape, _, dtype = read(member)
    if dtype.hasobject or member.tell() + prod(shape) * dtype.itemsize != info.file_size:
        raise SourceError(f"{origin} is damaged, or holds objects: its size is not that of {dtype} of shape {shape}.")
    return shape, dtype
