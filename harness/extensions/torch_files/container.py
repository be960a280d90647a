"""Files of ``torch.save`` as containers of arrays; only objects that tensors need are read, and no code runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.foreign.containers import Arrays, Container
from harness.foreign.pickles import ArrayLeaf
from harness.foreign.plain_values import as_foreign
from harness.foreign.source import ForeignArray, SourceError, readable
from harness.foreign.torch_files import NoArray, TensorLeaf, load
from harness.foreign.unpickling import Allowed
from harness.zips import DAMAGE, open_zip

_HOLDERS = (dict, list, tuple, TensorLeaf, ArrayLeaf)
"""Types of items for which a list is traversed item by item."""


def _recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with open_zip(path) as archive:
            return any(name.partition("/")[2] == "data.pkl" for name in archive.namelist())
    except (OSError, HarnessError, *DAMAGE):
        return path.suffix in (".pt", ".pth")  # reading reports the problem


def _arrays(path: Path) -> Arrays:
    with readable(path):
        content = load(path)
    arrays = Arrays()
    for name, value in _leaves(content):
        if name in arrays.found or name in arrays.left_out:
            raise SourceError(f"{path} holds two items named {name!r}: rename or remove one of the two.")
        empty = isinstance(value, (list, tuple)) and not value
        if not empty and isinstance(array := as_foreign(value), ForeignArray):
            arrays.found[name] = array
        else:
            arrays.left_out[name] = _described(value)
    return arrays


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield arrays and other values that are no containers, named by their keys joined by ``/``.

    A list of numbers is one array. `load` limits depth and number of items.
    """
    if isinstance(content, dict):
        items = ((str(key), value) for key, value in content.items())
    elif isinstance(content, (list, tuple)) and any(isinstance(value, _HOLDERS) for value in content):
        if isinstance(as_foreign(content), ForeignArray):
            yield "", content
            return
        items = ((str(position), value) for position, value in enumerate(content))
    else:
        yield "", content
        return
    for key, value in items:
        for name, leaf in _leaves(value):
            yield f"{key}/{name}" if name else key, leaf


def _described(value: Any) -> str:
    """Describe a value that is no array of numbers."""
    if isinstance(value, NoArray):
        return value.what
    if isinstance(value, Allowed):
        return "a type or function"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list that is not of numbers alone"
    return "text" if isinstance(value, str) else "nothing" if value is None else f"a {type(value).__name__}"


container = Container(
    name="torch", description="torch.save, tensors alone or in containers", recognises=_recognises, arrays=_arrays
)
