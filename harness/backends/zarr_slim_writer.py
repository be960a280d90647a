"""Write slimmed Zarr: equal tensors once, one sharded file per tensor, exact narrow storage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.backends.base import Profile, Writer
from harness.backends.crew import cores
from harness.backends.narrowing import Narrowing, ladder
from harness.backends.shard import ShardWriter, read_chunk, sealed
from harness.backends.sharded import array_node, group_node
from harness.backends.slim_codec import CRC32C, ChunkCodec, chunk_codec, little_endian
from harness.backends.zarr import root_attributes
from harness.trace.schema import Manifest, TensorSpec
from harness.trace.stream import digest

if TYPE_CHECKING:
    from harness.backends.zarr_slim import ZarrSlimBackend


@dataclass
class _Tensor:
    """A tensor being written, and afterwards the memory of one that was."""

    spec: TensorSpec
    folder: Path
    chunks: tuple[int, ...]
    ladder: list[Narrowing]
    rung: int = 0
    rows: list[str] = field(default_factory=list)
    shard: ShardWriter | None = None
    index: list[tuple[int, int]] = field(default_factory=list)
    scalar: np.ndarray | None = None

    @property
    def narrowing(self) -> Narrowing:
        return self.ladder[self.rung]

    @property
    def file(self) -> Path:
        return self.folder / ".".join(["c", *("0" for _ in self.spec.shape)])

    @property
    def chunks_per_row(self) -> int:
        return int(
            np.prod([ceil(n / c) for n, c in zip(self.spec.shape[1:], self.chunks[1:], strict=True)], dtype=np.int64)
        )


class ZarrSlimWriter(Writer):
    """Streams every tensor into one shard, unless an equal tensor was written before.

    A tensor is compared with those before it one row of chunks at a time, by digest. As long as it equals one of
    them nothing is written; where it departs, the encoded chunks so far are copied from that one.
    """

    def __init__(self, path: Path, backend: ZarrSlimBackend, profile: Profile) -> None:
        self._path, self._backend, self._profile = path, backend, profile
        path.mkdir()
        self._nodes: dict[str, Any] = {}
        self._aliases: dict[str, str] = {}
        self._done: list[_Tensor] = []
        self._twins: list[_Tensor] = []
        self._current: _Tensor | None = None
        self._pool = ThreadPoolExecutor(cores())

    def alignment(self, spec: TensorSpec) -> int:
        chunks = self._backend.layout(spec, self._profile).chunks
        return chunks[0] if chunks else 1

    def begin(self, spec: TensorSpec) -> None:
        layout = self._backend.layout(spec, self._profile)
        steps = (
            ladder(spec.dtype) if layout.origin != "default" and self._profile != "matched" else ladder(spec.dtype)[-1:]
        )
        self._current = _Tensor(spec, self._path / spec.path, layout.chunks or (), steps)
        key = self._alike(self._current)
        self._twins = [twin for twin in self._done if self._alike(twin) == key and spec.items]

    def _alike(self, tensor: _Tensor) -> tuple[Any, ...]:
        """Return what tensors must have in common for encoded chunks of one to be those of another."""
        spec = tensor.spec
        return spec.shape, spec.dtype, tensor.chunks, self._backend.codec(self._profile, spec.dtype, spec.role)

    def append(self, block: np.ndarray) -> None:
        tensor = self._tensor()
        if block.ndim == 0:
            tensor.scalar = block
            tensor.rows.append(digest(block))
            self._twins = [twin for twin in self._twins if twin.rows == tensor.rows]
            return
        step, departed = tensor.chunks[0], None if tensor.shard is None else 0
        for start in range(0, len(block), step):
            twins = self._twins
            if not self._still_equal(tensor, block[start : start + step]) and departed is None:
                departed = start
                self._start(tensor, twins[0] if twins else None, len(tensor.rows) - 1)
        if departed is not None:
            self._encode_rows(tensor, block[departed:])

    def _tensor(self) -> _Tensor:
        assert self._current is not None
        return self._current

    def _still_equal(self, tensor: _Tensor, row: np.ndarray) -> bool:
        """Note one row of chunks, and say whether an earlier tensor equals this one up to its end."""
        number = len(tensor.rows)
        tensor.rows.append(digest(row))
        self._twins = [twin for twin in self._twins if twin.rows[number] == tensor.rows[number]]
        return bool(self._twins)

    def _start(self, tensor: _Tensor, twin: _Tensor | None, rows: int) -> None:
        """Open the shard; take over the rows in which the tensor equalled its twin."""
        tensor.folder.mkdir(parents=True)
        tensor.shard = ShardWriter(tensor.file)
        if twin is not None and rows:
            tensor.rung = twin.rung
            for number in range(rows * tensor.chunks_per_row):
                tensor.shard.add(read_chunk(twin.file, twin.index, number))

    def _encode_rows(self, tensor: _Tensor, rows: np.ndarray) -> None:
        """Encode rows of chunks, climbing the ladder of narrowings when a value does not fit the present rung."""
        chunks = list(_cut(rows, tensor.chunks))
        while (encoded := self._encode(tensor, chunks)) is None:
            self._widen(tensor)
        assert tensor.shard is not None
        for chunk in encoded:
            tensor.shard.add(chunk)

    def _encode(self, tensor: _Tensor, chunks: Sequence[np.ndarray]) -> list[bytes | None] | None:
        """Encode chunks of values; None when one does not fit the tensor's present rung."""
        narrowing, codec = tensor.narrowing, self._codec(tensor, tensor.narrowing)

        def one(part: np.ndarray) -> tuple[bool, bytes | None]:
            stored = narrowing.narrow(_padded(part, tensor.chunks))
            return stored is not None, None if stored is None else codec.encode(stored)

        done = list(self._pool.map(one, chunks))
        return [encoded for _, encoded in done] if all(fits for fits, _ in done) else None

    def _codec(self, tensor: _Tensor, narrowing: Narrowing) -> ChunkCodec:
        codec = self._backend.codec(self._profile, narrowing.stored, tensor.spec.role)
        return chunk_codec(codec, narrowing.stored)

    def _widen(self, tensor: _Tensor) -> None:
        """Move to the next rung that holds what is already written, and encode that again."""
        assert tensor.shard is not None
        old, written = tensor.narrowing, tensor.shard
        if not written.index:
            tensor.rung += 1
            return
        aside = tensor.file.with_name("aside")
        tensor.file.rename(aside)
        for rung in range(tensor.rung + 1, len(tensor.ladder)):
            tensor.rung = rung
            tensor.shard = ShardWriter(tensor.file)
            if self._transcode(tensor, old, written):
                break
            tensor.shard.close()
            tensor.file.unlink()
        written.close()
        aside.unlink()

    def _transcode(self, tensor: _Tensor, old: Narrowing, written: ShardWriter) -> bool:
        """Encode the chunks of `written` into the tensor's shard; False when a value does not fit its rung."""
        assert tensor.shard is not None
        before, after = self._codec(tensor, old), self._codec(tensor, tensor.narrowing)
        for number in range(len(written.index)):
            encoded = written.chunk(number)
            if encoded is not None:
                values = old.widen(np.frombuffer(before.decode(encoded), dtype=old.stored))
                stored = tensor.narrowing.narrow(values)
                if stored is None:
                    return False
                encoded = after.encode(stored)
            tensor.shard.add(encoded)
        return True

    def end(self) -> None:
        tensor = self._tensor()
        self._current = None
        if self._twins:
            self._aliases[tensor.spec.path] = self._twins[0].spec.path
            return
        if tensor.shard is not None:
            tensor.shard.finish()
            tensor.index = tensor.shard.index
        self._describe(tensor)
        self._done.append(tensor)

    def _describe(self, tensor: _Tensor) -> None:
        """Write the array's metadata, beside the shard that is already in place, and those of the groups above it."""
        path, stored, shape = tensor.spec.path, tensor.narrowing.stored, tensor.spec.shape
        steps = path.split("/")
        for depth in range(1, len(steps)):
            if "/".join(steps[:depth]) not in self._nodes:
                self._put("/".join(steps[:depth]), group_node({}))
        if tensor.scalar is not None:
            tensor.folder.mkdir(parents=True)
            tensor.file.write_bytes(sealed(tensor.scalar.tobytes()))
        chain = self._codec(tensor, tensor.narrowing).chain if shape else [little_endian(stored), CRC32C]
        attributes = {"narrowing": tensor.narrowing.name, "dtype": tensor.spec.dtype}
        self._put(path, array_node(shape, stored, tensor.chunks, chain, attributes))

    def _put(self, name: str, node: dict[str, Any]) -> None:
        """Write the metadata of a group or an array, and keep it for the root's copy."""
        folder = self._path / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "zarr.json").open("x") as file:  # fails where a tensor is named as a group is
            json.dump(node, file)
        self._nodes[name] = node

    def commit(self, manifest: Manifest) -> None:
        self._pool.shutdown()
        self._put("metadata", group_node(manifest.attributes()))
        slim = {"version": 1, "setting": self._backend.setting, "aliases": self._aliases}
        root = group_node(root_attributes(manifest, slim=slim), self._nodes)
        (self._path / "zarr.json").write_text(json.dumps(root))

    def abort(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._current is not None and self._current.shard is not None:
            self._current.shard.close()


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
