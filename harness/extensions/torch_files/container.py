"""Files of ``torch.save`` as a container of arrays; only what a tensor needs is read of them, and nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.foreign.containers import Arrays, Container
from harness.foreign.source import ForeignArray, readable
from harness.foreign.torch_files import TensorLeaf, load
from harness.zips import DAMAGE, open_zip


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
        return path.suffix in (".pt", ".pth")  # reading it will say what is wrong


def _arrays(path: Path) -> Arrays:
    with readable(path):
        content = load(path)
    arrays = Arrays()
    for name, value in _leaves(content):
        if isinstance(value, TensorLeaf):
            arrays.found[name] = ForeignArray(value.shape, value.dtype, value.array)
        elif isinstance(value, (bool, int, float)):
            arrays.found[name] = ForeignArray.of(np.asarray(value))
        else:
            arrays.left_out[name or path.name] = f"a {type(value).__name__}"
    return arrays


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Walk over what is no container, each with the keys that lead to it; `load` bounds how deep and how many."""
    if isinstance(content, dict):
        items = ((str(key), value) for key, value in content.items())
    elif isinstance(content, (list, tuple)):
        items = ((str(position), value) for position, value in enumerate(content))
    else:
        yield "", content
        return
    for key, value in items:
        for name, leaf in _leaves(value):
            yield f"{key}/{name}" if name else key, leaf


container = Container(
    name="torch", description="torch.save, tensors alone or in containers", recognises=_recognises, arrays=_arrays
)
