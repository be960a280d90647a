"""Export to safetensors: a header, then the bytes of every tensor, in the layout of the library's ``save_file``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.extensions.exporting.layout import ExportLayout, facts
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, block_rows

# Names from the format's description: https://github.com/huggingface/safetensors#format. The largest types come first:
# the library sorts tensors in this order, so that values are aligned to a multiple of their size.
_CODES = {
    "float64": "F64", "int64": "I64", "uint64": "U64", "complex64": "C64",
    "float32": "F32", "int32": "I32", "uint32": "U32",
    "float16": "F16", "bfloat16": "BF16", "int16": "I16", "uint16": "U16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_METADATA = "__metadata__"


class SafetensorsLayout(ExportLayout):
    """One file with metadata as text in its header.

    The library's own ``save_file`` needs all tensors in memory, so this class writes the file itself. The library only
    reads it back.
    """

    name = "safetensors"
    description = "one file of safetensors, metadata as text in its header"
    dtypes = tuple(_CODES)

    @staticmethod
    def missing() -> str:
        extra = "trace-format-harness[safetensors]"
        return registry.missing_package("safetensors", extra) or registry.missing_package("ml_dtypes", extra)

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        taken = (spec.path for spec in manifest.tensors if spec.path == _METADATA)
        return super().lacking(manifest) | dict.fromkeys(taken, "safetensors has its metadata under this name")

    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        header: dict[str, Any] = {_METADATA: {name: str(said) for name, said in facts(trace.manifest).items()}}
        specs = sorted(trace.manifest.tensors, key=lambda spec: (self.dtypes.index(_type(spec)), spec.path))
        end = 0
        for spec in specs:
            start, end = end, end + spec.nbytes
            entry = {"dtype": _CODES[_type(spec)], "shape": spec.shape, "data_offsets": [start, end]}
            header[spec.path] = entry
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for spec in specs:
                for block in trace.blocks(spec.path):
                    file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        return []

    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        import ml_dtypes  # noqa: F401 - registers bfloat16 with numpy, which the library needs to read it
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            if not spec.shape:
                yield file.get_tensor(spec.path)
                return
            part = file.get_slice(spec.path)
            step = block_rows(spec.shape, spec.nbytes // max(1, spec.items))
            for start in range(0, spec.shape[0] if spec.items else 0, step):  # the library rejects empty slices
                block = part[start : min(start + step, spec.shape[0])]  # older versions reject an end past the shape
                yield block.view(spec.dtype) if spec.values else block


def _type(spec: TensorSpec) -> str:
    return spec.values or spec.dtype
