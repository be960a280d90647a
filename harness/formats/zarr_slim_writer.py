"""Write slimmed Zarr: what is stored of the layers of a role in one sharded array, and where each tensor is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Codec, Layout, Writer
from harness.formats.crew import cores
from harness.formats.recovered import Place
from harness.formats.shard import CHECKSUM, sealed, shard_shape
from harness.formats.sharded import CRC32C, VERSION, array_node, group_node, little_endian
from harness.formats.slim_codec import chunk_codec
from harness.formats.stack import Kind, Stack, free_name, grid_size, stack_name, tensors_per_shard
from harness.formats.zarr import root_attributes
from harness.slimming.slimmer import Kept, Slimmer
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec


@dataclass(frozen=True, kw_only=True)
class SlimLook:
    """How the files of slimmed Zarr look.

    Attributes
    ----------
    setting : str
        Recorded in the archive.
    stacked : bool
        Whether the layers of a role share an array.
    layout : callable
        Takes a tensor to its chunks.
    codec : callable
        Takes the dtype that is stored, and a role, to the codec of their chunks.
    """

    setting: str
    stacked: bool
    layout: Callable[[TensorSpec], Layout]
    codec: Callable[[str, Role], Codec]


@dataclass(frozen=True)
class _Whole:
    """A tensor that is written: what is stored of it, and its index in the array that it shares."""

    kept: Kept
    stack: Stack | None
    index: int


class ZarrSlimWriter(Writer):
    """Writes what the slimmer decides to store, every tensor behind those of the layers before it."""

    def __init__(self, path: Path, manifest: Manifest, look: SlimLook, slimmer: Slimmer) -> None:
        self._path, self._look, self._slimmer = path, look, slimmer
        path.mkdir()
        self._nodes: dict[str, Any] = {}
        self._places: dict[str, tuple[str, int | None]] = {}
        self._whole: dict[str, _Whole] = {}
        self._ended: dict[str, _Whole] = {}
        self._stacks: dict[Kind, Stack] = {}
        self._counts = Counter((self._shared(spec), spec.shape, spec.dtype) for spec in manifest.tensors)
        arrays = {spec.path: self._shared(spec) or spec.path for spec in manifest.tensors}
        self._taken = {path for path, array in arrays.items() if array == path}
        self._taken |= {group for array in arrays.values() for group in _groups_above(array)}
        self._pool = ThreadPoolExecutor(cores())

    def _shared(self, spec: TensorSpec) -> str | None:
        """Name the array that a tensor shares with others; None for one that has an array of its own."""
        return stack_name(spec) if self._look.stacked else None

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        kept, path = self._slimmer.take(spec, blocks), spec.path
        if kept.of:
            self._places[path] = self._places.get(kept.of, (kept.of, None))
            self._ended[path] = self._whole[kept.of]
            return
        chunked = spec.shape and spec.items
        self._ended[path] = self._whole[path] = self._stack(kept) if chunked else self._alone(kept)

    def _stack(self, kept: Kept) -> _Whole:
        """Encode a tensor, chunk by chunk, into its array."""
        spec, narrowing = kept.spec, kept.narrowing
        chunks = self._look.layout(spec).chunks or ()
        stack = self._stack_of(kept, chunks)
        codec = chunk_codec(stack.kind.codec, narrowing.stored)

        def encode(part: np.ndarray) -> bytes | None:
            return codec.encode(narrowing.narrow(_padded(part, chunks)))

        stack.begin()
        for rows in self._slimmer.blocks(chunks[0]):
            for encoded in self._pool.map(encode, _cut(rows, chunks)):
                stack.shards[-1].add(encoded)
        index = len(stack.tensors)
        stack.end(spec.path)
        if stack.per_shard:
            self._places[spec.path] = (stack.name, index)
        return _Whole(kept, stack, index)

    def _stack_of(self, kept: Kept, chunks: tuple[int, ...]) -> Stack:
        """Return the array that a tensor goes into, a new one where there is none of its kind."""
        spec, wanted = kept.spec, self._shared(kept.spec)
        codec = self._look.codec(kept.narrowing.stored, spec.role)
        kind = Kind(wanted or spec.path, spec.shape, spec.dtype, chunks, kept.narrowing.name, codec)
        if kind not in self._stacks:
            together = wanted and tensors_per_shard(spec, chunks, self._counts[wanted, spec.shape, spec.dtype])
            name = free_name(wanted, self._taken) if wanted else spec.path
            self._taken.add(name)
            (self._path / name).mkdir(parents=True)
            self._stacks[kind] = Stack(kind, kept.narrowing, together or None, name, self._path / name)
        return self._stacks[kind]

    def _alone(self, kept: Kept) -> _Whole:
        """Write what is not cut into chunks: a scalar, or a tensor without values."""
        path, stored, shape = kept.spec.path, kept.narrowing.stored, kept.spec.shape
        if not shape:
            (self._path / path).mkdir(parents=True)
            (value,) = self._slimmer.blocks()
            (self._path / path / "c").write_bytes(sealed(value.tobytes()))
        chunks = self._look.layout(kept.spec).chunks or ()
        chain = [little_endian(stored), CRC32C]
        self._put_array(path, array_node(shape, stored, chunks, shard_shape(shape, chunks), chain, _attributes(kept)))
        return _Whole(kept, None, 0)

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
        return {path: self._place_of(whole) for path, whole in ended.items()}

    def _place_of(self, whole: _Whole) -> Place:
        """Describe a whole tensor as an array of its own; its file has no index before there are all that share it."""
        spec, stack = whole.kept.spec, whole.stack
        if stack is None:
            chunks = [] if spec.shape else [(0, CHECKSUM + spec.nbytes)]
            return {"node": self._nodes[spec.path], "file": f"{spec.path}/c", "chunks": chunks}
        shard, first = stack.find(whole.index)
        chunks = shard.index[first : first + grid_size(spec.shape, stack.kind.chunks)]
        stored, shards = whole.kept.narrowing.stored, shard_shape(spec.shape, stack.kind.chunks)
        chain = chunk_codec(stack.kind.codec, stored).chain
        node = array_node(spec.shape, stored, stack.kind.chunks, shards, chain, _attributes(whole.kept))
        return {"node": node, "file": shard.path.relative_to(self._path).as_posix(), "chunks": chunks}

    def commit(self, manifest: Manifest) -> None:
        self._slimmer.close()
        self._pool.shutdown()
        for stack in self._stacks.values():
            stack.close()
            self._put_array(stack.name, stack.node())
        self._put("metadata", group_node(manifest.attributes()))
        slim = {"version": VERSION, "setting": self._look.setting, "places": self._places}
        root = group_node(root_attributes(manifest, slim=slim), self._nodes)
        (self._path / "zarr.json").write_text(json.dumps(root))

    def abort(self) -> None:
        self._slimmer.close()
        self._pool.shutdown(cancel_futures=True)
        for stack in self._stacks.values():
            for shard in stack.shards:
                shard.close()


def _attributes(kept: Kept) -> dict[str, str]:
    return {"narrowing": kept.narrowing.name, "dtype": kept.spec.dtype}


def _groups_above(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[:depth]) for depth in range(1, len(steps))]


def _cut(rows: np.ndarray, chunks: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Cut rows of chunks into chunks, in C order; the last along each axis may be smaller."""
    counts = [ceil(n / c) for n, c in zip(rows.shape, chunks, strict=True)]
    for position in np.ndindex(*counts):
        yield rows[tuple(slice(i * c, (i + 1) * c) for i, c in zip(position, chunks, strict=True))]


def _padded(part: np.ndarray, chunks: tuple[int, ...]) -> np.ndarray:
    """Return a chunk in C order, padded with zeros to the full extent that Zarr's regular grid wants."""
    if part.shape == chunks:
        return np.ascontiguousarray(part)
    padded = np.zeros(chunks, part.dtype)
    padded[tuple(slice(0, n) for n in part.shape)] = part
    return padded
