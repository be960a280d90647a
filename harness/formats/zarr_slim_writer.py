"""Write slimmed Zarr: tensors of one shape behind each other in one sharded array, so that a trace is tens of files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Layout, Writer
from harness.formats.recovered import Place
from harness.formats.shard import ShardWriter, grid_of, shard_shape
from harness.formats.sharded import VERSION, Chain, array_node, chunk_codec, file_name, group_node
from harness.formats.threads import cores
from harness.formats.zarr import root_attributes
from harness.slimming.slimmer import Kept, Slimmer
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_MOST_CHUNKS = 4096
"""In one shard: its index, read before the first chunk, then has at most 64 KiB."""

_MOST_BYTES = 1 << 30
"""Of values in one shard, unless a single tensor has more."""

_NUMBERED = re.compile(r"(?:^|/)(?:layer|step)_\d+(?=/|$)")


@dataclass(kw_only=True)
class _Stack:
    """An array being written, one tensor after the other."""

    name: str
    folder: Path
    first: Kept  # of its tensors: all have its shape, dtype, narrowing and codec
    chunks: tuple[int, ...]  # of one tensor
    encode: Callable[[np.ndarray], bytes | None]
    chain: Chain
    per_shard: int  # tensors that share a file; 0 when the array is one tensor and has no axis for them
    tensors: list[str] = field(default_factory=list)  # paths of those that are whole, by their place
    shards: list[ShardWriter] = field(default_factory=list)

    def shard(self) -> ShardWriter:
        """Return the file of the next tensor, a new one or that of those before it."""
        number = len(self.tensors) // max(1, self.per_shard)
        if number == len(self.shards):
            axes = len(self.chunks) + bool(self.per_shard)
            self.shards.append(ShardWriter(self.folder / file_name(number, axes)))
        return self.shards[number]

    def end(self, tensor: str) -> None:
        """Count the tensor that was begun as whole."""
        self.tensors.append(tensor)
        if not self.per_shard or len(self.tensors) % self.per_shard == 0:
            self.finish()

    def finish(self) -> None:
        """Write the index of the last file, with no chunks for tensors that did not come."""
        self.shards[-1].finish(max(1, self.per_shard) * prod(grid_of(self.first.spec.shape, self.chunks)))

    def node(self) -> dict[str, Any]:
        """Compose the array's metadata."""
        return _node(self.first, self.chunks, self.chain, self.per_shard, self.tensors)


def _node(
    kept: Kept, chunks: tuple[int, ...], chain: Chain, per_shard: int = 0, tensors: Sequence[str] = ()
) -> dict[str, Any]:
    """Compose the metadata of an array of one tensor, or of several with an axis for them in front."""
    shape = kept.spec.shape
    attributes: dict[str, Any] = {"narrowing": kept.narrowing.name, "dtype": kept.spec.dtype}
    shards = shard_shape(shape, chunks)
    if per_shard:
        shape, shards, chunks = (len(tensors), *shape), (per_shard, *shards), (1, *chunks)
        attributes["tensors"] = tensors
    return array_node(shape, kept.narrowing.stored, chunks, shards, chain, attributes)


