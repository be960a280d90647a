"""Interpreter of pickle opcodes that limits everything they can make grow, and imports nothing.

It calls only replacements of globals that its caller allows. Python's own unpickler has no limits: an index sets the
length of its memo, and keys of any size are hashed. Opcodes:
https://github.com/python/cpython/blob/main/Lib/pickletools.py.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from harness.errors import HarnessError

MOST_OPCODES = 500_000
"""A pickled result of a prediction has some hundreds, the pickled weights of a large model about 100,000."""

_NEWEST = 5  # protocol
_LONGEST_KEY = 4096  # characters
_MOST_COMPOUND, _COMPOUND_SIZE, _COMPOUND_DEPTH = 1000, 1 << 16, 8
_ROOM = 1 << 20  # bytes or items that calls may create in addition to twice the size of the pickle


class PickleRefused(HarnessError):
    """A pickle is damaged, or requests something that no array needs."""


def opcodes(data: bytes) -> Iterator[tuple[str, Any, int | None]]:
    """Yield name, argument and position of each opcode; ValueError for damage, PickleRefused above `MOST_OPCODES`."""
    for number, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        if number == MOST_OPCODES:
            raise PickleRefused(f"it has more than {MOST_OPCODES:,} opcodes")
        yield opcode.name, argument, position


class Keys:
    """Checks of keys of dictionaries and items of sets before they are hashed.

    Equal hashes can be constructed for integers beyond 64 bits, complex numbers and tuples, and each key is compared
    with all others of its hash. Hashing a tuple that contains another twice, and so on, takes practically forever.
    """

    def __init__(self) -> None:
        self._compound, self._size = _MOST_COMPOUND, _COMPOUND_SIZE

    def check(self, key: Any) -> Any:
        """Return a key if it may be hashed; raise `PickleRefused` if its type or size is not allowed."""
        if type(key) in (tuple, frozenset):
            self._compound -= 1
            self._spend(key, 0)
            if self._compound < 0:
                raise PickleRefused(f"it has more than {_MOST_COMPOUND:,} tuples as keys")
        elif type(key) in (str, bytes):
            if len(key) > _LONGEST_KEY:
                raise PickleRefused(f"it has a key of more than {_LONGEST_KEY:,} characters")
        elif type(key) is int:
            if key.bit_length() > 64:
                raise PickleRefused("it has a number of more than 64 bits as a key")
        elif key is not None and type(key) not in (bool, float):
            raise PickleRefused(f"it has a {type(key).__name__} as a key")
        return key

    def _spend(self, key: Any, depth: int) -> None:
        self._size -= 1 + (len(key) if isinstance(key, (str, bytes)) else 0)
        if self._size < 0 or depth > _COMPOUND_DEPTH:
            raise PickleRefused("it has keys of too many parts")
        if type(key) not in (tuple, frozenset):
            self.check(key)
            return
        for part in key:
            self._spend(part, depth + 1)

    def checked(self, items: Any) -> list[Any]:
        """Return the items of a list or tuple after checking each of them."""
        if type(items) not in (list, tuple):
            raise PickleRefused(f"it creates a set from a {type(items).__name__}")
        return [self.check(item) for item in items]

    def pairs(self, pairs: Any = ()) -> OrderedDict[Any, Any]:
        """Return a dictionary of pairs after checking each key."""
        return OrderedDict((self.check(key), value) for key, value in pairs)


class Allowed:
    """Replacement of one global that a pickle may call; the pickle cannot change it."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise PickleRefused("it changes a function")


_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_IGNORED = {"FRAME", "STOP"}
_MARK = object()


