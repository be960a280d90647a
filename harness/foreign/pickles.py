"""Read pickles of arrays without running anything in them, and find where their arrays lie in the file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.foreign.unpickling import Allowed, Keys, Machine, PickleRefused, check_walk, opcodes

SMALLEST = 256
"""Bytes; a shorter array costs more to list than it can save and stays in the skeleton."""

_MOST_NODES = 1_000_000
_DEEPEST = 64
_MOST_AXES = 64  # NumPy's own limit
_DTYPE = re.compile(r"[|<>=]?[A-Za-z?]\d{0,6}")

_QUOTED = 80  # characters of a name

# What damaged bytes raise in whatever opcode they happen to make.
_DAMAGE = (ValueError, struct.error, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)

_BYTES = {"SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9, "BYTEARRAY8": 9}
"""Opcodes that carry bytes, and how many bytes stand before them: the opcode and the length."""


class _Dtype:
    """A dtype while it is read; numpy's own takes states that are not checked.

    That of ml_dtypes stands for itself, and is one of two bytes that numpy has no name for.
    """

    __slots__ = ("bfloat16", "dtype")

    def __init__(self, code: Any, *_: object) -> None:
        self.bfloat16 = isinstance(code, Allowed) and code.call is _bfloat16
        if self.bfloat16:
            self.dtype = np.dtype("<u2")
            return
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise PickleRefused("it holds an array of an unknown type")
        dtype = np.dtype(code)
        if dtype.fields is not None or dtype.subdtype is not None:
            raise PickleRefused("it holds an array of records")
        self.dtype = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise PickleRefused("it holds an array of records")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])
        if self.dtype.kind in "SU" and isinstance(state[5], int) and 0 <= state[5] < 1 << 20:
            length = state[5] // 4 if self.dtype.kind == "U" else state[5]
            self.dtype = np.dtype(f"{self.dtype.byteorder.replace('|', '')}{self.dtype.kind}{length}")


class ArrayLeaf:
    """An array as its pickle states it: shape, dtype and the bytes, not yet an array.

    Attributes
    ----------
    raw : bytes or list
        The bytes; a list of objects for an array of objects.
    bfloat16 : bool
        Whether its values are of that type; `dtype` and `array` are then uint16, which holds their bits.
    """

    __slots__ = ("bfloat16", "dtype", "fortran", "raw", "scalar", "shape")
    raw: Any

    def __init__(
        self, shape: Any = (0,), dtype: Any = None, fortran: bool = False, raw: Any = b"", scalar: bool = False
    ) -> None:
        self.scalar = scalar
        self._fill(shape, dtype or _Dtype("u1"), fortran, raw)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self._fill(shape, dtype, fortran, raw)

    def _fill(self, shape: Any, kind: _Dtype, fortran: Any, raw: Any) -> None:
        dtype = kind.dtype
        possible = isinstance(shape, tuple) and len(shape) <= _MOST_AXES and are_extents(*shape)
        if not possible or prod(max(1, extent) for extent in shape) * max(1, dtype.itemsize) >= 1 << 63:
            raise PickleRefused("it holds an array of an impossible shape")
        stated = len(raw) if dtype.hasobject else len(raw) / max(1, dtype.itemsize)
        # The first call, before a state is given, has shape (0,) and no bytes, and passes too.
        if stated != prod(shape) or type(raw) is not (list if dtype.hasobject else bytes):
            raise PickleRefused(f"it holds an array of shape {shape} with {len(raw)} bytes")
        self.shape, self.dtype, self.fortran, self.raw = shape, dtype, bool(fortran), raw
        self.bfloat16 = kind.bfloat16

    def array(self) -> np.ndarray:
        """Return the array."""
        order: Any = "F" if self.fortran else "C"
        if self.dtype.hasobject:
            made = np.empty(len(self.raw), dtype=object)
            for position, value in enumerate(self.raw):
                made[position] = plain(value)
            return made.reshape(self.shape, order=order)
        return np.ndarray(self.shape, self.dtype, self.raw, order=order)


def are_extents(*values: Any) -> bool:
    """Say whether all values are integers that an extent, an offset or a stride can be."""
    return all(type(n) is int and 0 <= n < 1 << 63 for n in values)


def _empty(*_: object) -> ArrayLeaf:
    return ArrayLeaf()


def _scalar(dtype: _Dtype, raw: bytes = b"") -> ArrayLeaf:
    return ArrayLeaf((), dtype, False, raw, scalar=True)


def _bfloat16(*_: object) -> Any:
    raise PickleRefused("it creates a scalar of ml_dtypes")


def _encode(text: str, codec: str = "latin1") -> bytes:
    if codec not in ("latin1", "latin-1"):
        raise PickleRefused(f"it encodes text as {codec}")
    return text.encode("latin-1")


def _bytes(content: bytes | str = b"", codec: str = "latin1") -> bytes:
    # Of a number these make that many zeros, which is no way to store any.
    if isinstance(content, str):
        return _encode(content, codec)
    if not isinstance(content, bytes):
        raise PickleRefused(f"it creates bytes from {type(content).__name__}")
    return content


def _from_buffer(raw: Any, dtype: _Dtype, shape: Any, order: str) -> ArrayLeaf:
    return ArrayLeaf(shape, dtype, order == "F", raw)


def _from_jax(make: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...], *_: Any) -> ArrayLeaf:
    # What jax stores of an array is numpy's own pickle of it, in pieces, and facts about its device.
    if not isinstance(make, Allowed) or make.call is not _empty:
        raise PickleRefused("it creates an array of an unknown type")
    leaf = _empty(*arguments)
    leaf.__setstate__(state)
    return leaf


def _allowed(keys: Keys) -> dict[tuple[str, str], Callable[..., Any]]:
    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy", "ndarray"): _empty,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): keys.pairs,
        ("ml_dtypes", "bfloat16"): _bfloat16,
        ("jax._src.array", "_reconstruct_array"): _from_jax,
        ("jax._src.device_array", "reconstruct_device_array"): _from_jax,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray", "_reconstruct"] = _empty
        known[f"{core}.multiarray", "scalar"] = _scalar
        known[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for builtins in ("builtins", "__builtin__"):
        known[builtins, "set"] = lambda items=(): set(keys.checked(items))
        known[builtins, "frozenset"] = lambda items=(): frozenset(keys.checked(items))
        known[builtins, "complex"] = complex
        known[builtins, "bytes"] = known[builtins, "bytearray"] = _bytes
    return known


Calls = Mapping[tuple[str, str], Callable[..., Any]]


def _nothing_outside(_: Any) -> Any:
    raise PickleRefused("it refers to an object outside the file")


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
    keys = Keys()
    calls = {**_allowed(keys), **more}

    def find(module: str, name: str) -> Allowed:
        if (call := calls.get((module, name))) is None:
            raise PickleRefused(f"it asks for {module[:_QUOTED]}.{name[:_QUOTED]}, which no array needs")
        return Allowed(call)

    try:
        content = Machine(data, find, outside or _nothing_outside, keys).run()
        check_walk(content, _parts, _MOST_NODES, _DEEPEST)
        return content
    except PickleRefused as error:
        raise PickleRefused(f"the pickle is refused: {error}") from None
    except MemoryError:
        raise PickleRefused("the pickle is damaged: it asks for more memory than there is") from None
    except _DAMAGE as error:
        raise PickleRefused(
            f"the pickle is truncated or damaged ({type(error).__name__}: {str(error)[:_QUOTED]})"
        ) from None


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, ArrayLeaf):
        return value.raw if isinstance(value.raw, list) else None
    return value if isinstance(value, (list, tuple)) else None


def plain(content: Any) -> Any:
    """Turn what `load` gives into the containers, numbers and arrays that a consumer expects."""
    if isinstance(content, ArrayLeaf):
        array = content.array()
        if content.bfloat16:  # numpy lacks it; it is the upper half of the float32 of the same value
            array = np.asarray(array.astype("<u4") << 16).view("<f4")
        return array[()] if content.scalar else array
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(plain(value) for value in content)
    return content


def leaves(content: Any) -> Iterator[tuple[tuple[str, ...], ArrayLeaf]]:
    """Walk over the arrays in what `load` gives, each with the keys that lead to it."""
    left: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while left:
        path, value = left.pop()
        if isinstance(value, ArrayLeaf):
            yield path, value
        elif isinstance(value, dict):
            left += [((*path, str(key)), inside) for key, inside in reversed(value.items())]
        elif isinstance(value, (list, tuple)):
            left += [((*path, str(position)), value[position]) for position in reversed(range(len(value)))]


def payloads(data: bytes) -> list[tuple[int, int]]:
    """Find the byte strings in a pickle that are long enough to be taken out: where each starts, and its length."""
    found = []
    for name, argument, position in opcodes(data):
        before = _BYTES.get(name)
        if before is not None and argument is not None and position is not None and len(argument) >= SMALLEST:
            found.append((position + before, len(argument)))
    return found
