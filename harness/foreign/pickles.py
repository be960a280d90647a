"""Read pickles of arrays without running anything in them, and find the positions of their arrays in the file."""

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
"""Minimum bytes of a listed array; a shorter one costs more to list than it saves, and stays in the skeleton."""

_MOST_NODES = 1_000_000
_DEEPEST = 64
_MOST_AXES = 64  # NumPy's own limit
_DTYPE = re.compile(r"[|<>=]?[A-Za-z?]\d{0,6}")

_QUOTED = 80  # characters of a name in a message

# Exceptions that damaged bytes may raise, depending on the opcode that they form.
_DAMAGE = (ValueError, struct.error, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)

_BYTES = {"SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9, "BYTEARRAY8": 9}
"""Opcodes that carry bytes, and how many bytes precede these: the opcode and the length."""


class _Dtype:
    """Checked replacement of a NumPy dtype, which itself accepts unchecked states.

    For bfloat16 of ml_dtypes, which NumPy lacks, the dtype is uint16.
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
    """An array as described in a pickle: shape, dtype and bytes, not yet a NumPy array.

    Attributes
    ----------
    raw : bytes or list
        Bytes of the values; a list of objects for an array of objects.
    bfloat16 : bool
        Whether the values are bfloat16; `dtype` and `array` are then their bits as uint16.
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
        """Return the values as a NumPy array."""
        order: Any = "F" if self.fortran else "C"
        if self.dtype.hasobject:
            made = np.empty(len(self.raw), dtype=object)
            for position, value in enumerate(self.raw):
                made[position] = plain(value)
            return made.reshape(self.shape, order=order)
        return np.ndarray(self.shape, self.dtype, self.raw, order=order)


def are_extents(*values: Any) -> bool:
    """Return whether all values are integers that are valid as an extent, an offset or a stride."""
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
    # A number is refused: ``bytes`` would create that many zeros from it.
    if isinstance(content, str):
        return _encode(content, codec)
    if not isinstance(content, bytes):
        raise PickleRefused(f"it creates bytes from {type(content).__name__}")
    return content


def _from_buffer(raw: Any, dtype: _Dtype, shape: Any, order: str) -> ArrayLeaf:
    return ArrayLeaf(shape, dtype, order == "F", raw)


def _from_jax(make: Callable[..., Any], arguments: tuple[Any, ...], state: tuple[Any, ...], *_: Any) -> ArrayLeaf:
    # jax stores the parts of NumPy's own pickle of an array, and facts about its device.
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
        Replacements of additional globals that the pickle may call, by module and name. The pickle must not be able to
        change what they return: a class needs a ``__setstate__`` that refuses or checks.
    outside : callable, optional
        Takes the persistent ID of an object that is stored outside the pickle; returns its replacement.

    Returns
    -------
    object
        Content of the pickle.

    Raises
    ------
    PickleRefused
        If the pickle is truncated or damaged, or names anything that is not on the list. Nothing in it is run.
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
    """Convert the result of `load` to the containers, numbers and NumPy arrays that a consumer expects."""
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
    """Yield each array in the result of `load`, with the keys that lead to it."""
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
    """Return the start and length of each byte string in a pickle that is long enough to be taken out."""
    found = []
    for name, argument, position in opcodes(data):
        before = _BYTES.get(name)
        if before is not None and argument is not None and position is not None and len(argument) >= SMALLEST:
            found.append((position + before, len(argument)))
    return found
