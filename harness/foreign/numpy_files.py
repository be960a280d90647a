"""Arrays of foreign NPZ and NPY files: shapes first, values in parts on demand, and no unpickling."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from harness.files import open_regular
from harness.foreign.flat_array import FlatArray
from harness.foreign.foreign_array import ForeignArray, SourceError, readable
from harness.scratch import is_large, room
from harness.trace.stream import block_rows
from harness.zips import check_inflation, open_zip, read_into

_LONGEST = 10_000
"""Maximum bytes of a header, as in NumPy; the header of an array without fields has about a hundred."""


def npz_arrays(path: Path, left_out: dict[str, str] | None = None) -> dict[str, ForeignArray]:
    """Return the arrays of an NPZ by name; arrays of pickled objects are described, but never unpickled.

    Parameters
    ----------
    path : Path
        The file.
    left_out : dict, optional
        Filled with the reason for each member that is not returned, by name.

    Raises
    ------
    SourceError
        If the file is damaged, or holds two arrays of one name.
    """
    found: dict[str, ForeignArray] = {}
    with readable(path), open_zip(path) as file:
        for info in file.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                if left_out is not None and not info.is_dir():
                    left_out[name] = "no array of NumPy (.npy)"
                continue
            if name in found:
                raise SourceError(f"{path} holds two arrays named {name!r}: rename or remove one of the two.")
            check_inflation(file, info, streamed=True)
            with file.open(info) as member:
                found[name] = _of_member(path, info, *_header(member, info.file_size, f"{path}:{info.filename}"))
    return found


def npy_array(path: Path) -> ForeignArray:
    """Describe the array of an NPY, of which any part can be read."""
    with readable(path), open_regular(path) as file:
        shape, fortran, dtype = _header(file, path.stat().st_size, str(path))
        flat = FlatArray(path, dtype, file.tell(), shape, fortran)
    return ForeignArray.of(flat)


def _of_member(
    path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> ForeignArray:
    by_rows = shape and not is_large(prod(shape[1:]) * dtype.itemsize) and not fortran
    rows = partial(_rows, path, info, shape, dtype) if by_rows else None
    return ForeignArray(shape, dtype, _Unpacked(path, info, shape, fortran, dtype), rows)


def _rows(path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    step = block_rows(shape, dtype.itemsize)
    with _values(path, info) as member:
        for start in range(0, shape[0], step):
            block = np.empty((min(step, shape[0] - start), *shape[1:]), dtype)
            read_into(member, block)
            yield block


class _Unpacked:
    """Loader of a complete array in an NPZ; a large one is unpacked once, into a temporary file."""

    def __init__(
        self, path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
    ) -> None:
        self._path, self._info, self._shape, self._dtype = path, info, shape, dtype
        self._order: Any = "F" if fortran else "C"
        self._kept: np.ndarray | None = None

    def __call__(self) -> np.ndarray:
        if self._kept is not None:
            return self._kept
        values = room((prod(self._shape),), self._dtype)
        with _values(self._path, self._info) as member:
            read_into(member, values)
        array = values.reshape(self._shape, order=self._order)
        if is_large(array.nbytes):  # then it is on disk, not in memory
            self._kept = array
        return array


@contextmanager
def _values(path: Path, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """Open a member of an NPZ at its first value."""
    with open_zip(path) as file, file.open(info) as member:
        _header(member, info.file_size, f"{path}:{info.filename}")
        yield member


def _header(member: IO[bytes], nbytes: int, origin: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    known: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
        (3, 0): _header_3_0,
    }
    if version not in known:
        raise SourceError(f"{origin} has NumPy's format {version}, which is not supported.")
    shape, fortran, dtype = known[version](member)
    stated = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (not dtype.hasobject and member.tell() + stated != nbytes):
        raise SourceError(f"{origin} is damaged: its size is not that of {dtype} of shape {shape}.")
    return shape, fortran, dtype


def _header_3_0(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read a header of version 3.0, for fields with names beyond Latin-1; NumPy has no public function for it."""
    length = int.from_bytes(member.read(4), "little")
    if length > _LONGEST:
        raise ValueError(f"a header of {length} bytes")
    stated = ast.literal_eval(member.read(length).decode())
    return tuple(stated["shape"]), bool(stated["fortran_order"]), npy.descr_to_dtype(stated["descr"])
