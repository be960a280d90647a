"""Content of one file of a program: its arrays by name, items that are no arrays, and facts."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError
from harness.files import DOCUMENT
from harness.foreign import torch_files
from harness.foreign.arrays import npy_file, npz_arrays
from harness.foreign.containers import numeric, typed, why_not_numeric
from harness.foreign.packed import PackedFile, read_packed
from harness.foreign.plain_values import NO_NUMBERS, UNEQUAL, as_array, as_foreign
from harness.foreign.source import ForeignArray, readable
from harness.limits import LimitError, in_words

_LARGEST_JSON = 1 << 30
"""Bytes; AlphaFold3's two tables for 5,000 tokens take a quarter of it."""
_MOST_LISTS, _MOST_TEXTS, _DEEPEST = 1 << 21, 1 << 21, 8
"""Most lists in an array, most texts and dictionaries in a JSON file, and most levels of lists.

Each text or list needs only two bytes in the file but some hundred bytes of memory. The chain names of 100,000 atoms
are 100,000 texts.
"""
_PIECE = 1 << 24
"""Bytes of a list that are converted to Python numbers at a time."""
_NESTED, _LISTED, _KEYED = re.compile(rb"\[\s*\["), re.compile(rb"\s*\["), re.compile(rb"\{")
_MIXED = re.compile(rb"\]\s*,\s*[^\s\[]")  # a list, and then something else
_SHOWN = 8  # keys of a dictionary that a note names
# Numbers that Python's json writes although JSON has none of them; and texts, in which these letters are plain text.
_UNKNOWN = re.compile(rb'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity')
_REPLACED = {b"NaN": b"null", b"Infinity": b'"\\u0000+"', b"-Infinity": b'"\\u0000-"'}
_STAND_IN = b'"\\u0000'
_INFINITE = {"\0+": math.inf, "\0-": -math.inf}


@dataclass
class FileContent:
    """Content of a file."""

    # By the names in the file; keys of nested dictionaries are joined by ``/``.
    arrays: dict[str, ForeignArray] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)  # Reason and name of each item that is left out.
    notes: list[str] = field(default_factory=list)  # Further remarks that belong into the trace's notes.
    # ``num_recycles``, ``sequences``, ``structure``, ``tokens`` and lists of texts that the caller of its reader
    # requested, if the file states them; each hashable.
    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, found: ForeignArray | str) -> None:
        """Store an array of numbers; record an array of another type, or the reason for a missing one, as left out."""
        if isinstance(found, ForeignArray):
            found = typed(found)
            if numeric(found.dtype):
                self.arrays[name] = found
                return
            found = why_not_numeric(np.dtype(found.dtype))
        self.left.append((found, name))

    def note_packed(self, packed: PackedFile) -> None:
        """Add a note if precision was given up when the file was packed."""
        if not packed.exact:
            self.notes.append("precision was given up when its directory was slimmed")


def flat_items(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of nested dictionaries, named by their keys joined by ``/``; nothing for other objects.

    Raises
    ------
    HarnessError
        If two items have the same name, as from the keys a, b and a/b, or 1 and "1".
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), content)] if isinstance(content, dict) else []
    seen = set()
    while left:
        keys, value = left.pop()
        if isinstance(value, dict):
            left += [((*keys, str(key)), inside) for key, inside in reversed(value.items())]
            continue
        if (name := "/".join(keys)) in seen:
            raise HarnessError(f"it holds two items named {name!r}; rename or remove one of the two")
        seen.add(name)
        yield name, value


def read_json(path: Path, texts: Collection[str] = ()) -> FileContent:
    """Read the numbers of a JSON object, or of the only object in a list, as the arrays that NumPy makes of them.

    Lists of texts named in `texts` become facts. Numbers by chain, in dictionaries, become arrays in the order of the
    file. Null becomes NaN: AlphaFold3 writes null for it (``_dump_json`` in alphafold3/model/confidence_types.py).
    Other programs write NaN and infinities, which are not JSON but are read too.
    """
    content, nulls = FileContent(), []
    with readable(path):
        packed = read_packed(path, _LARGEST_JSON)
        content.note_packed(packed)
        data = packed.data
        if data.count(b'"') // 2 + data.count(b"{") > _MOST_TEXTS:
            raise LimitError(f"it holds more than {_MOST_TEXTS:,} texts and dictionaries")
        for name, raw in _members(_with_known_numbers(data)).items():
            if name in texts:
                content.facts[name] = tuple(msgspec.json.decode(raw, type=list[str]))
                continue
            array = _numbers(bytes(raw))
            if isinstance(array, str):
                content.take(name, array)
                continue
            content.take(name, ForeignArray.of(array))
            if array.dtype.kind == "f" and np.isnan(array).any():
                nulls.append(name)
            if _KEYED.match(raw):
                keys = list(msgspec.json.decode(raw))
                more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
                content.notes.append(f"{name} is of {', '.join(keys[:_SHOWN])}{more}")
    if nulls and b"null" in data:
        content.notes.append(f"null in the file is NaN in {', '.join(nulls)}")
    return content


