"""Safetensors files as containers of arrays, including bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.documents import DocumentError, decode
from harness.errors import UsageError
from harness.extensions.safetensors.format import DTYPES, SafetensorsFormat
from harness.foreign.containers import Arrays, Container
from harness.foreign.flat_array import FlatArray
from harness.foreign.source import ForeignArray, SourceError, readable

_TYPES = {code: name for name, code in DTYPES.items()} | {"BF16": "bfloat16", "C64": "complex64"}


def _arrays(path: Path) -> Arrays:
    """Return the tensors by the header, after the library has checked its offsets; read no values."""
    if missing := registry.missing_package("safetensors", "trace-format-harness[safetensors]"):
        raise UsageError(f"{path}: to read safetensors, this {missing}.")
    from safetensors import safe_open

    with readable(path), safe_open(path, framework="numpy"):
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = decode(file.read(length), dict[str, Any], path, mend="", error=DocumentError)
        except DocumentError as error:
            raise SourceError(f"{path} is damaged: {error}") from error
    arrays = Arrays()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = _TYPES.get(entry["dtype"])
        if dtype is None:
            arrays.left_out[name] = f"values of type {entry['dtype']}"
            continue
        shape, held = tuple(entry["shape"]), np.dtype("uint16" if dtype == "bfloat16" else dtype)
        flat = FlatArray(path, held, 8 + length + entry["data_offsets"][0], shape)
        arrays.found[name] = ForeignArray.of(flat)._replace(dtype=dtype)
    return arrays


container = Container(
    name="safetensors",
    description="safetensors, with bfloat16",
    recognises=SafetensorsFormat().recognises,
    arrays=_arrays,
)