class ZarrSlimWriter(Writer):
    """Writes what the slimmer decides to store, every tensor behind those of the layers before it.

    Parameters
    ----------
    path, manifest : Path, Manifest
        The archive and what it will hold.
    slimmer : Slimmer
        Decides.
    setting : str
        Recorded in the archive.
    layout : callable
        Takes a tensor to its chunks, and what is stored of it to their codec.
    stacked : bool
        Whether the layers of a role share an array.
    checked : bool
        Whether a CRC32C stands behind every chunk.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        slimmer: Slimmer,
        setting: str,
        layout: Callable[[TensorSpec], Layout],
        *,
        stacked: bool,
        checked: bool,
    ) -> None:
        self._path, self._slimmer, self._setting, self._layout, self._stacked = path, slimmer, setting, layout, stacked
        self._checked = checked
        path.mkdir()
        self._nodes: dict[str, Any] = {}
        self._places: dict[str, tuple[str, int | None]] = {}
        self._whole: dict[str, Place] = {}
        self._ended: dict[str, Place] = {}
        self._stacks: dict[Any, _Stack] = {}
        self._counts = Counter((self._shared(spec), spec.shape, spec.dtype) for spec in manifest.tensors)
        arrays = {spec.path: self._shared(spec) or spec.path for spec in manifest.tensors}
        self._taken = {path for path, array in arrays.items() if array == path}
        self._taken |= {group for array in arrays.values() for group in _groups_above(array)}
        self._pool = ThreadPoolExecutor(cores())

    def _shared(self, spec: TensorSpec) -> str | None:
        """Name the array that a tensor shares with those of other layers or recycling steps, such as ``pair``.

        None for a tensor of no layer or step, for one without axes or values, and for one that is stored as it comes:
        these have arrays of their own.
        """
        if not self._stacked or not spec.items or not spec.shape or self._slimmer.is_plain(spec):
            return None
        name, found = _NUMBERED.subn("", spec.path)
        return (name.lstrip("/") or "layers") if found else None

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        kept, path = self._slimmer.take(spec, blocks), spec.path
        if kept.of:
            self._places[path] = self._places.get(kept.of, (kept.of, None))
            self._ended[path] = self._whole[kept.of]
        else:
            self._ended[path] = self._put_chunks(kept) if spec.shape and spec.items else self._put_alone(kept)
            self._whole[path] = self._ended[path]

    def _put_chunks(self, kept: Kept) -> Place:
        """Encode a tensor, chunk by chunk, into its array."""
        stack = self._stack_of(kept)
        narrow, chunks, shard = kept.narrowing.narrow, stack.chunks, stack.shard()
        first = len(shard.index)
        for rows in self._slimmer.blocks(chunks[0]):
            for encoded in self._pool.map(lambda part: stack.encode(narrow(_padded(part, chunks))), _cut(rows, chunks)):
                shard.add(encoded)
        place = self._place(_node(kept, chunks, stack.chain), shard.path, shard.index[first:])
        if stack.per_shard:
            self._places[kept.spec.path] = (stack.name, len(stack.tensors))
        stack.end(kept.spec.path)
        return place

    def _stack_of(self, kept: Kept) -> _Stack:
        """Return the array that a tensor goes into, a new one where there is none of its kind."""
        spec, wanted = kept.spec, self._shared(kept.spec)
        chunks, codec = self._layout(spec).chunks or (), self._layout(kept.stored).codec
        kind = wanted or spec.path, spec.shape, spec.dtype, chunks, kept.narrowing.name, codec
        if kind not in self._stacks:
            name, number = kind[0], 1
            while wanted and name in self._taken:
                number += 1
                name = f"{wanted}.{number}"
            self._taken.add(name)
            (self._path / name).mkdir(parents=True)
            encode, chain = chunk_codec(codec, kept.narrowing.stored, checked=self._checked)
            together = _per_shard(spec, chunks, self._counts[wanted, spec.shape, spec.dtype]) if wanted else 0
            self._stacks[kind] = _Stack(
                name=name, folder=self._path / name, first=kept, chunks=chunks, encode=encode, chain=chain,
                per_shard=together,
            )  # fmt: skip
        return self._stacks[kind]

    def _put_alone(self, kept: Kept) -> Place:
        """Write what is not cut into chunks: a scalar, or a tensor without values."""
        spec, file = kept.spec, self._path / kept.spec.path / "c"
        encode, chain = chunk_codec(None, kept.narrowing.stored, checked=self._checked)
        if not spec.shape:
            file.parent.mkdir(parents=True)
            (value,) = self._slimmer.blocks()
            file.write_bytes(encode(value) or b"")
        node = _node(kept, self._layout(spec).chunks or (), chain)
        self._put_array(spec.path, node)
        return self._place(node, file, [] if spec.shape else [(0, file.stat().st_size)])

    def _place(self, node: dict[str, Any], file: Path, chunks: list[tuple[int, int]]) -> Place:
        """Describe a tensor as an array of its own: its file has no index before there are all that share it."""
        return {"node": node, "file": file.relative_to(self._path).as_posix(), "chunks": chunks}

    def _put_array(self, path: str, node: dict[str, Any]) -> None:
        """Write the metadata of an array, beside its files that are already in place, and of the groups above it."""
        for group in _groups_above(path):
            if group not in self._nodes:
                self._put(group, group_node({}))
        self._put(path, node)

    def _put(self, name: str, node: dict[str, Any]) -> None:
        """Write the metadata of a group or an array, and keep it for the root's copy."""
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "zarr.json").open("x") as file:  # fails where a tensor is named as a group is
            json.dump(node, file)
        self._nodes[name] = node

    def checkpoint(self) -> dict[str, Place]:
        for stack in self._stacks.values():
            for shard in stack.shards:
                shard.flush()
        ended, self._ended = self._ended, {}
        return ended

    def commit(self, manifest: Manifest) -> None:
        self._slimmer.close()
        self._pool.shutdown()
        for stack in self._stacks.values():
            stack.finish()
            self._put_array(stack.name, stack.node())
        self._put("metadata", group_node(manifest.attributes()))
        slim = {"version": VERSION, "setting": self._setting, "places": self._places}
        root = group_node(root_attributes(manifest, slim=slim), self._nodes)
        (self._path / "zarr.json").write_text(json.dumps(root))

    def abort(self) -> None:
        self._slimmer.close()
        self._pool.shutdown(cancel_futures=True)
        for stack in self._stacks.values():
            for shard in stack.shards:
                shard.close()


def _per_shard(spec: TensorSpec, chunks: tuple[int, ...], count: int) -> int:
    """Return how many of so many tensors of one shape share a file, so that the files hold about equally many."""
    most = min(_MOST_CHUNKS // prod(grid_of(spec.shape, chunks)), _MOST_BYTES // spec.nbytes)
    return ceil(count / ceil(count / max(1, most)))


def _groups_above(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[:depth]) for depth in range(1, len(steps))]


def _cut(rows: np.ndarray, chunks: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Cut rows of chunks into chunks, in C order; the last along each axis may be smaller."""
    for position in np.ndindex(grid_of(rows.shape, chunks)):
        yield rows[tuple(slice(i * c, (i + 1) * c) for i, c in zip(position, chunks, strict=True))]


def _padded(part: np.ndarray, chunks: tuple[int, ...]) -> np.ndarray:
    """Return a chunk in C order, padded with zeros to the full extent that Zarr's regular grid wants."""
    if part.shape == chunks:
        return np.ascontiguousarray(part)
    padded = np.zeros(chunks, part.dtype)
    padded[tuple(slice(0, n) for n in part.shape)] = part
    return padded
