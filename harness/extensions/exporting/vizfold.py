"""Export to the Zarr layout of VizFold: ``representations/single/layer_00``, ``attention/KIND/layer_00``, ``metadata``.

Names, shapes and fields are those that VizFold's archive utilities load and its offline reader expects:
https://github.com/AI2Science/vizfold-foundation (``vizfold/offline/archive_reader.py``), and issue 39 there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

from harness.extensions.exporting.layout import ExportLayout, facts
from harness.foreign.guessing import IMAGES
from harness.formats.layout import bounded
from harness.formats.selection import in_blocks
from harness.formats.zarr import wait_for_writes
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import Trace, read_whole, regroup

_NUMBERED = re.compile(r"(?<![^/])(layer|step)_(\d+)(?![^/])")
_SEQUENCE = "inputs/sequence"
_LAYERS = {
    "attention/": (3, slice(-2, None), "attention as (heads, residues, residues)"),
    "single/": (2, slice(0, 1), "single representations as (residues, channels)"),
    "pair/": (3, slice(0, 2), "pair representations as (residues, residues, channels)"),
}
"""By group: the number of axes, the axes that must have equal lengths, and both in words."""
_ASKED = ("model_version", "config_version", "sequence", "num_residues", "num_recycles")
"""Arrays that VizFold's ``load_metadata`` requires in ``metadata``: it raises if any is missing."""


def place(path: str) -> str:
    """Return VizFold's name for a tensor: numbers padded to two digits, representations in a group."""
    if path == "inputs/residue_index":
        return "metadata/residue_index"
    padded = _NUMBERED.sub(lambda found: f"{found[1]}_{int(found[2]):02d}", path)
    return f"representations/{padded}" if padded.startswith(("single/", "pair/")) else padded


class VizFoldLayout(ExportLayout):
    """A folder in Zarr format 2, which zarr-python reads since version 2.

    Attention has one head per chunk, because VizFold's loader reads one head at a time.
    """

    name = "vizfold"
    description = "a folder of Zarr as VizFold's readers take it: representations/single/layer_00, metadata in arrays"

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        found, names = super().lacking(manifest), dict[str, str]()
        images = any(spec.path in IMAGES for spec in manifest.tensors)
        for spec in manifest.tensors:
            if expected := _expected(spec, images):
                found.setdefault(spec.path, f"VizFold takes {expected}")
            elif (other := names.setdefault(place(spec.path), spec.path)) != spec.path:
                found.setdefault(spec.path, f"VizFold has one name for it and {other}")
        return found

    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        root = zarr.create_group(path, zarr_format=2)
        try:
            for spec in trace.manifest.tensors:
                _write(root, spec, trace)
            return _describe(root, trace)
        except BaseException:
            with contextlib.suppress(Exception):  # report the first error
                wait_for_writes()
            raise

    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        array = zarr.open_group(path, mode="r")[place(spec.path)]
        assert isinstance(array, zarr.Array)
        if not spec.shape:
            yield np.asarray(array[...])
            return
        for part in in_blocks(spec, array.chunks):
            yield np.asarray(array[part])


def _expected(spec: TensorSpec, images: bool) -> str:
    """Return in words what VizFold expects under a tensor's path; empty if the tensor fits or nothing is expected."""
    attention = spec.role is Role.ATTENTION or spec.path.startswith("attention/")
    group = "attention/" if attention else next((each for each in _LAYERS if spec.path.startswith(each)), "")
    if not group:
        return ""
    axes, alike, expected = _LAYERS[group]
    several = attention and images  # VizFold's vision stage has attention maps of several images
    fits = len(spec.shape) in (axes, axes + several) and len(set(spec.shape[alike])) == 1
    return "" if fits else expected


def _write(root: zarr.Group, spec: TensorSpec, trace: Trace) -> None:
    """Write a tensor chunk by chunk, including chunks of zeros: VizFold's importers report absent chunks as lost."""
    chunks = tuple(n or 1 for n in spec.shape)
    chunks = bounded(spec, (1, *chunks[1:]) if spec.role is Role.ATTENTION else chunks)
    name = place(spec.path)
    root.require_group(name.rpartition("/")[0])
    array = root.create_array(
        name, shape=spec.shape, dtype=spec.dtype, chunks=chunks or "auto", config={"write_empty_chunks": True}
    )
    row = 0
    for block in regroup(trace.blocks(spec.path), chunks[0] if chunks else 1):
        if block.ndim == 0:
            array[...] = block
        elif block.size:
            array[row : row + len(block)] = block
            row += len(block)


def _describe(root: zarr.Group, trace: Trace) -> list[str]:
    """Write metadata: fields that VizFold's loader reads as arrays, all others as attributes of the group.

    All arrays are scalars, except for the names of representations.
    Returns a sentence that lists missing fields, if there are any.
    """
    said, metadata = facts(trace.manifest), trace.manifest.metadata
    arrays = {}
    for name in (*_ASKED, "recycle_info"):
        if (value := said.pop(name, "")) != "":
            arrays[name] = np.array(value, np.int32 if isinstance(value, int) else None)
    if letters := _letters(trace):
        arrays["sequence"] = np.array(letters)
    if metadata.representation_names:
        said.pop("representation_names")
        arrays["representation_names"] = np.array(metadata.representation_names)
    group = root.require_group("metadata")
    for name, array in arrays.items():
        group.create_array(name, data=array)
    group.update_attributes(said)
    absent = [name for name in _ASKED if name not in arrays]
    if not absent:
        return []
    return [f"The archive does not state {', '.join(absent)}, without which VizFold's load_metadata raises."]


def _letters(trace: Trace) -> str:
    """Return the sequence if the trace stores it as letters, one byte each; else an empty text."""
    if not any(spec.path == _SEQUENCE and spec.dtype == "uint8" for spec in trace.manifest.tensors):
        return ""
    text = read_whole(trace, _SEQUENCE).tobytes().decode("latin-1")
    return text if text.isascii() and text.isalpha() else ""
