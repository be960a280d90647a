"""Tensors of one shape behind each other in one Zarr array, so that a trace is tens of files."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path

from harness.formats.base import Codec
from harness.formats.narrowing import Narrowing
from harness.formats.shard import ShardWriter, shard_shape
from harness.trace.schema import TensorSpec

_MOST_CHUNKS = 4096
"""In one shard: its index, read before the first chunk, then has at most 64 KiB."""

_MOST_BYTES = 1 << 30
"""Of values in one shard, unless a single tensor has more."""

_NUMBERED = re.compile(r"(?:^|/)(?:layer|step)_\d+(?=/|$)")


def stack_name(spec: TensorSpec) -> str | None:
    """Name the array that holds a tensor together with those of the other layers or recycling steps.

    Parameters
    ----------
    spec : TensorSpec
        Such as that of ``activations/layer_3/pair_repr``.

    Returns
    -------
    str or None
        Such as ``activations/pair_repr``; None for a tensor of no layer or step, and for one without axes or values:
        these have arrays of their own.
    """
    if not spec.shape or not spec.items:
        return None
    name, found = _NUMBERED.subn("", spec.path)
    return (name.lstrip("/") or "layers") if found else None


def tensors_per_shard(spec: TensorSpec, chunks: tuple[int, ...], count: int) -> int:
    """Return how many tensors of one shape share a file, so that the files hold about equally many.

    Parameters
    ----------
    spec : TensorSpec
        One of them.
    chunks : tuple of int
        Its chunks.
    count : int
        How many there are.

    Returns
    -------
    int
        At least 1.
    """
    most = min(_MOST_CHUNKS // grid_size(spec.shape, chunks), _MOST_BYTES // spec.nbytes)
    shards = ceil(count / max(1, most))
    return ceil(count / shards)


def grid_size(shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    """Return the number of chunks of a tensor; 0 for one without values."""
    return prod(ceil(n / c) for n, c in zip(shape, chunks, strict=True))


@dataclass(frozen=True)
class Kind:
    """What tensors must have in common to share an array."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    narrowing: str
    codec: Codec


@dataclass
class Stack:
    """An array being written, one tensor after the other.

    Attributes
    ----------
    kind : Kind
        Of its tensors; the name is the wanted one.
    narrowing : Narrowing
        How its tensors are made narrow.
    per_shard : int or None
        How many tensors share a file; None when the array is one tensor and has no axis for them.
    tensors : list of str
        Paths of those that are whole, by their place.
    name : str
        The array's path in the archive; empty until a tensor is whole, for values that turn out too wide may make it
        move to another array.
    """

    kind: Kind
    narrowing: Narrowing
    per_shard: int | None
    tensors: list[str] = field(default_factory=list)
    name: str = ""
    shards: list[ShardWriter] = field(default_factory=list)
    _rest: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.kind.shape if self.per_shard is None else (len(self.tensors), *self.kind.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Of the array."""
        return self.kind.chunks if self.per_shard is None else (1, *self.kind.chunks)

    @property
    def shard_shape(self) -> tuple[int, ...]:
        """Extent of one file, in values."""
        one = shard_shape(self.kind.shape, self.kind.chunks)
        return one if self.per_shard is None else (self.per_shard, *one)

    def begin(self, folder: Path) -> None:
        """Start the next tensor; a new file is made where `folder` says, or with those before it."""
        number = len(self.tensors) // (self.per_shard or 1)
        if number == len(self.shards):
            path = self._file(folder / self.name, number) if self.name else folder / f".shard-{id(self)}"
            self.shards.append(ShardWriter(path))
        self._rest = self.shards[-1].mark()

    def _file(self, folder: Path, number: int) -> Path:
        return folder / ".".join(["c", str(number), *("0" for _ in self.shape[1:])])

    def chunk(self, tensor: int, number: int) -> bytes | None:
        """Return an encoded chunk of a tensor, by the tensor's place, that was added before; None for a missing one."""
        shard, first = self.find(tensor)
        return shard.chunk(first + number)

    def find(self, tensor: int) -> tuple[ShardWriter, int]:
        """Return the file that holds a tensor, by the tensor's place, and the number of its first chunk in that."""
        shard, place = divmod(tensor, self.per_shard or 1)
        return self.shards[shard], place * grid_size(self.kind.shape, self.kind.chunks)

    def withdraw(self) -> None:
        """Take back what was added of the tensor that was begun."""
        self.shards[-1].rewind(self._rest)
        if not self.shards[-1].index:
            self.shards.pop().remove()

    def finish(self, tensor: str, folder: Path, taken: Collection[str]) -> None:
        """Count the tensor that was begun as whole; choose the array's name with the first."""
        if not self.name:
            self.name = free_name(self.kind.name, taken)
            target = folder / self.name
            target.mkdir(parents=True)
            self.shards[0].move(self._file(target, 0))
        self.tensors.append(tensor)
        if self.per_shard is None or len(self.tensors) % self.per_shard == 0:
            self.close()

    def close(self) -> None:
        """Write the index of the last file, with no chunks for tensors that did not come."""
        if self.shards and not self.shards[-1].finished:
            self.shards[-1].finish(grid_size(self.shard_shape, self.chunks))


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name for an array that is no tensor's, no group's and no other array's; the wanted one if it can be."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}.{number}"
    return name
