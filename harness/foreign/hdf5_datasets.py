"""Arrays of foreign HDF5 files: shapes first, values on demand, and nothing from outside the file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.files import open_regular
from harness.foreign.foreign_array import ForeignArray, SourceError, readable
from harness.formats.hdf5_file import open_hdf5

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ELSEWHERE, _COMPOSED = "its values lie in another file", "its values lie in other datasets or files"
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


def hdf5_arrays(path: Path, left_out: dict[str, str] | None = None) -> dict[str, ForeignArray]:
    """Return the datasets of an HDF5 file by name, without following links.

    A dataset with several names is returned under the first one only.

    Parameters
    ----------
    path : Path
        The file.
    left_out : dict, optional
        Filled with the reason for each item that is not returned, by name. Without it, values in other datasets or
        files are refused.

    Raises
    ------
    SourceError
        If the file is damaged, or values are refused.
    """
    found: dict[str, ForeignArray] = {}
    others: dict[str, str] = {}
    with readable(path), open_hdf5(path) as file:
        names = {_address(file.id): "/"}

        def visit(name: bytes, link: Any) -> None:  # each link of each group once, without following any
            shown = _shown(name)
            if link.type != h5py.h5l.TYPE_HARD:
                others[shown] = _leads(file, name, link.type)
                return
            opened = h5py.h5o.open(file.id, name)
            if (first := names.setdefault(_address(opened), shown)) != shown:
                others[shown] = f"the same as {first}"
            elif isinstance(opened, h5py.h5d.DatasetID):
                taken = _taken(path, name, h5py.Dataset(opened))
                if isinstance(taken, ForeignArray):
                    found[shown] = taken
                elif taken:
                    others[shown] = taken

        file.id.links.visit(visit, info=True)
    if left_out is not None:
        left_out |= others
    elif name := next((name for name, why in others.items() if why in (_ELSEWHERE, _COMPOSED)), ""):
        raise SourceError(f"{path}: the values of {name} {others[name].removeprefix('its values ')}; import that.")
    return found


def hdf5_names(path: Path) -> set[str] | None:
    """Return the names of the groups and datasets of a file, without following links.

    Returns
    -------
    set of str
        Empty if the file does not begin with the signature of HDF5; None if it is damaged.
    """
    with open_regular(path) as handle:
        if handle.read(len(_SIGNATURE)) != _SIGNATURE:
            return set()
    names: set[str] = set()
    try:
        with open_hdf5(path) as file:
            # h5py passes a name that is not UTF-8 as bytes. `add` returns None, so the visit continues.
            file.visit(lambda name: names.add(name if isinstance(name, str) else _shown(name)))
    except (OSError, RuntimeError, ValueError, KeyError):
        return None
    return names


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _address(opened: Any) -> tuple[int, int]:
    """Return a key that identifies an object, whatever its name."""
    info = h5py.h5o.get_info(opened)
    return info.fileno, info.addr


def _leads(file: h5py.File, name: bytes, kind: int) -> str:
    """Describe the target of a link that is not followed."""
    if kind == h5py.h5l.TYPE_SOFT:
        return f"a link to {file.id.links.get_val(name).decode('utf-8', 'replace')}"
    return "a link to another file" if kind == h5py.h5l.TYPE_EXTERNAL else "a link of an unknown kind"


def _taken(path: Path, name: bytes, dataset: h5py.Dataset) -> ForeignArray | str:
    """Describe a dataset, or return why it is left out; empty for a netCDF dimension without values."""
    if dataset.external or dataset.is_virtual:
        return _ELSEWHERE if dataset.external else _COMPOSED
    if dataset.shape is None:
        return "no values: its data space is null"
    if _is_dimension_only(dataset):
        return ""
    try:
        dtype = dataset.dtype
    except TypeError as error:  # NumPy has no such type
        return f"values of a type that h5py does not read: {error}"
    axes = _axes(dataset)
    # Each value may be an array; NumPy appends its axes to the others.
    base, inner = dtype.subdtype or (dtype, ())
    named = axes if all(axes) and not inner else ()
    chunks = (*dataset.chunks, *inner) if dataset.chunks else None
    load = partial(_Rows, path, name, dataset.ndim, chunks)
    shape = (*dataset.shape, *inner)
    return ForeignArray(shape, base, load, axes=named, chunks=chunks or (1,) * len(shape))


def _is_dimension_only(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset only stores the name and length of a netCDF dimension, and no values of a user."""
    try:
        name = dataset.attrs.get("NAME")
    except (OSError, TypeError):  # of a type that h5py does not read
        return False
    return isinstance(name, bytes) and name.startswith(_NO_VARIABLE)


def _axes(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Return the name of each axis: its label, or else its netCDF dimension; empty if it has neither.

    They are read as attributes: HDF5's own functions crash the process if these have another type than HDF5 writes.
    """
    labels, scales = _by_axis(dataset, "DIMENSION_LABELS"), _by_axis(dataset, "DIMENSION_LIST")
    return tuple(
        label if isinstance(label, str) and label else _named(dataset, scale)
        for label, scale in zip(labels, scales, strict=True)
    )


def _by_axis(dataset: h5py.Dataset, name: str) -> list[Any]:
    """Return the value of an attribute for each axis, None for all if it has another shape or type."""
    try:
        found = dataset.attrs.get(name)
    except (OSError, TypeError):
        found = None
    fits = isinstance(found, np.ndarray) and found.dtype.hasobject and found.shape == (dataset.ndim,)
    return list(found) if fits else [None] * dataset.ndim


def _named(dataset: h5py.Dataset, scales: Any) -> str:
    """Return the name of the first referenced dataset, without its group; empty if there is none."""
    if not isinstance(scales, np.ndarray) or not len(scales) or not isinstance(scales[0], h5py.Reference):
        return ""
    try:
        return str(dataset.file[scales[0]].name or "").rpartition("/")[2]
    except (KeyError, OSError, RuntimeError, ValueError):  # it refers to nothing
        return ""


class _Rows:
    """Dataset that is opened for each read, so that no handle outlives the import."""

    def __init__(self, path: Path, name: bytes, axes: int, chunks: tuple[int, ...] | None) -> None:
        self._path, self._name, self._axes, self.chunks = path, name, axes, chunks

    def __getitem__(self, part: Any) -> np.ndarray:
        index = part if isinstance(part, tuple) else (part,)
        with open_hdf5(self._path) as file:
            dataset = h5py.Dataset(h5py.h5d.open(file.id, self._name))
            if Ellipsis in index or len(index) <= self._axes:
                return np.asarray(dataset[part])
            found = np.asarray(dataset[index[: self._axes]])
        kept = sum(isinstance(one, slice) for one in index[: self._axes])
        return found[(slice(None),) * kept + index[self._axes :]]
