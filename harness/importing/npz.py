"""The members of a foreign NPZ: shapes without their values, values one member at a time."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from harness.importing.source import Load, SourceError, readable


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
        with readable(str(path)), zipfile.ZipFile(path) as file:
            for name in file.namelist():
                if name.endswith(".npy"):
                    with file.open(name) as member:
                        self.shapes[name.removesuffix(".npy")] = _header(member, f"{path}:{name}")

    def load(self, name: str) -> Load:
        """Return what reads one array."""

        def read() -> np.ndarray:
            with np.load(self._path, allow_pickle=False) as file:
                array: np.ndarray = file[name]
            return array

        return read


def _header(member: IO[bytes], origin: str) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise SourceError(f"{origin} has NumPy's format {version}, which is for records and is not read here.")
    shape, _, dtype = read(member)
    return shape, dtype
