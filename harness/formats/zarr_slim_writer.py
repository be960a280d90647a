"""Writer of slimmed Zarr: one sharded array for each stored tensor, under the tensor's own name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Codec, Layout, Writer
from harness.formats.recovered import Place
from harness.formats.shard import ShardWriter, grid_of
from harness.formats.sharded import VERSION, Chain, array_node, chunk_codec, file_name, group_node
from harness.formats.threads import cores
from harness.formats.zarr import root_attributes
from harness.slimming.slimmer import Kept, Slimmer
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_COMPACT = (",", ":")
_BATCH = 256  # chunks that are encoded before the first of them is written


@dataclass(kw_only=True)
class _Way:
    """A way to store a tensor: its chunks and shards, and the encoder of a chunk."""

    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    encode: Callable[[np.ndarray], bytes | None]
    chain: Chain

    def node(self, kept: Kept) -> dict[str, Any]:
        """Return the metadata of the array."""
        attributes = {"narrowing": kept.narrowing.name, "dtype": kept.spec.dtype}
        return array_node(kept.spec.shape, kept.narrowing.stored, self.chunks, self.shards, self.chain, attributes)


@dataclass
class _Files:
    """The shards of a tensor that is being written, which follow each other along its first axis."""

    folder: Path
    chunks_each: int
    axes: int
    index: list[tuple[int, int]] = field(default_factory=list)
    current: ShardWriter | None = None
    count: int = 0

    def add(self, chunk: bytes | None) -> None:
        """Append an encoded chunk, to a new file if the last one has all of its chunks."""
        if self.current is None:
            self.current = ShardWriter(self.folder / file_name(self.count, self.axes))
        self.current.add(chunk)
        self.index.append(self.current.index[-1])
        if len(self.current.index) == self.chunks_each:
            self.finish()

    def finish(self) -> None:
        """Write the index of the file that is open, if any."""
        if self.current is not None:
            self.current.finish(self.chunks_each)
            self.current, self.count = None, self.count + 1

    def close(self) -> None:
        if self.current is not None:
            self.current.close()


class ZarrSlimWriter(Writer):
    """Writes what the slimmer decides to store, each tensor as an array of its own.

    Parameters
    ----------
    path : Path
        The archive.
    slimmer : Slimmer
        Decides what is stored.
    layout : callable
        Returns the chunks and shards for a tensor as it was given, and the codec for a tensor as it is stored.
    checked : bool
        Whether a CRC32C follows every chunk.
    """

    def __init__(
        self,
        path: Path,
        slimmer: Slimmer,
        layout: Callable[[TensorSpec], Layout],
        *,
        checked: bool,
    ) -> None:
        self._path, self._slimmer, self._layout, self._checked = path, slimmer, layout, checked
        path.mkdir()
        self._nodes: dict[str, Any] = {}
        self._places: dict[str, tuple[str, None]] = {}
        self._whole: dict[str, Place] = {}
        self._ended: dict[str, Place] = {}
        self._files: _Files | None = None
        self._pool = ThreadPoolExecutor(cores())

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        kept, path = self._slimmer.take(spec, blocks), spec.path
        if kept.of:
            self._places[path] = (kept.of, None)
            self._ended[path] = self._whole[kept.of]
        else:
            self._ended[path] = self._put_chunks(kept) if spec.shape and spec.items else self._put_alone(kept)
            self._whole[path] = self._ended[path]

    def _put_chunks(self, kept: Kept) -> Place:
        """Encode a tensor, chunk by chunk, into its array."""
        way, folder = self._smallest(kept), self._path / kept.spec.path
        folder.mkdir(parents=True)
        files = self._files = _Files(folder, prod(grid_of(way.shards, way.chunks)), len(way.chunks))
        for rows in self._slimmer.blocks(way.chunks[0]):
            for encoded in self._encoded(way, kept, rows):
                files.add(encoded)
        files.finish()
        node = way.node(kept)
        self._put_array(kept.spec.path, node)
        return self._place(node, folder / file_name(0, len(way.chunks)), files.index)

    def _encoded(self, way: _Way, kept: Kept, rows: np.ndarray) -> Iterator[bytes | None]:
        narrow, parts = kept.narrowing.narrow, _cut(rows, way.chunks)
        while batch := list(islice(parts, _BATCH)):
            yield from self._pool.map(lambda part: way.encode(narrow(_padded(part, way.chunks))), batch)

    def _smallest(self, kept: Kept) -> _Way:
        """Return the way that needs the fewest bytes for the tensor's first rows of chunks, or the only way."""
        ways = [
            self._way(kept, laid, stored.codec)
            for laid, stored in zip(_all(self._layout(kept.spec)), _all(self._layout(kept.stored)), strict=True)
        ]
        if len(ways) == 1:
            return ways[0]
        rows = next(self._slimmer.blocks(max(way.chunks[0] for way in ways)))
        sizes = [sum(len(chunk or b"") for chunk in self._encoded(way, kept, rows)) for way in ways]
        return ways[sizes.index(min(sizes))]

    def _way(self, kept: Kept, laid: Layout, codec: Codec | None) -> _Way:
        encode, chain = chunk_codec(codec, kept.narrowing.stored, checked=self._checked)
        return _Way(chunks=laid.chunks or (), shards=laid.shards or (), encode=encode, chain=chain)

    def _put_alone(self, kept: Kept) -> Place:
        """Write a tensor that has no chunks: a scalar, or a tensor without values."""
        spec, file = kept.spec, self._path / kept.spec.path / "c"
        way = self._way(kept, self._layout(spec), None)
        if not spec.shape:
            file.parent.mkdir(parents=True)
            (value,) = self._slimmer.blocks()
            file.write_bytes(way.encode(value) or b"")
        node = way.node(kept)
        self._put_array(spec.path, node)
        return self._place(node, file, [] if spec.shape else [(0, file.stat().st_size)])

    def _place(self, node: dict[str, Any], file: Path, chunks: list[tuple[int, int]]) -> Place:
        """Return the place of a tensor: its metadata, its first file, and the places of its chunks in its files."""
        return {"node": node, "file": file.relative_to(self._path).as_posix(), "chunks": chunks}

    def _put_array(self, path: str, node: dict[str, Any]) -> None:
        """Write the metadata of an array, next to its files, which exist already, and of the groups above it."""
        steps = path.split("/")
        for depth in range(1, len(steps)):
            if (group := "/".join(steps[:depth])) not in self._nodes:
                self._put(group, group_node({}))
        self._put(path, node)

    def _put(self, name: str, node: dict[str, Any]) -> None:
        """Write the metadata of a group or an array, and keep it for the root's copy."""
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "zarr.json").open("x") as file:  # fails if a tensor has the name of a group
            json.dump(node, file, separators=_COMPACT)
        self._nodes[name] = node

    def checkpoint(self) -> dict[str, Place]:
        ended, self._ended = self._ended, {}
        return ended

    def commit(self, manifest: Manifest) -> None:
        self._slimmer.close()
        self._pool.shutdown()
        self._put("metadata", group_node(manifest.attributes()))
        slim = {"version": VERSION, "setting": "small", "places": self._places}
        root = group_node(root_attributes(manifest, slim=slim), self._nodes)
        (self._path / "zarr.json").write_text(json.dumps(root, separators=_COMPACT))

    def abort(self) -> None:
        self._slimmer.close()
        self._pool.shutdown(cancel_futures=True)
        if self._files is not None:
            self._files.close()


def _all(laid: Layout) -> tuple[Layout, ...]:
    return laid, *laid.tried


def _cut(rows: np.ndarray, chunks: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Cut rows of chunks into chunks, in C order; the last along each axis may be smaller."""
    for position in np.ndindex(grid_of(rows.shape, chunks)):
        yield rows[tuple(slice(i * c, (i + 1) * c) for i, c in zip(position, chunks, strict=True))]


def _padded(part: np.ndarray, chunks: tuple[int, ...]) -> np.ndarray:
    """Return a chunk in C order, padded with zeros to the full extent that Zarr's regular grid requires."""
    if part.shape == chunks:
        return np.ascontiguousarray(part)
    padded = np.zeros(chunks, part.dtype)
    padded[tuple(slice(0, n) for n in part.shape)] = part
    return padded
