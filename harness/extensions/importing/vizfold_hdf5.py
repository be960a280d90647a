"""Importer of the archive schema's ``Run.vizfold.h5``: its groups and metadata in HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.errors import UsageError
from harness.extensions.importing.vizfold_layout import is_of_vizfold, of_schema, read_layout
from harness.files import DOCUMENT
from harness.foreign.arrays import hdf5_arrays, hdf5_names
from harness.foreign.containers import numeric
from harness.foreign.source import ForeignArray, Gathering, ImportedTrace, Importer, readable
from harness.formats.hdf5_file import MANIFEST, open_hdf5
from harness.limits import LimitError, in_words

_KIND = "vizfold-hdf5"
_PART = 64  # texts per read
_OTHERS = (MANIFEST, "activations/layer_0/single")
"""Names that identify an archive of this harness, and a file of the earlier comparison."""


def _recognises(path: Path) -> bool:
    names = _names(path)
    return is_of_vizfold(names) and not {*_OTHERS} & names


def _names(path: Path) -> set[str]:
    """Return the names of groups and arrays; empty if the path is no HDF5 file or its content cannot be listed."""
    return set() if path.is_dir() else hdf5_names(path) or set()


class _Hdf5Store:
    """Content of a file: arrays of numbers, texts, and the attributes of its root and of ``metadata``."""

    def __init__(self, gathering: Gathering) -> None:
        path = gathering.path
        self.arrays: dict[str, ForeignArray] = {}
        self.texts: dict[str, list[str]] = {}
        self.attributes: dict[str, Any] = {}
        left, others = [], dict[str, str]()
        for name, array in hdf5_arrays(path, others).items():
            if numeric(array.dtype):
                self.arrays[name] = array
            elif h5py.check_string_dtype(array.dtype) and len(array.shape) <= 1:
                with readable(f"{path}/{name}"):
                    self.texts[name] = _texts(array)
            else:
                left.append(name)
        with readable(path), open_hdf5(path) as file:
            self._take_attributes(file)
            if isinstance(file.get("metadata", getlink=True), h5py.HardLink):
                self._take_attributes(file["metadata"])
        gathering.file(path)
        gathering.leave_out(left, "neither numbers nor text")
        gathering.leave_out(f"{name} ({why})" for name, why in others.items())

    def _take_attributes(self, node: Any) -> None:
        self.attributes |= {_plain(name): _plain(value) for name, value in node.attrs.items()}


def _texts(array: ForeignArray) -> list[str]:
    """Read a text or a list of texts in parts, because a small file can repeat one long text very often.

    Raises
    ------
    LimitError
        If the texts are longer than `DOCUMENT`.
    """
    rows, found = array.load(), list[str]()
    for start in range(0, array.shape[0] if array.shape else 1, _PART):
        part = np.asarray(rows[start : start + _PART] if array.shape else rows[()])
        found += [str(_plain(value)) for value in part.reshape(-1).tolist()]
        if sum(map(len, found)) > DOCUMENT:
            raise LimitError(f"it holds more than {in_words(DOCUMENT)} of text")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # h5py marks bytes that are not UTF-8 by surrogates
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()] if value.shape else _plain(value[()])
    return value.item() if isinstance(value, np.generic) else value


def _read(path: Path) -> ImportedTrace:
    if not of_schema(_names(path)):
        raise UsageError(f"{path} is not an HDF5 file of the archive schema: it has no array such as single/layer_0.")
    gathering = Gathering(path, _KIND)
    return read_layout(gathering, _Hdf5Store(gathering))


importer = Importer(
    name=_KIND,
    description="Run.vizfold.h5: the groups of the archive schema in HDF5, also with the layers in one array",
    recognises=_recognises,
    read=_read,
)
