"""Read pickles of arrays without running anything in them, and find where their arrays lie in the file."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.errors import HarnessError

SMALLEST = 256
"""Bytes; a shorter array costs more to list than it can save and stays in the skeleton."""

_MOST_NODES = 1_000_000
_DEEPEST = 100

_BYTES = {"SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9, "BYTEARRAY8": 9}
"""Opcodes that carry bytes, and how many bytes stand before them: the opcode and the length."""


class PickleRefused(HarnessError):
    """A pickle is damaged, or asks for something that an array does not need."""


class _Allowed:
    """Stands for one global that a pickle may call; it cannot be changed by the pickle that is given it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise PickleRefused("it changes a function")


class _Dtype:
    """A dtype while it is read; numpy's own takes states that are not checked."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_: object) -> None:
        dtype = np.dtype(str(code))
        if dtype.fields is not None or dtype.subdtype is not None:
            raise PickleRefused("it holds an array of records")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise PickleRefused("it holds an array of records")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])
        if self.dtype.kind in "SU" and isinstance(state[5], int) and 0 <= state[5] < 1 << 20:
            self.dtype = np.dtype(f"{self.dtype.byteorder.replace('|', '')}{self.dtype.kind}{self._length(state[5])}")

    def _length(self, itemsize: int) -> int:
        return itemsize // 4 if self.dtype.kind == "U" else itemsize


class ArrayLeaf:
    """An array as its pickle states it: shape, dtype and the bytes, not yet an array.

    Attributes
    ----------
    raw : bytes or list
        The bytes; a list of objects for an array of objects.
    """

    __slots__ = ("dtype", "fortran", "raw", "scalar", "shape")

    def __init__(
        self, shape: Any = (0,), dtype: Any = None, fortran: bool = False, raw: Any = b"", scalar: bool = False
    ) -> None:
        self.scalar = scalar
        self._fill(shape, dtype.dtype if dtype is not None else np.dtype(np.uint8), fortran, raw)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self._fill(shape, dtype.dtype, fortran, raw)

    def _fill(self, shape: Any, dtype: np.dtype, fortran: Any, raw: Any) -> None:
        shape = tuple(int(n) for n in shape)
        raw = bytes(raw) if isinstance(raw, (bytearray, pickle.PickleBuffer)) else raw
        count = 1
        for extent in shape:
            count *= extent
        stated = len(raw) if dtype.hasobject else len(raw) / max(1, dtype.itemsize)
        # The first call, before a state is given, has shape (0,) and no bytes, and passes too.
        if any(n < 0 for n in shape) or stated != count or isinstance(raw, bytes) == dtype.hasobject:
            raise PickleRefused(f"it holds an array of shape {shape} with {len(raw)} bytes")
        self.shape, self.dtype, self.fortran, self.raw = shape, dtype, bool(fortran), raw

    def array(self) -> np.ndarray:
        """Return the array."""
        order: Any = "F" if self.fortran else "C"
        if self.dtype.hasobject:
            made = np.empty(len(self.raw), dtype=object)
            made[:] = [plain(value) for value in self.raw]
            return made.reshape(self.shape, order=order)
        return np.frombuffer(self.raw, self.dtype).reshape(self.shape, order=order)


def _scalar(dtype: _Dtype, raw: bytes = b"") -> ArrayLeaf:
    return ArrayLeaf((), dtype, False, raw, scalar=True)


def _encode(text: str, codec: str = "latin1") -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise PickleRefused(f"it encodes text as {codec}")
    return text.encode("latin-1")


def _bytes(content: bytes | str = b"", codec: str = "latin1") -> bytes:
    # Of a number these make that many zeros, which is no way to store any.
    if isinstance(content, str):
        return _encode(content, codec)
    if not isinstance(content, bytes):
        raise PickleRefused(f"it makes bytes of {type(content).__name__}")
    return content


def _from_buffer(raw: Any, dtype: _Dtype, shape: Any, order: str) -> ArrayLeaf:
    return ArrayLeaf(shape, dtype, order == "F", raw)


def _from_jax(make: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...], *_: Any) -> ArrayLeaf:
    # What jax stores of an array is numpy's own pickle of it, in pieces, and facts about its device.
    if not isinstance(make, _Allowed):
        raise PickleRefused("it makes an array of something else")
    leaf = make(*arguments)
    if not isinstance(leaf, ArrayLeaf):
        raise PickleRefused("it makes an array of something else")
    leaf.__setstate__(state)
    return leaf


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): lambda *_: ArrayLeaf(),
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
        ("jax._src.array", "_reconstruct_array"): _from_jax,
        ("jax._src.device_array", "reconstruct_device_array"): _from_jax,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray", "_reconstruct"] = lambda *_: ArrayLeaf()
        known[f"{core}.multiarray", "scalar"] = _scalar
        known[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for name, make in (
        ("set", set),
        ("frozenset", frozenset),
        ("complex", complex),
        ("bytes", _bytes),
        ("bytearray", _bytes),
    ):
        known["builtins", name] = known["__builtin__", name] = make
    return known


_ALLOWED = _allowed()


Calls = Mapping[tuple[str, str], Callable[..., Any]]


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, more: Calls, outside: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(data))
        self._more, self._outside = more, outside

    def find_class(self, module: str, name: str) -> Any:
        call = _ALLOWED.get((module, name)) or self._more.get((module, name))
        if call is None:
            raise PickleRefused(f"it asks for {module}.{name}, which no array needs")
        return _Allowed(call)

    def persistent_load(self, pid: Any) -> Any:
        if self._outside is None:
            raise PickleRefused("it refers to something outside of itself")
        return self._outside(pid)


def load(data: bytes, more: Calls = MappingProxyType({}), outside: Callable[[Any], Any] | None = None) -> Any:
    """Read a pickle of containers, numbers, text and arrays; arrays stay `ArrayLeaf`.

    Parameters
    ----------
    data : bytes
        The pickle.
    more : mapping of (str, str) to callable
        What it may call besides, by module and name, and what is called in its place. What that returns must not be
        changeable by the pickle: a class needs a ``__setstate__`` that refuses or checks.
    outside : callable, optional
        Takes what the pickle says of something that is stored outside of it, and returns what stands for it.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    PickleRefused
        When it is truncated or damaged, or names anything that is not on the list; nothing of it was run.
    """
    try:
        content = _Reader(data, more, outside).load()
        _count(content, [_MOST_NODES])
        return content
    except PickleRefused as error:
        raise PickleRefused(f"the pickle is refused: {error}") from None
    except MemoryError:
        raise PickleRefused("the pickle is damaged: it asks for more memory than there is") from None
    except Exception as error:  # noqa: BLE001 - damaged bytes fail in whatever opcode they happen to make
        raise PickleRefused(f"the pickle is truncated or damaged ({type(error).__name__}: {error})") from None


def _count(content: Any, left: list[int], depth: int = 0) -> None:
    # A few lists that each hold the one before twice are a walk without end; no result of a prediction looks like it.
    left[0] -= 1
    if depth > _DEEPEST:
        raise PickleRefused(f"it is nested more than {_DEEPEST} deep")
    if left[0] < 0:
        raise PickleRefused(f"it holds more than {_MOST_NODES} objects")
    if isinstance(content, dict):
        content = content.values()
    elif not isinstance(content, (list, tuple)):
        return
    for value in content:
        _count(value, left, depth + 1)


def plain(content: Any) -> Any:
    """Turn what `load` gives into the containers, numbers and arrays that a consumer expects."""
    if isinstance(content, ArrayLeaf):
        array = content.array()
        return array[()] if content.scalar else array
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(plain(value) for value in content)
    return content


def leaves(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ArrayLeaf]]:
    """Walk over the arrays in what `load` gives, each with the keys that lead to it."""
    if isinstance(content, ArrayLeaf):
        yield path, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(content, (list, tuple)):
        for position, value in enumerate(content):
            yield from leaves(value, (*path, str(position)))


def payloads(data: bytes) -> list[tuple[int, int]]:
    """Find the byte strings in a pickle that are long enough to be taken out.

    Parameters
    ----------
    data : bytes
        A pickle that `load` reads.

    Returns
    -------
    list of (int, int)
        Where each starts in the pickle, and its length.
    """
    found = []
    for opcode, argument, position in pickletools.genops(data):
        before = _BYTES.get(opcode.name)
        if before is not None and argument is not None and position is not None and len(argument) >= SMALLEST:
            found.append((position + before, len(argument)))
    return found