def _with_known_numbers(data: bytes) -> bytes:
    """Replace NaN by null, and infinities by stand-in texts that no program writes."""
    if b"NaN" not in data and b"Infinity" not in data:
        return data
    made, end = bytearray(), 0
    for match in _UNKNOWN.finditer(data):
        if (known := _REPLACED.get(match[0])) is not None:
            made += data[end : match.start()] + known
            end = match.end()
    return bytes(made + data[end:])


def _decoded(raw: bytes) -> Any:
    values = msgspec.json.decode(raw)
    return _with_infinities(values) if _STAND_IN in raw else values


def _with_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_infinities(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_infinities(each) for each in value]
    return _INFINITE.get(value, value) if isinstance(value, str) else value


def _members(data: bytes) -> dict[str, msgspec.Raw]:
    if not _LISTED.match(data):
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    objects = msgspec.json.decode(data, type=list[dict[str, msgspec.Raw]])
    return objects[0] if len(objects) == 1 else {}


def _numbers(raw: bytes) -> np.ndarray | str:
    """Convert a member to an array, or return the reason why it is none.

    Large members are converted in parts: a complete one as Python numbers takes ten times as much memory.
    """
    if raw.count(b"[") > _MOST_LISTS:
        return f"more than {_MOST_LISTS:,} lists"
    if _NESTED.match(raw) and (_has_texts(raw) or b"{" in raw):
        return NO_NUMBERS
    if _NESTED.match(raw) and _MIXED.search(raw):
        return UNEQUAL
    array = _by_rows(raw)
    return array if isinstance(array, str) or array.size else "empty"


def _by_rows(raw: bytes, depth: int = 1) -> np.ndarray | str:
    if not _NESTED.match(raw):
        return _by_pieces(raw)
    if depth == _DEEPEST:
        return f"lists of more than {_DEEPEST} levels"
    parts: list[np.ndarray] = []
    for row in msgspec.json.decode(raw, type=list[msgspec.Raw]):
        part = _by_rows(bytes(row), depth + 1)
        if isinstance(part, str):
            return part
        if parts and part.shape != parts[0].shape:
            return UNEQUAL
        parts.append(part)
    return np.stack(parts)


def _has_texts(raw: bytes) -> bool:
    """Return whether there are texts other than the stand-ins for infinities."""
    return raw.count(b'"') != 2 * raw.count(_STAND_IN)


def _by_pieces(raw: bytes) -> np.ndarray | str:
    """Convert a number, a list or a dictionary to an array; a long one must be a flat list of numbers."""
    if len(raw) <= _PIECE:
        return as_array(_decoded(raw), null=True)
    if raw.startswith(b"{"):
        return f"a dictionary of more than {in_words(_PIECE)}"
    if not raw.startswith(b"[") or _has_texts(raw) or b"{" in raw:
        return NO_NUMBERS
    if raw.find(b"[", 1) > 0:
        return UNEQUAL
    found, filled, start = np.empty(raw.count(b",") + 1, bool), 0, 1
    while start < len(raw):
        stop = raw.find(b",", start + _PIECE)
        stop = len(raw) - 1 if stop < 0 else stop
        part = as_array(_decoded(b"[%b]" % raw[start:stop]), null=True)
        if isinstance(part, str):
            return part
        found = found.astype(np.result_type(found, part), copy=False)
        found[filled : filled + len(part)] = part
        filled, start = filled + len(part), stop + 1
    return found[:filled]


def read_npz(path: Path) -> FileContent:
    """Return the arrays of an NPZ file."""
    content = FileContent()
    for name, array in npz_arrays(path).items():
        content.take(name, array)
    return content


def read_npy(name: str, path: Path) -> FileContent:
    """Return the array of an NPY file under a name; its values are not read."""
    content = FileContent()
    for array in npy_file.arrays(path).found.values():
        content.take(name, array)
    return content


def read_torch(path: Path) -> FileContent:
    """Return the tensors in the nested dictionaries of a file of ``torch.save``."""
    content = FileContent()
    with readable(path):
        for name, value in flat_items(torch_files.load(path)):
            content.take(name, as_foreign(value))
    return content


def read_csv(path: Path) -> FileContent:
    """Read the columns of a table with a header line: as integers if all values are integers, else as float64."""
    content = FileContent()
    with readable(path):
        packed = read_packed(path, DOCUMENT)
        content.note_packed(packed)
        if len(packed.data) > DOCUMENT:
            raise LimitError(f"it inflates to more than {in_words(DOCUMENT)}")
        first, *rows = csv.reader(io.StringIO(packed.data.decode()), strict=True)
        for name, column in zip(first, zip(*rows, strict=True), strict=True):
            content.take(name, _column(column))
    return content


def _column(texts: tuple[str, ...]) -> ForeignArray | str:
    for kind in (int, float):
        try:
            return ForeignArray.of(np.array([kind(text) for text in texts]))
        except ValueError:
            continue
    return NO_NUMBERS
