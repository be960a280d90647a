"""The corner of a tensor that is measured in its place: the first residues, in the chunks of the complete tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.formats.archive import write_archive
from harness.formats.base import Layout, load_format
from harness.records import RAW
from harness.sampling.worker import Children
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.sources import open_trace
from harness.trace.stream import Trace, first_rows
from harness.workload import Read

_STEP = 64  # residues; the length of a longer corner is a multiple of it


def cut_axes(spec: TensorSpec) -> list[int]:
    """Return the axes along which a corner is cut: all residue axes, or the first axis if there are none."""
    return [axis for axis, name in enumerate(spec.axes) if name == "residue"] or [0]


def cut(spec: TensorSpec, length: int) -> TensorSpec:
    """Return a tensor cut to a length along `cut_axes`."""
    axes = cut_axes(spec)
    shape = tuple(max(1, min(length, n)) if axis in axes else n for axis, n in enumerate(spec.shape))
    return dataclasses.replace(spec, shape=shape)


def corner_of(spec: TensorSpec, nbytes: int, edges: Iterable[int]) -> TensorSpec:
    """Return the largest corner of a tensor that takes at most `nbytes` bytes.

    Parameters
    ----------
    spec : TensorSpec
        The tensor; it is returned itself if it is not larger.
    nbytes : int
        Most bytes, unless the longest chunk takes more.
    edges : iterable of int
        Extents of chunks along the cut axes; the corner is no shorter than any of them.

    Returns
    -------
    TensorSpec
        With the same path, equally long along all residue axes.
    """
    if spec.nbytes <= nbytes:
        return spec
    axes = cut_axes(spec)
    length = spec.shape[axes[0]]
    fitting = int(length * (nbytes / spec.nbytes) ** (1 / len(axes)))
    fitting -= fitting % _STEP if fitting > _STEP else 0
    return cut(spec, min(length, max([fitting, *edges])))


def in_whole_chunks(whole: TensorSpec, corner: TensorSpec, layout: Layout) -> TensorSpec:
    """Shorten a corner to complete chunks, so that it has no padding that the complete tensor lacks.

    Parameters
    ----------
    whole, corner : TensorSpec
        The tensor and its corner; if they are equal, the corner is returned unchanged.
    layout : Layout
        Layout of the complete tensor.

    Returns
    -------
    TensorSpec
        More than half as long as the corner, which is no shorter than a chunk.
    """
    if corner == whole or not layout.chunks:
        return corner
    axis = cut_axes(whole)[-1]
    edge, length = layout.chunks[axis], corner.shape[axis]
    return cut(whole, max(length - length % edge, min(edge, length)))


def within(reads: Iterable[Read], part: TensorSpec) -> tuple[Read, ...]:
    """Return reads of a corner, cut to a shorter corner."""

    def clipped(selection: tuple[slice, ...]) -> tuple[slice, ...]:
        return tuple(slice(s.start, min(s.stop, n)) for s, n in zip(selection, part.shape, strict=True))

    return tuple(r if r.selection is None else Read(path=r.path, selection=clipped(r.selection)) for r in reads)


class Corner(Trace):
    """The first residues, or the first rows, of one tensor of a trace.

    Parameters
    ----------
    trace : Trace
        The source.
    part : TensorSpec
        The part, with the path of the tensor and at most its length along each axis.
    """

    def __init__(self, trace: Trace, part: TensorSpec) -> None:
        self._trace = trace
        self.label = trace.label
        residues = next((n for n, name in zip(part.shape, part.axes, strict=True) if name == "residue"), None)
        metadata = dataclasses.replace(trace.manifest.metadata, num_residues=residues)
        self.manifest = dataclasses.replace(trace.manifest, metadata=metadata, tensors=(part,), digests={})

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        rows, *others = self.manifest[path].shape
        for block in first_rows(self._trace, path, rows):
            yield np.ascontiguousarray(block[(slice(None), *(slice(0, n) for n in others))])


@dataclass(frozen=True, kw_only=True)
class SampleTask:
    """Task that writes the sample of a role as a raw archive, from which candidates are written."""

    source: str  # The trace as ``NAME[:key=value,...]``.
    n_res: int | None  # Sequence length, for a trace that can be made in any length.
    part: TensorSpec  # The part of a tensor to write.
    destination: Path  # The archive.

    def run(self, children: Children) -> Manifest:
        """Write the sample and return its manifest, with its digest."""
        trace = Corner(open_trace(self.source, self.n_res), self.part)
        return write_archive(trace, load_format(RAW), self.destination)
