"""The decoder of all stored documents: JSON or TOML into a type, or an error of one sentence on the first misfit."""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from harness.errors import HarnessError
from harness.files import DOCUMENT, read_bytes

MAX_DEPTH, MAX_VALUES = 64, 4_000_000
"""Limits of a document that is read: nesting depth, and number of values."""

MEND = "restore it from a copy, or remove it and make it again"
"""Advice to the user in the message about a damaged document of a run."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Figure = Annotated[float, msgspec.Meta(ge=0, le=1.7976931348623157e308)]
"""A number that is finite and not negative."""
Name = Annotated[str, msgspec.Meta(min_length=1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]+$")]

T = TypeVar("T")

_BLOCK = 1 << 20
_KEPT = b'"[]{},'  # the bytes that determine nesting depth and number of values
_REST = bytes(set(range(256)) - set(_KEPT))
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_TOML, _DOTS = 1 << 16, 200  # most bytes, and dots in a line: parsing time grows with the square of a key's parts
_SHOWN = 200  # most characters of a message's text on what was expected and found


class DocumentError(HarnessError):
    """A stored document is damaged, too large, or of an unknown version; the message names the file and the place."""

    exit_code = 2


Version = tuple[str, *tuple[int, ...]]
"""Name of a document's version field, and the known versions."""


def read_document(
    path: Path,
    kind: type[T],
    *,
    version: Version | None = None,
    absent: str | None = None,
    mend: str = MEND,
    extra: bool = False,
) -> T:
    """Read a stored JSON document.

    Parameters
    ----------
    path : Path
        The file.
    kind, version, mend, extra
        See `decode`.
    absent : str, optional
        The message if there is no such file.

    Raises
    ------
    HarnessError
        See `decode`; also if the file is missing, not a regular file, or too large.
    """
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HarnessError(absent or f"There is no {path}.") from error
    return decode(data, kind, path, version=version, mend=mend, extra=extra)


def decode(
    data: bytes | str,
    kind: type[T],
    where: object,
    *,
    version: Version | None = None,
    mend: str = MEND,
    other: str = "",
    extra: bool = False,
    error: type[HarnessError] = DocumentError,
) -> T:
    """Decode JSON text into a type.

    Parameters
    ----------
    data : bytes or str
        The text, UTF-8.
    kind : type
        A dataclass, typed dict, or another type that msgspec supports.
    where : object
        Name of the document in messages: its path.
    version : tuple of str and int, optional
        Name of the version field, and the known versions; checked before all other fields.
    mend, other : str
        Advice to the user about a damaged document, and about one of another version.
    extra : bool
        Allow fields that `kind` does not have.
    error : type
        Type of the exception.

    Returns
    -------
    kind
        The document. Every number in it is finite and fits 64 bits, and no field is given twice.

    Raises
    ------
    HarnessError
        Of the type `error`, if the document does not fit. The message names the document, the place and what was
        expected.
    """
    fail = partial(_failed, error, where, mend)
    errors = "strict" if isinstance(data, bytes) else "surrogatepass"
    raw = data if isinstance(data, bytes) else data.encode(errors=errors)
    try:
        _check_shape(raw)
        value = json.loads(raw.decode(errors=errors), **_HOOKS)
    except json.JSONDecodeError as problem:
        place = f"line {problem.lineno} column {problem.colno}"
        raise fail(f"is not valid JSON at {place}: {problem.msg[0].lower()}{problem.msg[1:]}") from problem
    except UnicodeDecodeError as problem:
        raise fail(f"is not UTF-8 text, from byte {problem.start} on") from problem
    except ValueError as problem:
        raise fail(str(problem)) from problem
    if version is not None:
        name, *known = version
        found = value.get(name) if isinstance(value, dict) else None
        if type(found) is not int:
            raise fail(f"at $ expected the field {name} with an integer")
        if found not in known:
            several = len(known) > 2 and list(known) == list(range(known[0], known[-1] + 1))
            listed = f"{known[0]} to {known[-1]}" if several else " and ".join(map(str, known))
            these = f"version{'s' if len(known) > 1 else ''} {listed}"
            raise error(f"{where} has version {found}; this reader knows {these}{other and f': {other}'}.")
    return _convert(value, kind, fail, extra, version[0] if version else "")