class Machine:
    """Interpreter of one pickle, with its stack and memo.

    Parameters
    ----------
    data : bytes
        The pickle.
    find : callable
        Takes a module and a name; returns the replacement of that global, or raises `PickleRefused`.
    outside : callable
        Takes the persistent ID of an object outside the pickle; returns its replacement.
    keys : Keys
        Checks of the keys of this pickle.
    """

    def __init__(
        self, data: bytes, find: Callable[[str, str], Allowed], outside: Callable[[Any], Any], keys: Keys
    ) -> None:
        self._data, self._find, self._outside, self._keys = data, find, outside, keys
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._left = 2 * len(data) + _ROOM

    def run(self) -> Any:
        """Run all opcodes and return the resulting object.

        Raises
        ------
        PickleRefused
            If an opcode is not supported or exceeds a limit.
        ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError
            If the pickle is damaged.
        """
        for name, argument, _ in opcodes(self._data):
            self._step(name, argument)
        return self._pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _GETS:
            stack.append(self._memo[int(argument)])
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in _PUTS:
            if not 0 <= int(argument) < MOST_OPCODES:
                raise PickleRefused(f"it numbers an object {argument}, where {MOST_OPCODES:,} are allowed")
            self._memo[int(argument)] = self._top()
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            stack.append(tuple(self._take(_TUPLES[name])))
        elif name == "MARK":
            stack.append(_MARK)
        elif name not in _IGNORED:
            self._rarer(name, argument)

    def _rarer(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING" if str(argument).isascii():  # text of Python 2
                stack.append(argument)
            case "BYTEARRAY8":
                stack.append(bytes(argument))
            case "PROTO":
                if argument > _NEWEST:
                    raise PickleRefused(f"it is of protocol {argument}; this reader knows {_NEWEST}")
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(self._top())
            case "POP_MARK":
                self._to_mark()
            case "TUPLE":
                stack.append(tuple(self._to_mark()))
            case "LIST":
                stack.append(self._to_mark())
            case "DICT":
                items = self._to_mark()
                stack.append({})
                self._set(items)
            case "FROZENSET":
                stack.append(frozenset(self._keys.checked(self._to_mark())))
            case "APPEND" | "APPENDS":
                items = self._take(1) if name == "APPEND" else self._to_mark()
                self._holder(list).extend(items)
            case "SETITEM" | "SETITEMS":
                self._set(self._take(2) if name == "SETITEM" else self._to_mark())
            case "ADDITEMS":
                items = self._keys.checked(self._to_mark())
                self._holder(set).update(items)
            case "GLOBAL" | "STACK_GLOBAL":
                module, named = argument.split(" ", 1) if name == "GLOBAL" else self._take(2)
                if not isinstance(module, str) or not isinstance(named, str):
                    raise PickleRefused("it requests an object by a name that is not text")
                stack.append(self._find(module, named))
            case "REDUCE":
                self._reduce()
            case "BUILD":
                self._build()
            case "PERSID" | "BINPERSID":
                stack.append(self._outside(argument if name == "PERSID" else self._pop()))
            case _:
                raise PickleRefused(f"it uses the opcode {name}, which no array needs")

    def _top(self) -> Any:
        if self._stack[-1] is _MARK:
            raise PickleRefused("it is damaged: a mark stands where an object is expected")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _take(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    def _to_mark(self) -> list[Any]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _holder(self, *kinds: type) -> Any:
        holder = self._top()
        if type(holder) not in kinds:
            raise PickleRefused(f"it changes a {type(holder).__name__}")
        return holder

    def _set(self, items: list[Any]) -> None:
        holder = self._holder(dict, OrderedDict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            holder[self._keys.check(key)] = value

    def _reduce(self) -> None:
        call, arguments = self._take(2)
        if not isinstance(call, Allowed) or not isinstance(arguments, tuple):
            raise PickleRefused(f"it calls a {type(call).__name__}")
        # A text that is used twice is encoded twice: the results must not be much larger than the pickle.
        self._left -= sum(_length(argument) for argument in arguments)
        if self._left < 0:
            raise PickleRefused("it would create far more data than it contains")
        self._stack.append(call(*arguments))

    def _build(self) -> None:
        changed, state = self._take(2)
        self._stack.append(changed)
        if type(changed) is OrderedDict and isinstance(state, dict):
            return  # attributes, such as the versions that torch stores with the weights of a model
        if not hasattr(type(changed), "__setstate__"):
            raise PickleRefused(f"it changes a {type(changed).__name__}")
        changed.__setstate__(state)


def _length(argument: Any) -> int:
    return len(argument) if isinstance(argument, (str, bytes, list, tuple, set, frozenset, dict)) else 0


def check_walk(content: Any, parts: Callable[[Any], Iterable[Any] | None], most: int, deepest: int) -> None:
    """Raise `PickleRefused` if a walk over the content meets more than `most` objects, or goes deeper than `deepest`.

    A few lists that each contain the previous one twice make a walk practically endless. `parts` returns the items of
    an object, or None if it is no container.
    """
    walks: list[Iterator[Any]] = [iter((content,))]
    left = most
    while walks:
        value = next(walks[-1], _MARK)
        if value is _MARK:
            walks.pop()
            continue
        left -= 1
        if left < 0:
            raise PickleRefused(f"it holds more than {most:,} objects")
        if (inside := parts(value)) is not None:
            if len(walks) > deepest:
                raise PickleRefused(f"it is nested more than {deepest} deep")
            walks.append(iter(inside))
