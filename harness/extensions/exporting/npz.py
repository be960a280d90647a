"""Export to plain NPZ, as ``numpy.savez`` writes it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.extensions.exporting.layout import ExportLayout
from harness.formats.npz import write_member
from harness.formats.npz_reader import member_header
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import BLOCK_BYTES, Trace


class NpzLayout(ExportLayout):
    """An uncompressed member for each tensor, named by its path; no metadata."""

    name = "npz"
    description = "one file as numpy.savez writes it, each tensor under its path; no metadata"

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        members = {f"{spec.path}.npy" for spec in manifest.tensors}
        taken = (spec.path for spec in manifest.tensors if spec.path in members)
        return super().lacking(manifest) | dict.fromkeys(taken, "numpy.load finds another tensor under this name")

    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        with zipfile.ZipFile(path, "x") as file:
            for spec in trace.manifest.tensors:
                with file.open(f"{spec.path}.npy", "w", force_zip64=True) as member:
                    write_member(member, spec, trace.blocks(spec.path))
        return []

    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        # numpy.load would load the complete tensor. Here numpy parses the header and zipfile verifies the checksum.
        with zipfile.ZipFile(path) as file, file.open(f"{spec.path}.npy") as member:
            member_header(member)
            while data := member.read(BLOCK_BYTES):
                yield np.frombuffer(data, np.uint8)
