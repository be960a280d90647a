"""Raw arrays in files, of which any part can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.files import open_regular
from harness.formats.flat import read_flat
from harness.formats.selection import whole
from harness.formats.threads import ThreadTeam

_ALONE = ThreadTeam(1)


class FlatArray:
    """Raw array in a file, which is opened for each read.

    The file is not memory-mapped: if another program truncates a mapped file, the system kills a process that accesses
    the missing part.

    Parameters
    ----------
    path : Path
        The file.
    dtype : dtype
        Type of the values, with their byte order.
    offset : int
        Position of the first value, in bytes.
    shape : tuple of int
        Length of each axis.
    fortran : bool
        Whether the first axis varies fastest.
    """

    def __init__(self, path: Path, dtype: np.dtype, offset: int, shape: tuple[int, ...], fortran: bool = False) -> None:
        self.shape, self.dtype = shape, dtype
        self._path, self._offset, self._fortran = path, offset, fortran

    def __getitem__(self, part: Any) -> np.ndarray:
        given = part if isinstance(part, tuple) else () if part is Ellipsis else (part,)
        selection = whole(self.shape, (*given, *(slice(None) for _ in self.shape[len(given) :])))
        step = -1 if self._fortran else 1
        with open_regular(self._path) as file:
            place = file.fileno(), self._offset
            values = read_flat(*place, self.shape[::step], self.dtype, selection[::step], _ALONE)
        return values.T if self._fortran else values
