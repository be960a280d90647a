"""Read tensors that ``torch.save`` wrote, without torch and without running anything in the file.

Such a file is a zip of a pickle and of one member for each storage, stored as it is in memory:
https://docs.pytorch.org/docs/stable/notes/serialization.html. The pickle of a tensor needs a handful of names, so an
allow-list reads it as safely as torch's ``weights_only`` does, where torch is a download of gigabytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.foreign import pickles
from harness.foreign.pickles import PickleRefused, are_extents
from harness.limits import LimitError, in_words, inflation_limit
from harness.zips import DAMAGE, check_inflation, open_zip, read_member

_BFLOAT16 = "bfloat16"

_MOST_AXES = 64  # as many as NumPy has

_STORAGES = {
    f"{name}Storage": kind
    for name, kind in (
        *(("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("BFloat16", _BFLOAT16), ("Bool", "?")),
        *(("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"), ("Char", "<i1"), ("Byte", "<u1")),
    )
}


@dataclass(frozen=True)  # without slots, so that no pickle can change one
class _Storage:
    """A storage as the pickle refers to it: where its bytes lie, and what they are."""

    kind: str
    name: str
    count: int


class TensorLeaf:
    """A tensor as its pickle states it; `array` reads its values.

    Attributes
    ----------
    shape : tuple of int
        Extent along each axis.
    dtype : str
        A numpy type name; or bfloat16, which numpy lacks, and whose bits are then the values, as uint16.
    """

    __slots__ = ("_offset", "_path", "_storage", "_strides", "dtype", "shape")

    def __init__(self, path: Path, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]):
        self.shape = shape
        self.dtype = "bfloat16" if storage.kind == _BFLOAT16 else np.dtype(storage.kind).name
        self._path, self._storage, self._offset, self._strides = path, storage, offset, strides

    def __setstate__(self, state: object) -> None:
        raise PickleRefused("it changes a tensor")

    def array(self) -> np.ndarray:
        """Return the values, in C order.

        Raises
        ------
        HarnessError
            When the file has changed or is damaged.
        """
        with _open(self._path) as file:
            data = _member(file, self._path, f"data/{self._storage.name}")
        kind = np.dtype("<u2" if self._storage.kind == _BFLOAT16 else self._storage.kind)
        if len(data) != self._storage.count * kind.itemsize:
            raise HarnessError(
                f"{self._path} is damaged: {len(data)} bytes of a storage of {self._storage.count} values."
            )
        if (size := prod(self.shape) * kind.itemsize) > max(len(data), inflation_limit(len(data))):
            raise LimitError(
                f"{self._path} repeats {in_words(len(data))} into a tensor of {in_words(size)}; if you trust it, raise "
                "--max-inflated."
            )
        values = np.frombuffer(data, kind)
        steps = tuple(step * kind.itemsize for step in self._strides)
        view = np.ndarray(self.shape, kind, values, self._offset * kind.itemsize, steps) if prod(self.shape) else None
        return np.empty(self.shape, kind) if view is None else np.ascontiguousarray(view).reshape(self.shape)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return open_zip(path)
    except DAMAGE as error:
        raise HarnessError(f"{path} is truncated, damaged, or not a file of torch.save in its zip format.") from error


def _member(file: zipfile.ZipFile, path: Path, name: str) -> bytes:
    # All members are inside one folder, named after the file when it was written.
    found = [info for info in file.infolist() if info.filename.partition("/")[2] == name]
    if len(found) != 1:
        raise HarnessError(f"{path} is damaged, or not a file of torch.save: it holds no {name}.")
    try:
        return read_member(file, found[0], check_inflation(file, found[0]))
    except DAMAGE as error:
        raise HarnessError(f"{path} is damaged: {name} cannot be read ({error}).") from error


def _storage(pid: Any) -> _Storage:
    fits = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and callable(pid[1])
    if not fits or not isinstance(pid[2], str) or not are_extents(pid[4]):
        raise PickleRefused("it refers to an object that is not a storage of a tensor")
    kind = pid[1]()
    if kind not in _STORAGES.values():
        raise PickleRefused("it refers to an object that is not a storage of a tensor")
    return _Storage(kind, pid[2], pid[4])


def _tensors_of(path: Path) -> Callable[..., TensorLeaf]:
    # Of what follows the strides, a gradient and hooks change no value; conjugation and negation do.
    def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> TensorLeaf:
        if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
            raise PickleRefused("it creates a tensor of an unknown type")
        if len(shape) > _MOST_AXES or len(strides) > _MOST_AXES:
            raise PickleRefused(f"it holds a tensor of more than {_MOST_AXES} axes")
        if not are_extents(offset, *shape, *strides) or len(shape) != len(strides) or any(rest[2:]):
            raise PickleRefused(f"it holds a tensor of shape {shape} with strides {strides}, which is not supported")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if prod(shape) and last >= storage.count:
            raise PickleRefused(f"it holds a tensor of shape {shape} in a storage of {storage.count} values")
        return TensorLeaf(path, storage, offset, shape, strides)

    return rebuild


def load(path: Path) -> Any:
    """Read a file of ``torch.save``: containers, numbers and text as they are, tensors as `TensorLeaf`.

    Parameters
    ----------
    path : Path
        Written by torch 1.6 or newer.

    Returns
    -------
    object
        Its content; a tensor's values are not read yet.

    Raises
    ------
    HarnessError
        When it is truncated, damaged, older, or names anything that a tensor does not need; nothing of it was run.
    """
    with _open(path) as file:
        data = _member(file, path, "data.pkl")
        names = {info.filename.partition("/")[2] for info in file.infolist()}
        if "byteorder" in names and _member(file, path, "byteorder") != b"little":
            raise HarnessError(f"{path} was written on a big-endian machine, which is not supported; save it again.")
    calls: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch", name): (lambda kind=kind: kind) for name, kind in _STORAGES.items()
    }
    calls["torch._utils", "_rebuild_tensor_v2"] = _tensors_of(path)
    calls["torch._utils", "_rebuild_parameter"] = lambda tensor, *_: tensor
    try:
        return pickles.load(data, calls, _storage)
    except PickleRefused as error:
        raise HarnessError(f"{path}: {error}.") from error


def load_tensor(path: Path) -> TensorLeaf:
    """Read a file of ``torch.save`` that holds one tensor and nothing else.

    Raises
    ------
    HarnessError
        As `load`, and when it holds something else.
    """
    content = load(path)
    if not isinstance(content, TensorLeaf):
        raise HarnessError(f"{path} holds a {type(content).__name__} where one tensor is expected.")
    return content
