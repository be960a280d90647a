"""The workload: accesses, and the options of plans, independent of any format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from harness.documents import Count, Name, Positive
from harness.errors import HarnessError, UsageError
from harness.formats.selection import Selection, whole
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import LARGE_BYTES, block_rows

Cache = Literal["warm", "cold", "lukewarm"]

MOST_STEPS = 200_000
"""Limit of the reads and tensors to write in all plans of a run together; a larger plan file could not be read."""

Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""A number of workers or residues; a larger one is a mistake, and its run would never end."""

Windows = Annotated[int, msgspec.Meta(ge=1, le=25_000)]
_Workers = Annotated[tuple[tuple[Name, Number], ...], msgspec.Meta(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Read:
    """A read of a complete tensor, or of a selection."""

    path: str  # Name of the tensor.
    selection: Selection | None = None  # The part; None for the complete tensor.


@dataclass(frozen=True, kw_only=True)
class ReadAccess:
    """Reads that make up one sample, identical for every format."""

    name: str  # The case within its suite, such as ``attention_layer``.
    reads: tuple[Read, ...]  # Reads in order; split over workers in consecutive shares.
    load_once: bool = False  # Read each complete tensor once, and take every selection from memory.
    executor: str = "main"  # Name of an executor in the group ``harness.executors``.
    workers: int = 1  # Number of workers.
    # Cache states in which the access is measured: of "warm" and "cold".
    caches: tuple[Cache, ...] = ("warm", "cold")

    def check(self, suite: str, manifest: Manifest) -> None:
        """Raise `UsageError` if a read is out of bounds or names no tensor; readers need not check again."""
        for read in self.reads:
            try:
                whole(manifest[read.path].shape, read.selection)
            except HarnessError as error:
                raise UsageError(f"The suite {suite} cannot be asked for {self.name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class WriteAccess:
    """Writing a new archive in each sample; a suite may derive its own kind, with another `task`.

    Attributes
    ----------
    name : str
        The case within its suite.
    tensors : tuple of tuple of (str, str)
        For each round, cyclically, the names to write, each with the tensor that provides its values.
    task : str
        Task that takes a sample, as ``module:attribute``, with the interface of `harness.sampling.writing.WriteTask`.
    """

    name: str
    tensors: tuple[tuple[tuple[str, str], ...], ...]
    task: ClassVar[str] = "harness.sampling.writing:WriteTask"


@dataclass(frozen=True, kw_only=True)
class SizeAccess:
    """The size of the archive of the trace, or of an archive written for this purpose."""

    name: str  # The case within its suite.
    # Names to write, each with the tensor that provides its values; None for the archive of the complete trace.
    tensors: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An access for which the trace has no tensor."""

    name: str  # The case within its suite.
    reason: str  # What the trace lacks.


Access = ReadAccess | WriteAccess | SizeAccess | Absent


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options of a run on which a plan may depend, besides the manifest and the seed.

    Attributes
    ----------
    attention_windows, pair_windows : int
        Windows per sample.
    window : int
        Edge of a window, in residues; 32 in the earlier comparison.
    workers : tuple of (str, int)
        Executors with numbers of workers for parallel access.
    parallel_windows : int or None
        Windows of one sample of `parallel_access`, for all workers together; None for the same as for one reader.
    parallel_bytes : int or None
        Limit of these windows: the bytes if each reads its complete tensor, as in NPZ. None in a run without such a
        format.
    parallel : {"windows", "all"}
        Reads in `parallel_access`: windows of one kind, warm; or windows of both kinds and complete layers, warm and
        cold.
    whole_bytes : int
        The largest tensor that is read by one call; a larger one is read as consecutive blocks of rows in every format,
        so that the memory of a sample does not grow with the sequence length.
    block_bytes : int
        Largest size of such a block in bytes, unless one row takes more.
    name_rest : bool
        Whether plans name what is read only with everything. Runs of before did not, and those of made traces do not.
    by_bytes : bool
        Whether a plan draws arrays in proportion to their bytes, and leaves out scalars where there are others: as in
        a run of files of anybody, of which most may be a few numbers. Else each is as likely.
    """

    attention_windows: Windows = 32
    pair_windows: Windows = 16
    window: Number = 32
    workers: _Workers = (
        *(("threads", n) for n in (1, 2, 4, 8)),
        ("threads-shared", 8),
        *(("processes", n) for n in (1, 2, 4)),
    )
    parallel_windows: Windows | None = None
    parallel_bytes: Count | None = 2 << 30
    parallel: Literal["windows", "all"] = "windows"
    whole_bytes: Count = LARGE_BYTES
    block_bytes: Positive = LARGE_BYTES // 2
    name_rest: bool = False
    by_bytes: bool = False


def requested_bytes(manifest: Manifest, reads: Iterable[Read]) -> int:
    """Return the total size in bytes of the arrays that reads of a trace's tensors return."""
    total = 0
    for read in reads:
        spec = manifest[read.path]
        shape = spec.shape if read.selection is None else tuple(s.stop - s.start for s in read.selection)
        total += prod(shape) * np.dtype(spec.dtype).itemsize
    return total


def whole_reads(spec: TensorSpec, options: PlanOptions, part: Selection | None = None) -> tuple[Read, ...]:
    """Plan reading a complete tensor, or a part of it.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    options : PlanOptions
        Options with the size limit of one read, and the size of blocks above it.
    part : tuple of slice or None
        The part to read; None for the complete tensor.

    Returns
    -------
    tuple of Read
        One read, or consecutive blocks along the first axis of more than one index that cover it.
    """
    chosen = part or tuple(slice(0, n) for n in spec.shape)
    shape, itemsize = tuple(one.stop - one.start for one in chosen), np.dtype(spec.dtype).itemsize
    if prod(shape) <= 1 or prod(shape) * itemsize <= options.whole_bytes:
        return (Read(path=spec.path, selection=part),)
    axis, step = _cut(shape, itemsize, options)
    start, stop = chosen[axis].start, chosen[axis].stop
    return tuple(
        Read(path=spec.path, selection=(*chosen[:axis], slice(at, min(at + step, stop)), *chosen[axis + 1 :]))
        for at in range(start, stop, step)
    )


def _cut(shape: tuple[int, ...], itemsize: int, options: PlanOptions) -> tuple[int, int]:
    """Return the axis along which a large tensor is read in blocks, and the number of its indices in a block."""
    axis = next(axis for axis, n in enumerate(shape) if n > 1)
    return axis, block_rows(shape[axis:], itemsize, options.block_bytes)


def count_whole_reads(manifest: Manifest, options: PlanOptions) -> int:
    """Return the number of reads of `whole_reads` for all tensors, without planning them."""
    large = [spec for spec in manifest.tensors if spec.items > 1 and spec.nbytes > options.whole_bytes]
    blocks = 0
    for spec in large:
        axis, step = _cut(spec.shape, np.dtype(spec.dtype).itemsize, options)
        blocks += -(-spec.shape[axis] // step)
    return blocks + len(manifest.tensors) - len(large)


def count_steps(access: Access) -> int:
    """Return the number of reads of an access, or of tensors to write; at least 1."""
    if isinstance(access, ReadAccess):
        return max(1, len(access.reads))
    if isinstance(access, WriteAccess):
        return 1 + sum(map(len, access.tensors))
    return 1 + len(access.tensors or ()) if isinstance(access, SizeAccess) else 1


def rest(manifest: Manifest, options: PlanOptions) -> list[Absent]:
    """Return a list with one `Absent` on the tensors of which no part is read; empty without such or `name_rest`."""
    if not options.name_rest or not (specs := manifest.only_whole()):
        return []
    roles = ", ".join(sorted({spec.role.value for spec in specs}))
    reason = f"what has another role ({roles}; {len(specs)} in all) is read only with everything"
    return [Absent(name="rest", reason=reason)]
