"""Read tensors that ``torch.save`` wrote, without torch and without running anything in the file.

Such a file is a zip of a pickle and of one member for each storage, with its bytes as in memory:
https://docs.pytorch.org/docs/stable/notes/serialization.html. The pickle of a tensor needs few names, so an allow-list
is as safe as torch's ``weights_only``, without a download of gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.foreign import pickles
from harness.foreign.pickles import PickleRefused, are_extents
from harness.foreign.torch_storages import Storages, open_torch, read_torch_member
from harness.foreign.unpickling import Allowed
from harness.limits import LimitError, in_words, inflation_limit
from harness.trace.schema import DTYPES

_BFLOAT16 = "bfloat16"

_MOST_AXES = 64  # NumPy's own limit

_STORAGES = {
    f"{name}Storage": kind
    for name, kind in (
        *(("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("BFloat16", _BFLOAT16), ("Bool", "?")),
        *(("ComplexDouble", "<c16"), ("ComplexFloat", "<c8")),
        *(("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"), ("Char", "<i1"), ("Byte", "<u1")),
    )
}


# Types of tensors with an untyped storage: those that torch introduced recently.
_TYPES = {
    **{name: np.dtype(name).newbyteorder("<").str for name in DTYPES},
    "bfloat16": _BFLOAT16,
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), ""),
    **dict.fromkeys(("float4_e2m1fn_x2", "complex32", "quint8", "qint8", "qint32", "quint4x2", "quint2x4"), ""),
}
"""Kind of values by the name of a torch type; empty for a type that NumPy lacks."""


# This class and the two below have no slots: with slots they would have a ``__setstate__``, by which a pickle could
# change them.
@dataclass(frozen=True)
class NoArray:
    """Object in a file that is not a numeric array, with a description of it."""

    what: str


@dataclass(frozen=True)
class _Type:
    """A torch dtype that a file names; calling it is refused."""

    name: str

    def __call__(self, *_: object) -> Any:
        raise PickleRefused(f"it calls the type torch.{self.name}")


@dataclass(frozen=True)
class _Storage:
    """Reference of a pickle to a storage: kind of values (empty if untyped), name of its member, number of values."""

    kind: str
    name: str
    count: int


class TensorLeaf:
    """A tensor as described in a pickle; `view` and `array` return its values.

    Attributes
    ----------
    shape : tuple of int
        Extent along each axis.
    dtype : str
        A NumPy type name; or bfloat16, which NumPy lacks, and whose bits are then returned as uint16.
    """

    __slots__ = ("_kind", "_offset", "_path", "_storage", "_storages", "_strides", "dtype", "shape")

    def __init__(
        self,
        path: Path,
        storages: Storages,
        storage: _Storage,
        kind: str,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self.dtype = _BFLOAT16 if kind == _BFLOAT16 else np.dtype(kind).name
        self._kind = np.dtype("<u2" if kind == _BFLOAT16 else kind)
        self._path, self._storages, self._storage, self._offset, self._strides = (
            path,
            storages,
            storage,
            offset,
            strides,
        )

    def __setstate__(self, state: object) -> None:
        raise PickleRefused("it changes a tensor")

    def array(self) -> np.ndarray:
        """Return the values in C order; raise the errors of `view`."""
        return np.ascontiguousarray(self.view()).reshape(self.shape)

    def view(self) -> np.ndarray:
        """Return the values as a view of the storage, in its order; if the file is uncompressed, this takes no memory.

        Raises
        ------
        HarnessError
            If the file has changed or is damaged.
        LimitError
            If strides repeat the values of the storage beyond the limit of inflation.
        """
        data, kind = self._storages.values(self._storage.name), self._kind
        if len(data) != self._storage.count * (kind.itemsize if self._storage.kind else 1):
            raise HarnessError(
                f"{self._path} is damaged: {len(data)} bytes of a storage of {self._storage.count} values."
            )
        if (size := prod(self.shape) * kind.itemsize) > max(len(data), inflation_limit(len(data))):
            raise LimitError(
                f"{self._path} repeats {in_words(len(data))} into a tensor of {in_words(size)}; if you trust it, raise "
                "--max-inflated."
            )
        if not prod(self.shape):
            return np.empty(self.shape, kind)
        steps = tuple(step * kind.itemsize for step in self._strides)
        return np.ndarray(self.shape, kind, data.data, self._offset * kind.itemsize, steps)


def _storage(pid: Any) -> _Storage:
    fits = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and callable(pid[1])
    if not fits or not isinstance(pid[2], str) or not are_extents(pid[4]):
        raise PickleRefused("it refers to an object that is not a storage of a tensor")
    kind = pid[1]()
    if kind not in (*_STORAGES.values(), ""):
        raise PickleRefused("it refers to an object that is not a storage of a tensor")
    return _Storage(kind, pid[2], pid[4])


def _tensors_of(path: Path, *, typed: bool) -> Callable[..., TensorLeaf | NoArray]:
    """Return the replacement of torch's function that makes a tensor of a storage; `typed` if it also gets the type."""
    storages = Storages(path)

    # Of the arguments after the strides, gradient and hooks change no value; conjugation and negation do.
    def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> TensorLeaf | NoArray:
        if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
            raise PickleRefused("it creates a tensor of an unknown type")
        if len(shape) > _MOST_AXES or len(strides) > _MOST_AXES:
            raise PickleRefused(f"it holds a tensor of more than {_MOST_AXES} axes")
        if not are_extents(offset, *shape, *strides) or len(shape) != len(strides):
            raise PickleRefused(f"it holds a tensor of shape {shape} with strides {strides}, which is not supported")
        stated = rest[2].call if typed and len(rest) > 2 and isinstance(rest[2], Allowed) else None
        if isinstance(stated, _Type) is not typed or bool(storage.kind) is typed:
            raise PickleRefused("it creates a tensor of an unknown type")
        kind = _TYPES[stated.name] if isinstance(stated, _Type) else storage.kind
        if any(rest[2 + typed :]):
            return NoArray("conjugated or negated when it is read: save x.resolve_conj().resolve_neg()")
        if not kind:
            return NoArray(f"a tensor of {stated.name if isinstance(stated, _Type) else 'an unknown type'}")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        count = storage.count // np.dtype("<u2" if kind == _BFLOAT16 else kind).itemsize if typed else storage.count
        if prod(shape) and last >= count:
            raise PickleRefused(f"it holds a tensor of shape {shape} in a storage of {count} values")
        return TensorLeaf(path, storages, storage, kind, offset, shape, strides)

    return rebuild