def decode_toml(
    text: bytes,
    kind: type[T],
    where: object,
    *,
    mend: str,
    error: type[HarnessError],
    under: Sequence[str] = (),
) -> T:
    """Decode TOML text, or its table at the path `under`, into a type; see `decode` for the other parameters."""
    fail = partial(_failed, error, where, mend)
    if len(text) > _TOML or any(line.count(b".") > _DOTS for line in text.splitlines()):
        raise fail(f"is larger than {_TOML >> 10} KiB, or has a line with more than {_DOTS} dots")
    try:
        value = tomllib.loads(text.decode())
    except UnicodeDecodeError as problem:
        raise fail(f"is not UTF-8 text, from byte {problem.start} on") from problem
    except (ValueError, RecursionError) as problem:
        raise fail(f"is not TOML ({problem})") from problem
    for name in under:
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return _convert(value, kind, fail, extra=False)


def convert(
    value: Any, kind: type[T], where: object, *, mend: str = MEND, error: type[HarnessError] = DocumentError
) -> T:
    """Convert values that a library has decoded into a type, as `decode` does; fields that it lacks are allowed."""
    return _convert(value, kind, partial(_failed, error, where, mend), extra=True)


def _failed(error: type[HarnessError], where: object, mend: str, text: str) -> HarnessError:
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} ..."
    return error(f"{where}: {shown}{'; ' if mend else ''}{mend}.")


def _convert(value: Any, kind: type[T], fail: Callable[[str], HarnessError], extra: bool, version: str = "") -> T:
    try:
        found = msgspec.convert(value, kind)
    except UnicodeEncodeError as problem:  # in a field name or a known word; msgspec states no place
        raise fail(f"holds {problem.object!r} where only known words are expected") from problem
    except (msgspec.ValidationError, RecursionError) as problem:
        said, _, place = str(problem).replace("`", "").partition(" - at ")
        said = said.replace("Object missing required field", "Expected the field")
        at = f"at {place or '$'} " if place or isinstance(value, dict | list) else ""
        raise fail(f"{at}{said[0].lower()}{said[1:]}") from problem
    if not extra:
        known = msgspec.to_builtins(found)
        if version:
            known.setdefault(version, None)
        if beyond := _beyond(value, known, "$"):
            raise fail(f"at {beyond} expected no such field")
    return found


def _beyond(value: Any, known: Any, place: str) -> str:
    """Return the place of the first unknown field; empty if there is none."""
    if isinstance(value, dict):
        pairs = ((f"{place}.{name}", part, known.get(name)) for name, part in value.items())
        if unknown := [name for name in value if name not in known]:
            return f"{place}.{unknown[0]}"
    elif isinstance(value, list):
        pairs = ((f"{place}[{index}]", *both) for index, both in enumerate(zip(value, known, strict=True)))
    else:
        return ""
    return next((found for at, part, other in pairs if (found := _beyond(part, other, at))), "")


def _check_shape(data: bytes) -> None:
    """Raise ValueError if a JSON text is too large, too deep or has too many values, before a parser builds them."""
    if len(data) > DOCUMENT:
        raise ValueError(f"is larger than {DOCUMENT >> 20} MiB, the limit for a document")
    # Backslashes occur only in strings and pair up from the left, so the remaining quotes are the ends of strings.
    text = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _REST)
    quotes = depth = values = 0
    for start in range(0, len(text), _BLOCK):
        block = np.frombuffer(text, np.uint8)[start : start + _BLOCK]
        counted = np.cumsum(block == ord('"'), dtype=np.int64) + quotes
        block, quotes = block[(counted % 2 == 0) & (block != ord('"'))], int(counted[-1])
        steps = _STEP[block]
        depths = np.cumsum(steps, dtype=np.int64) + depth
        values += int(np.count_nonzero(steps >= 0))
        if depths.max(initial=0) > MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels, the limit for a document")
        if values > MAX_VALUES:
            raise ValueError(f"holds more than {MAX_VALUES} values, the limit for a document")
        depth = int(depths[-1]) if len(depths) else depth


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**64:
        raise ValueError(f"holds the integer {text[:24]} ..., which does not fit 64 bits")
    return value


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"holds {text[:24]}, which is not a finite number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"has the field {name} more than once in one object")
    return found


_HOOKS: Any = {
    "parse_int": _integer, "parse_float": _float, "parse_constant": _float, "object_pairs_hook": _object,
}  # fmt: skip


def parse_json(data: bytes) -> Any:
    """Parse JSON bytes.

    Raises
    ------
    HarnessError
        If they are truncated or damaged.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"the JSON is truncated or damaged ({error})") from error
