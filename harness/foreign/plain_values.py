"""Conversion of numbers, lists of numbers, and arrays in pickles and torch files to arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.foreign import pickles
from harness.foreign.pickles import ArrayLeaf
from harness.foreign.source import ForeignArray
from harness.foreign.torch_files import TensorLeaf

NO_NUMBERS, UNEQUAL = "no numbers", "rows of unequal lengths"
"""Reasons why a value is no array."""

_NONE = type(None)


def as_array(value: Any, *, null: bool = False) -> np.ndarray | str:
    """Return a number, or numbers in lists or dictionaries, as an array; for anything else, return why it is none.

    Dictionaries inside a dictionary must have the same keys. With `null`, None becomes NaN, as some programs write it
    in JSON.
    """
    if isinstance(value, dict):
        if len({tuple(row) if isinstance(row, dict) else None for row in value.values()}) > 1:
            return "dictionaries of unequal keys"
        value = [list(row.values()) if isinstance(row, dict) else row for row in value.values()]
    kinds = _kinds([value])
    known = (bool, int, float, complex, np.number, np.bool, *((_NONE,) if null else ()))
    if not all(issubclass(kind, known) for kind in kinds):
        return NO_NUMBERS
    try:
        array = np.array(value, np.float64 if _NONE in kinds else None)
    except ValueError:
        return UNEQUAL
    except OverflowError:  # an integer that no float holds
        return "integers of more than 64 bits"
    return array if array.dtype.kind in "biufc" else "integers of more than 64 bits"


def _kinds(values: Any) -> set[type]:
    """Return the types of all values in nested lists.

    One text among numbers would make NumPy convert all of them to texts of its length.
    """
    kinds = set(map(type, values))
    if lists := kinds & {list, tuple}:
        kinds = (kinds - lists).union(*(_kinds(each) for each in values if type(each) in lists))
    return kinds


def as_foreign(value: Any) -> ForeignArray | str:
    """Describe an object of a pickle or torch file as an array; for anything else, return why it is none."""
    if isinstance(value, TensorLeaf):
        return ForeignArray(value.shape, value.dtype, value.view)
    if isinstance(value, ArrayLeaf):
        return ForeignArray(value.shape, "bfloat16" if value.bfloat16 else value.dtype, value.array)
    array = as_array(pickles.plain(value))
    return array if isinstance(array, str) else ForeignArray.of(array)