def _size(numbers: Any = ()) -> tuple[int, ...]:
    if not isinstance(numbers, (tuple, list)) or not are_extents(*numbers):
        raise PickleRefused("it holds the shape of a tensor that has none")
    return tuple(numbers)


def load(path: Path) -> Any:
    """Read a file of ``torch.save``: containers, numbers and text as they are, tensors as `TensorLeaf`.

    Devices, and tensors without a plain array of values, are `NoArray`; types are `Allowed`.

    Parameters
    ----------
    path : Path
        File written by torch 1.6 or newer.

    Returns
    -------
    object
        Content of the file; the values of tensors are not read yet.

    Raises
    ------
    HarnessError
        If the file is truncated, damaged, older, or names anything that no tensor needs. Nothing in it is run.
    """
    with open_torch(path) as file:
        data = read_torch_member(file, path, "data.pkl")
        names = {info.filename.partition("/")[2] for info in file.infolist()}
        if "byteorder" in names and read_torch_member(file, path, "byteorder") != b"little":
            raise HarnessError(f"{path} was written on a big-endian machine, which is not supported; save it again.")
    calls: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch", name): (lambda kind=kind: kind) for name, kind in _STORAGES.items()
    }
    calls |= {("torch", name): _Type(name) for name in _TYPES}
    calls["torch", "UntypedStorage"] = calls["torch.storage", "UntypedStorage"] = lambda: ""
    calls["torch._utils", "_rebuild_tensor_v2"] = _tensors_of(path, typed=False)
    calls["torch._utils", "_rebuild_tensor_v3"] = _tensors_of(path, typed=True)
    for name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        calls["torch._utils", name] = lambda tensor, *_: tensor
    calls["torch._utils", "_rebuild_sparse_tensor"] = lambda *_: NoArray("a sparse tensor")
    calls["torch.serialization", "_get_layout"] = lambda *_: NoArray("a layout")
    calls["torch", "device"] = lambda *_: NoArray("a device")
    calls["torch", "Size"] = _size
    try:
        return pickles.load(data, calls, _storage)
    except PickleRefused as error:
        raise HarnessError(f"{path}: {error}.") from error


def load_tensor(path: Path) -> TensorLeaf:
    """Read a file of ``torch.save`` that holds one tensor and nothing else.

    Raises
    ------
    HarnessError
        As for `load`, and if the file holds anything else.
    """
    content = load(path)
    if not isinstance(content, TensorLeaf):
        raise HarnessError(f"{path} holds a {type(content).__name__} where one tensor is expected.")
    return content
