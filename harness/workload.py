"""What is asked of an archive: accesses and what a plan may depend on, described without naming any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from harness.documents import Count, Name, Positive
from harness.errors import HarnessError, UsageError
from harness.formats.selection import Selection, whole
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import LARGE_BYTES, block_rows

Cache = Literal["warm", "cold"]

MOST_STEPS = 200_000
"""Reads, and tensors to write, of all plans of a run together: a file of more could not be read again."""

Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""Of workers or residues: whatever asks for more is a mistake, and would never end."""

Windows = Annotated[int, msgspec.Meta(ge=1, le=25_000)]
_Workers = Annotated[tuple[tuple[Name, Number], ...], msgspec.Meta(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Read:
    """One read: a whole tensor, or a selection of it.

    Attributes
    ----------
    path : str
        Tensor.
    selection : tuple of slice or None
        The part; the whole when None.
    """

    path: str
    selection: Selection | None = None


@dataclass(frozen=True, kw_only=True)
class ReadAccess:
    """Reads that make up one sample, identical for every format.

    Attributes
    ----------
    name : str
        The case within its suite, such as ``attention_layer``.
    reads : tuple of Read
        In this order; split over workers in consecutive shares.
    load_once : bool
        Read each tensor whole, once, and take every selection from memory.
    executor : str
        Who reads: a name of the group ``harness.executors``.
    workers : int
        How many.
    caches : tuple of {"warm", "cold"}
        The cache states in which the access is worth measuring.
    """

    name: str
    reads: tuple[Read, ...]
    load_once: bool = False
    executor: str = "main"
    workers: int = 1
    caches: tuple[Cache, ...] = ("warm", "cold")

    def check(self, suite: str, manifest: Manifest) -> None:
        """Raise `UsageError` where a read asks for what no format could give; no reader has to look again."""
        for read in self.reads:
            try:
                whole(manifest[read.path].shape, read.selection)
            except HarnessError as error:
                raise UsageError(f"The suite {suite} cannot be asked for {self.name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class WriteAccess:
    """A new archive written in each sample; a suite may bring a kind of its own, with a task that takes its samples.

    Attributes
    ----------
    name : str
        The case within its suite.
    tensors : tuple of tuple of (str, str)
        For each round in turn (and from the start again), the names to write and the tensor each takes its values from.
    task : str
        What takes a sample, as ``module:attribute``: made and run as `harness.sampling.writing.WriteTask` is.
    """

    name: str
    tensors: tuple[tuple[tuple[str, str], ...], ...]
    task: ClassVar[str] = "harness.sampling.writing:WriteTask"


@dataclass(frozen=True, kw_only=True)
class SizeAccess:
    """The size of an archive: of the trace as it is, or of one written for this purpose.

    Attributes
    ----------
    name : str
        The case within its suite.
    tensors : tuple of (str, str) or None
        Names to write and where their values come from; None for the archive of the whole trace.
    """

    name: str
    tensors: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An access that a trace has no tensor for.

    Attributes
    ----------
    name : str
        The case within its suite.
    reason : str
        What the trace lacks.
    """

    name: str
    reason: str


Access = ReadAccess | WriteAccess | SizeAccess | Absent


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a run lets a plan depend on, besides the manifest and the seed.

    Attributes
    ----------
    attention_windows, pair_windows : int
        Windows per sample.
    window : int
        Edge of a window, in residues; the seed's is 32.
    workers : tuple of (str, int)
        The parallel configurations.
    parallel_windows : int or None
        Windows that all workers read together in one sample of `parallel_access`; None for as many as are read by one.
    parallel_bytes : int or None
        There are no more of them than would come to so many bytes if each read its whole tensor, as NPZ does; None in a
        run without such a format.
    parallel : {"windows", "all"}
        What workers read together in `parallel_access`: windows of one kind, warm; or windows of both kinds and whole
        layers too, warm and cold.
    whole_bytes : int
        The largest tensor that is read whole, by one call; a larger one is read as consecutive blocks of rows, in every
        format alike, so that the memory which a sample needs does not grow with the sequence.
    block_bytes : int
        Bytes of such a block, at most, unless one row takes more.
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


def requested_bytes(manifest: Manifest, reads: Iterable[Read]) -> int:
    """Return the bytes that reads ask for together.

    Parameters
    ----------
    manifest : Manifest
        What the trace holds.
    reads : iterable of Read
        Of its tensors.

    Returns
    -------
    int
        Bytes of the arrays that have to come back.
    """
    total = 0
    for read in reads:
        spec = manifest[read.path]
        shape = spec.shape if read.selection is None else tuple(s.stop - s.start for s in read.selection)
        total += prod(shape) * np.dtype(spec.dtype).itemsize
    return total


def whole_reads(spec: TensorSpec, options: PlanOptions) -> tuple[Read, ...]:
    """Plan the reading of a whole tensor.

    Parameters
    ----------
    spec : TensorSpec
        Which.
    options : PlanOptions
        Up to which size it is one read, and how large blocks of rows are above.

    Returns
    -------
    tuple of Read
        One, or consecutive blocks along the first axis that together are the tensor.
    """
    if spec.nbytes <= options.whole_bytes:
        return (Read(path=spec.path),)
    step, length = _block_rows(spec, options), spec.shape[0]
    others = tuple(slice(0, n) for n in spec.shape[1:])
    return tuple(
        Read(path=spec.path, selection=(slice(start, min(start + step, length)), *others))
        for start in range(0, length, step)
    )


def _block_rows(spec: TensorSpec, options: PlanOptions) -> int:
    return block_rows(spec.shape, np.dtype(spec.dtype).itemsize, options.block_bytes)


def count_whole_reads(manifest: Manifest, options: PlanOptions) -> int:
    """Return how many reads `whole_reads` plans for all tensors together, without planning them."""
    large = [spec for spec in manifest.tensors if spec.nbytes > options.whole_bytes]
    blocks = sum(-(-spec.shape[0] // _block_rows(spec, options)) if spec.shape else 1 for spec in large)
    return blocks + len(manifest.tensors) - len(large)


def count_steps(access: Access) -> int:
    """Return how many reads an access has, or tensors to write; at least 1."""
    if isinstance(access, ReadAccess):
        return max(1, len(access.reads))
    if isinstance(access, WriteAccess):
        return 1 + sum(map(len, access.tensors))
    return 1 + len(access.tensors or ()) if isinstance(access, SizeAccess) else 1


def windowed(manifest: Manifest, options: PlanOptions) -> Iterator[tuple[str, list[TensorSpec], int]]:
    """Yield each kind of tensor that windows are read of, its tensors that are not empty, and how many windows.

    A trace without arrays of no known kind has only two kinds, and nothing is said of the third.
    """
    for role, count in ((Role.ATTENTION, options.attention_windows), (Role.PAIR, options.pair_windows)):
        yield role.value, [spec for spec in manifest.with_role(role) if spec.items], count
    if arrays := [spec for spec in manifest.arrays() if spec.shape]:
        yield Role.ARRAY.value, arrays, options.pair_windows


def window_axes(spec: TensorSpec) -> list[int]:
    """Return the axes along which a window of a tensor is cut: queries and keys, residues or tokens, else the largest.

    Two, in order; one where there are no more.
    """
    if spec.role in (Role.ATTENTION, Role.PAIR):
        for names in (("query", "key"), ("residue", "token", "atom")):
            if len(named := [axis for axis, name in enumerate(spec.axes) if name in names]) >= 2:
                return named[:2]
    return sorted(sorted(range(len(spec.shape)), key=lambda axis: -spec.shape[axis])[:2])


def window_reads(specs: list[TensorSpec], count: int, edge: int, rng: np.random.Generator) -> tuple[Read, ...]:
    """Draw square windows over residues, or over the axes of `window_axes`, from randomly chosen tensors and heads.

    Parameters
    ----------
    specs : list of TensorSpec
        Tensors to draw from, none empty.
    count : int
        How many windows.
    edge : int
        Edge of each, in residues; a shorter axis is taken whole.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    tuple of Read
        For attention one head's window ``(1, edge, edge)``, for pair tensors all channels ``(edge, edge, channels)``.
    """
    reads = []
    for _ in range(count):
        spec = specs[int(rng.integers(len(specs)))]
        square = window_axes(spec)
        part = []
        for axis, length in enumerate(spec.shape):
            width = min(edge, length) if axis in square else (1 if axis < square[0] else length)
            start = int(rng.integers(length - width + 1))
            part.append(slice(start, start + width))
        reads.append(Read(path=spec.path, selection=tuple(part)))
    return tuple(reads)
