"""Interface of export layouts, and the export itself: write an archive, read the result back, compare the digests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.files import sync
from harness.formats.base import blame
from harness.formats.placing import beside, sync_archive
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, TraceView, digest_blocks

NUMPY = (
    "bool",
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
"""Data types that numpy supports without other packages."""


class ExportLayout(ABC):
    """A layout of another program; the class is registered in ``harness.layouts``.

    Attributes
    ----------
    name, description : str
        Registered name, and one line for the help.
    dtypes : tuple of str
        Data types that it can store.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = NUMPY

    @staticmethod
    def missing() -> str:
        """Return how to install the layout's library; empty if it is installed."""
        return ""

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        """Return the reason for each tensor that the layout cannot store, by path."""
        types = {spec.path: spec.values or spec.dtype for spec in manifest.tensors}
        return {path: f"{self.name} has no type {kind}" for path, kind in types.items() if kind not in self.dtypes}

    @abstractmethod
    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        """Write all tensors of a trace, block by block, at a path that does not exist yet.

        Parameters
        ----------
        trace : Trace
            The trace without the tensors that the layout cannot store.
        path : Path
            File or folder to create.
        whole : Trace
            The trace with all tensors, for a layout that stores some of the others in another form.

        Returns
        -------
        list of str
            Sentences about information that readers of the layout require but the trace lacks, and about values that
            the file does not hold.
        """

    @abstractmethod
    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        """Yield the stored values of a tensor, in C order and in pieces of any shape.

        Values that the file does not hold, according to the notes of `write`, come from the trace.
        """


def export(trace: Trace, layout: ExportLayout, destination: Path) -> tuple[dict[str, str], list[str]]:
    """Write a trace in a layout, read it back, and compare the values with the trace's digests.

    Parameters
    ----------
    trace : Trace
        A trace with digests, such as that of an archive.
    layout : ExportLayout
        The layout to write.
    destination : Path
        File or folder, which must not exist. It appears under this name once it is complete, compared and on disk.

    Returns
    -------
    lacking : dict of str to str
        Reason for each tensor that was left out, by path.
    notes : list of str
        Sentences from `ExportLayout.write`.

    Raises
    ------
    UsageError
        If the destination exists or cannot be written, or if the layout can store no tensor of the trace.
    HarnessError
        If the trace is damaged, the layout's library fails, or the values read back differ.
    """
    lacking = layout.lacking(trace.manifest)
    held = {spec: spec.path for spec in trace.manifest.tensors if spec.path not in lacking}
    if not held:
        said = "; ".join(f"{path}: {why}" for path, why in list(lacking.items())[:3]) or "it has no tensor"
        raise UsageError(f"The layout {layout.name} can hold nothing of {trace.label} ({said}): choose another layout.")
    with beside(destination) as (partial, _):
        with blame(layout.name, f"writing {destination}"):
            notes = layout.write(TraceView(trace, held), partial, trace)
        for path in held.values():
            with blame(layout.name, f"reading back {path}"):
                found = digest_blocks(layout.read(partial, trace.manifest[path]))
            if found != trace.manifest.digests.get(path):
                raise HarnessError(f"{path} was read back from {destination} as other values; nothing is left of it.")
        sync_archive(partial)
        partial.rename(destination)
        sync(destination.parent)
    return lacking, notes


def facts(manifest: Manifest) -> dict[str, str | int]:
    """Return the metadata and provenance of a trace as plain text and numbers.

    Attributes named ``tensor_*`` are left out: the tensors carry shapes and types themselves.
    """
    source = manifest.provenance
    own = {"source": source.source, "note": source.note, "trained": source.trained}
    said = {name: value for name, value in manifest.attributes().items() if not name.startswith("tensor_")}
    return said | {name: value for name, value in own.items() if value is not None}
