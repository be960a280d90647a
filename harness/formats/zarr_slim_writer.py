"""Write slimmed Zarr: equal tensors once, the layers of a role in one sharded array, exact narrow storage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.formats.base import Profile, Writer
from harness.formats.crew import cores
from harness.formats.narrowing import Narrowing, ladder
from harness.formats.recovered import Place
from harness.formats.shard import CHECKSUM, sealed, shard_shape
from harness.formats.sharded import VERSION, array_node, group_node
from harness.formats.slim_codec import CRC32C, ChunkCodec, chunk_codec, little_endian
from harness.formats.stack import Kind, Stack, grid_size, stack_name, tensors_per_shard
from harness.formats.zarr import root_attributes
from harness.trace.schema import Manifest, TensorSpec
from harness.trace.stream import digest

if TYPE_CHECKING:
    from harness.formats.zarr_slim import ZarrSlimFormat


@dataclass
class _Tensor:
    """A tensor being written, and afterwards the memory of one that was.

    Attributes
    ----------
    rows : list of str
        The digest of each row of chunks.
    stack : Stack or None
        The array it goes into; None until a part of it is encoded.
    place : int
        Its index in the stack.
    """

    spec: TensorSpec
    chunks: tuple[int, ...]
    ladder: list[Narrowing]
    rung: int = 0
    rows: list[str] = field(default_factory=list)
    stack: Stack | None = None
    place: int = 0
    written: int = 0
    scalar: np.ndarray | None = None

    @property
    def narrowing(self) -> Narrowing:
        return self.ladder[self.rung]

    def add(self, chunk: bytes | None) -> None:
        assert self.stack is not None
        self.stack.shards[-1].add(chunk)
        self.written += 1


class ZarrSlimWriter(Writer):
    """Streams every tensor behind those of the layers before it, unless an equal tensor was written before.

    A tensor is compared with those before it one row of chunks at a time, by digest. As long as it equals one of
    them nothing is written; where it departs, the encoded chunks so far are copied from that one.
    """

    def __init__(self, path: Path, backend: ZarrSlimFormat, manifest: Manifest, profile: Profile) -> None:
        self._path, self._backend, self._profile = path, backend, profile
        path.mkdir()
        self._nodes: dict[str, Any] = {}
        self._places: dict[str, tuple[str, int | None]] = {}
        self._done: list[_Tensor] = []
        self._ended: dict[str, _Tensor] = {}
        self._twins: list[_Tensor] = []
        self._current: _Tensor | None = None
        self._stacks: dict[Kind, Stack] = {}
        self._counts = Counter((self._stack(spec), spec.shape, spec.dtype) for spec in manifest.tensors)
        arrays = {spec.path: self._stack(spec) or spec.path for spec in manifest.tensors}
        self._taken = {path for path, array in arrays.items() if array == path}
        self._taken |= {group for array in arrays.values() for group in _groups_above(array)}
        self._pool = ThreadPoolExecutor(cores())

    def _stack(self, spec: TensorSpec) -> str | None:
        """Name the array that a tensor shares with others; None for one that has an array of its own."""
        return stack_name(spec) if self._backend.slimming else None

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        self.begin(spec)
        for block in blocks:
            self.append(block)
        self.end()

    def begin(self, spec: TensorSpec) -> None:
        layout = self._backend.layout(spec, self._profile)
        narrows = self._backend.slimming and layout.origin != "default" and self._profile != "matched"
        steps = ladder(spec.dtype) if narrows else ladder(spec.dtype)[-1:]
        self._current = _Tensor(spec, layout.chunks or (), steps)
        key = self._alike(self._current)
        twins = self._done if self._backend.slimming and spec.items else []
        self._twins = [twin for twin in twins if self._alike(twin) == key]

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
        if not tensor.spec.items:
            return
        step, departed = tensor.chunks[0], 0 if tensor.rows and not self._twins else None
        for start in range(0, len(block), step):
            twins = self._twins
            if not self._still_equal(tensor, block[start : start + step]) and departed is None:
                departed = start
                if twins:
                    self._copy(twins[0], tensor, len(tensor.rows) - 1)
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

    def _copy(self, twin: _Tensor, tensor: _Tensor, rows: int) -> None:
        """Take over the rows of chunks in which a tensor equalled its twin."""
        assert twin.stack is not None
        if rows:
            tensor.rung = twin.rung
            self._open(tensor)
            for number in range(rows * grid_size(tensor.spec.shape[1:], tensor.chunks[1:])):
                tensor.add(twin.stack.chunk(twin.place, number))

    def _open(self, tensor: _Tensor) -> Stack:
        """Start the tensor in the array of its present rung, and return that."""
        spec, wanted = tensor.spec, self._stack(tensor.spec)
        codec = self._backend.codec(self._profile, tensor.narrowing.stored, spec.role)
        kind = Kind(wanted or spec.path, spec.shape, spec.dtype, tensor.chunks, tensor.narrowing.name, codec)
        if kind not in self._stacks:
            together = wanted and tensors_per_shard(spec, tensor.chunks, self._counts[wanted, spec.shape, spec.dtype])
            self._stacks[kind] = Stack(kind, tensor.narrowing, together or None)
        tensor.stack, tensor.written = self._stacks[kind], 0
        tensor.stack.begin(self._path)
        return tensor.stack

    def _encode_rows(self, tensor: _Tensor, rows: np.ndarray) -> None:
        """Encode rows of chunks, climbing the ladder of narrowings when a value does not fit the present rung."""
        chunks = list(_cut(rows, tensor.chunks))
        while (encoded := self._encode(tensor, chunks)) is None:
            self._widen(tensor)
        if tensor.stack is None:
            self._open(tensor)
        for chunk in encoded:
            tensor.add(chunk)

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
        """Move to the next rung that holds what is already written, and encode that again in another array."""
        old, narrowing, written = tensor.stack, tensor.narrowing, tensor.written
        if old is None:
            tensor.rung += 1
            return
        for rung in range(tensor.rung + 1, len(tensor.ladder)):
            tensor.rung = rung
            new = self._open(tensor)
            if self._transcode(tensor, old, narrowing, written):
                break
            new.withdraw()
        old.withdraw()

    def _transcode(self, tensor: _Tensor, old: Stack, narrowing: Narrowing, written: int) -> bool:
        """Encode chunks of another array into the tensor's; False when a value does not fit its rung."""
        before, after = self._codec(tensor, narrowing), self._codec(tensor, tensor.narrowing)
        for number in range(written):
            encoded = old.chunk(len(old.tensors), number)
            if encoded is not None:
                values = narrowing.widen(np.frombuffer(before.decode(encoded), dtype=narrowing.stored))
                stored = tensor.narrowing.narrow(values)
                if stored is None:
                    return False
                encoded = after.encode(stored)
            tensor.add(encoded)
        return True

    def end(self) -> None:
        tensor = self._tensor()
        self._current = None
        path, stack = tensor.spec.path, tensor.stack
        if self._twins:
            twin = self._twins[0].spec.path
            self._places[path] = self._places.get(twin, (twin, None))
            self._ended[path] = self._twins[0]
            return
        self._done.append(tensor)
        self._ended[path] = tensor
        if stack is None:
            self._write_alone(tensor)
            return
        tensor.place = len(stack.tensors)
        stack.finish(path, self._path, self._taken if stack.per_shard else ())
        if stack.per_shard:
            self._taken.add(stack.name)
            self._places[path] = (stack.name, tensor.place)

    def _write_alone(self, tensor: _Tensor) -> None:
        """Write what is not cut into chunks: a scalar, or a tensor without values."""
        path, stored = tensor.spec.path, tensor.narrowing.stored
        chain = [little_endian(stored), CRC32C]
        if tensor.scalar is not None:
            (self._path / path).mkdir(parents=True)
            (self._path / path / "c").write_bytes(sealed(tensor.scalar.tobytes()))
        attributes = {"narrowing": tensor.narrowing.name, "dtype": tensor.spec.dtype}
        shape, chunks = tensor.spec.shape, tensor.chunks
        self._put_array(path, array_node(shape, stored, chunks, shard_shape(shape, chunks), chain, attributes))

    def _put_stack(self, stack: Stack) -> None:
        """Write the metadata of an array, beside its files that are already in place."""
        stored = stack.narrowing.stored
        attributes: dict[str, Any] = {"narrowing": stack.narrowing.name, "dtype": stack.kind.dtype}
        if stack.per_shard:
            attributes["tensors"] = stack.tensors
        chain = chunk_codec(stack.kind.codec, stored).chain
        node = array_node(stack.shape, stored, stack.chunks, stack.shard_shape, chain, attributes)
        self._put_array(stack.name, node)

    def _put_array(self, path: str, node: dict[str, Any]) -> None:
        """Write the metadata of an array and of the groups above it."""
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
        return {path: self._place_of(tensor) for path, tensor in ended.items()}

    def _place_of(self, tensor: _Tensor) -> Place:
        """Describe a whole tensor as an array of its own; its file has no index before there are all that share it."""
        spec, stack = tensor.spec, tensor.stack
        if stack is None:
            size = CHECKSUM + spec.nbytes
            chunks = [] if tensor.scalar is None else [(0, size)]
            return {"node": self._nodes[spec.path], "file": f"{spec.path}/c", "chunks": chunks}
        shard, first = stack.find(tensor.place)
        chunks = shard.index[first : first + grid_size(spec.shape, tensor.chunks)]
        attributes = {"narrowing": stack.narrowing.name, "dtype": spec.dtype}
        shards, stored = shard_shape(spec.shape, tensor.chunks), stack.narrowing.stored
        chain = chunk_codec(stack.kind.codec, stored).chain
        node = array_node(spec.shape, stored, tensor.chunks, shards, chain, attributes)
        return {"node": node, "file": shard.path.relative_to(self._path).as_posix(), "chunks": chunks}

    def commit(self, manifest: Manifest) -> None:
        self._pool.shutdown()
        for stack in self._stacks.values():
            if stack.tensors:
                stack.close()
                self._put_stack(stack)
        self._put("metadata", group_node(manifest.attributes()))
        slim = {"version": VERSION, "setting": self._backend.setting, "places": self._places}
        root = group_node(root_attributes(manifest, slim=slim), self._nodes)
        (self._path / "zarr.json").write_text(json.dumps(root))

    def abort(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for stack in self._stacks.values():
            for shard in stack.shards:
                shard.close()


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
