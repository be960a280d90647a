"""What one file of a program holds: its arrays by name, what of it is no array, and facts."""

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
from harness.files import read_bytes
from harness.foreign import torch_files
from harness.foreign.arrays import npy_file, npz_arrays
from harness.foreign.containers import typed
from harness.foreign.packed import PackedFile, read_packed
from harness.foreign.plain_values import as_array, as_foreign
from harness.foreign.source import ForeignArray, readable

NO_NUMBERS = "no numbers"

_LARGEST_JSON = 1 << 30
"""Bytes; AlphaFold3's two tables of 5,000 tokens take a quarter of it."""
_MOST_ROWS, _DEEPEST = 1 << 17, 8
_NESTED, _LISTED, _KEYED = re.compile(rb"\[\s*\["), re.compile(rb"\s*\["), re.compile(rb"\{")
_SHOWN = 8  # keys of a dictionary that a note names
# What Python's json writes of numbers that JSON has not, and texts, in which the same letters stand for themselves.
_UNKNOWN = re.compile(rb'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity')
_REPLACED = {b"NaN": b"null", b"Infinity": b'"\\u0000+"', b"-Infinity": b'"\\u0000-"'}
_REPLACEMENT = re.compile(rb'"\\u0000')
_INFINITE = {"\0+": math.inf, "\0-": -math.inf}


@dataclass
class FileContent:
    """What a file holds."""

    # By the names that the file gives them; keys of nested dictionaries are joined by ``/``.
    arrays: dict[str, ForeignArray] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)  # Why something is not among them, and its name.
    notes: list[str] = field(default_factory=list)  # What else has to be known of it.
    # ``num_recycles``, ``sequences``, ``structure`` and lists of texts that its reader was asked for, where it states
    # them; each hashable.
    facts: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, array: ForeignArray | None) -> None:
        """Take an array of numbers; anything else is noted as left out."""
        array = array and typed(array)
        if array is None or (array.dtype != "bfloat16" and np.dtype(array.dtype).kind not in "biufc"):
            self.left.append((NO_NUMBERS, name))
        else:
            self.arrays[name] = array

    def note_packed(self, packed: PackedFile) -> None:
        """Note what was given up of a file when it was packed."""
        if not packed.exact:
            self.notes.append("precision was given up when its directory was slimmed")


def flat_items(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield what nested dictionaries hold, each with the keys that lead to it; nothing of anything else.

    Raises
    ------
    HarnessError
        When two have the same name, as the keys a, b and a/b give, or 1 and "1".
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
    """Read the numbers of a JSON object, or of the one in a list, as NumPy makes arrays of them.

    Lists of texts that are named are facts.

    Numbers by chains, in dictionaries, become arrays in the order of the file. Null stands for NaN: AlphaFold3 writes
    that (``_dump_json`` in alphafold3/model/confidence_types.py), where others write NaN, which no JSON has, as
    infinities.
    """
    content, nulls = FileContent(), []
    with readable(path):
        packed = read_packed(path, _LARGEST_JSON)
        content.note_packed(packed)
        data = packed.data
        for name, raw in _members(_with_known_numbers(data)).items():
            if name in texts:
                content.facts[name] = tuple(msgspec.json.decode(raw, type=list[str]))
                continue
            array = _numbers(raw)
            if array is None or not array.size:
                content.take(name, None)
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
    """Replace NaN by null, and infinities by texts that no program writes."""
    if b"NaN" not in data and b"Infinity" not in data:
        return data
    return _UNKNOWN.sub(lambda match: _REPLACED.get(match[0], match[0]), data)


def _decoded(raw: msgspec.Raw) -> Any:
    values = msgspec.json.decode(raw)
    return _with_infinities(values) if _REPLACEMENT.search(raw) else values


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


def _numbers(raw: msgspec.Raw, depth: int = 1) -> np.ndarray | None:
    """Make an array row by row: as Python's numbers, all of a large one would take ten times as much memory."""
    if not _NESTED.match(raw):
        return as_array(_decoded(raw), null=True)
    rows = msgspec.json.decode(raw, type=list[msgspec.Raw])
    if len(rows) > _MOST_ROWS or depth == _DEEPEST:
        return None
    parts: list[np.ndarray] = []
    for row in rows:
        part = _numbers(row, depth + 1)
        if part is None or (parts and part.shape != parts[0].shape):
            return None
        parts.append(part)
    return np.stack(parts)


def read_npz(path: Path) -> FileContent:
    """List the arrays of an NPZ."""
    content = FileContent()
    for name, array in npz_arrays(path).items():
        content.take(name, array)
    return content


def read_npy(name: str, path: Path) -> FileContent:
    """List the array of an NPY under a name; its values are not read."""
    content = FileContent()
    for array in npy_file.arrays(path).found.values():
        content.take(name, array)
    return content


def read_torch(path: Path) -> FileContent:
    """List the tensors in the dictionaries of a file of ``torch.save``."""
    content = FileContent()
    with readable(path):
        for name, value in flat_items(torch_files.load(path)):
            content.take(name, as_foreign(value))
    return content


def read_csv(path: Path) -> FileContent:
    """Read the columns of a table with a line of names: integers where all are, else float64."""
    content = FileContent()
    with readable(path):
        first, *rows = csv.reader(io.StringIO(read_bytes(path).decode()), strict=True)
        for name, column in zip(first, zip(*rows, strict=True), strict=True):
            array = _column(column)
            content.take(name, None if array is None else ForeignArray.of(array))
    return content


def _column(texts: tuple[str, ...]) -> np.ndarray | None:
    for kind in (int, float):
        try:
            return np.array([kind(text) for text in texts])
        except ValueError:
            continue
    return None
