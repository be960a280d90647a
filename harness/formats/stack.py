"""Tensors of one shape behind each other in one Zarr array, so that a trace is tens of files."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path
from typing import Any

from harness.formats.base import Codec
from harness.formats.shard import ShardWriter, shard_shape
from harness.formats.sharded import array_node
from harness.formats.slim_codec import chunk_codec
from harness.slimming.narrowing import Narrowing
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
        How their values are held.
    per_shard : int or None
        How many tensors share a file; None when the array is one tensor and has no axis for them.
    name, folder : str, Path
        The array's path in the archive, and where its files are.
    tensors : list of str
        Paths of those that are whole, by their place.
    """

    kind: Kind
    narrowing: Narrowing
    per_shard: int | None
    name: str
    folder: Path
    tensors: list[str] = field(default_factory=list)
    shards: list[ShardWriter] = field(default_factory=list)

    @property
    def _shard_shape(self) -> tuple[int, ...]:
        """Extent of one file, in values."""
        one = shard_shape(self.kind.shape, self.kind.chunks)
        return one if self.per_shard is None else (self.per_shard, *one)

    @property
    def _chunks(self) -> tuple[int, ...]:
        return self.kind.chunks if self.per_shard is None else (1, *self.kind.chunks)

    def begin(self) -> None:
        """Start the next tensor, in a new file or with those before it."""
        number = len(self.tensors) // (self.per_shard or 1)
        if number == len(self.shards):
            name = ".".join(["c", str(number), *("0" for _ in self._chunks[1:])])
            self.shards.append(ShardWriter(self.folder / name))

    def end(self, tensor: str) -> None:
        """Count the tensor that was begun as whole."""
        self.tensors.append(tensor)
        if self.per_shard is None or len(self.tensors) % self.per_shard == 0:
            self.close()

    def find(self, tensor: int) -> tuple[ShardWriter, int]:
        """Return the file that holds a tensor, by the tensor's place, and the number of its first chunk in that."""
        shard, place = divmod(tensor, self.per_shard or 1)
        return self.shards[shard], place * grid_size(self.kind.shape, self.kind.chunks)

    def node(self) -> dict[str, Any]:
        """Compose the array's metadata."""
        shape = self.kind.shape if self.per_shard is None else (len(self.tensors), *self.kind.shape)
        attributes: dict[str, Any] = {"narrowing": self.narrowing.name, "dtype": self.kind.dtype}
        if self.per_shard:
            attributes["tensors"] = self.tensors
        stored = self.narrowing.stored
        chain = chunk_codec(self.kind.codec, stored).chain
        return array_node(shape, stored, self._chunks, self._shard_shape, chain, attributes)

    def close(self) -> None:
        """Write the index of the last file, with no chunks for tensors that did not come."""
        if self.shards and not self.shards[-1].finished:
            self.shards[-1].finish(grid_size(self._shard_shape, self._chunks))


def free_name(wanted: str, taken: Collection[str]) -> str:
    """Return a name for an array that is no tensor's, no group's and no other array's; the wanted one if it can be."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}.{number}"
    return name
