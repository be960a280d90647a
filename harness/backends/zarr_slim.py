"""Slimmed Zarr: equal tensors once, one sharded file per tensor, exact narrow storage, a strong lossless codec."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numcodecs.pcodec
import numpy as np
import zarr
from numcodecs import Blosc
from zarr.codecs import BloscCodec
from zarr.codecs.numcodecs import PCodec

from harness.backends.base import Codec, Layout, Profile, Selection, Stored, Writer
from harness.backends.layout import fitted_chunks
from harness.backends.matched import matched_layout
from harness.backends.narrowing import Narrowing, by_name, ladder
from harness.backends.replay import Replay
from harness.backends.shard import ShardWriter, read_chunk
from harness.backends.zarr import ZarrBackend, ZarrReader, own_attributes, root_attributes
from harness.backends.zarr_replay import replay_array
from harness.errors import ArchiveError
from harness.trace.schema import Manifest, TensorSpec
from harness.trace.stream import digest

# pcodec is registered with zarr-python under numcodecs' name; the warning says that few others know it yet.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3 specification")

_PCODEC_ITEMSIZES = (2, 4, 8)


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
        self._group = zarr.create_group(path, zarr_format=3)
        self._aliases: dict[str, str] = {}
        self._done: list[_Tensor] = []
        self._twins: list[_Tensor] = []
        self._current: _Tensor | None = None
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))

    def alignment(self, spec: TensorSpec) -> int:
        chunks = self._backend.layout(spec, self._profile).chunks
        return chunks[0] if chunks else 1

    def begin(self, spec: TensorSpec) -> None:
        layout = self._backend.layout(spec, self._profile)
        steps = (
            ladder(spec.dtype) if layout.origin != "default" and self._profile != "matched" else ladder(spec.dtype)[-1:]
        )
        self._current = _Tensor(spec, self._path / spec.path, layout.chunks or (), steps)
        key = (spec.shape, spec.dtype, self._current.chunks)
        self._twins = [t for t in self._done if (t.spec.shape, t.spec.dtype, t.chunks) == key and spec.items]

    def append(self, block: np.ndarray) -> None:
        tensor = self._tensor()
        if block.ndim == 0:
            tensor.scalar = block
            tensor.rows.append(digest(block))
            self._twins = [twin for twin in self._twins if twin.rows == tensor.rows]
            return
        step = tensor.chunks[0]
        for start in range(0, len(block), step):
            self._append_row(tensor, block[start : start + step])

    def _tensor(self) -> _Tensor:
        assert self._current is not None
        return self._current

    def _append_row(self, tensor: _Tensor, row: np.ndarray) -> None:
        number = len(tensor.rows)
        tensor.rows.append(digest(row))
        before = self._twins
        self._twins = [twin for twin in before if twin.rows[number] == tensor.rows[number]]
        if self._twins:
            return
        if tensor.shard is None:
            self._start(tensor, before[0] if before else None, number)
        self._encode_row(tensor, row)

    def _start(self, tensor: _Tensor, twin: _Tensor | None, rows: int) -> None:
        """Open the shard; take over the rows in which the tensor equalled its twin."""
        tensor.folder.mkdir(parents=True)
        tensor.shard = ShardWriter(tensor.file)
        if twin is not None and rows:
            tensor.rung = twin.rung
            for number in range(rows * tensor.chunks_per_row):
                tensor.shard.add(read_chunk(twin.file, twin.index, number))

    def _encode_row(self, tensor: _Tensor, row: np.ndarray) -> None:
        """Encode one row of chunks, climbing the ladder of narrowings when a value does not fit the present rung."""
        while (stored := tensor.narrowing.narrow(row)) is None:
            self._widen(tensor)
        assert tensor.shard is not None
        codec = _codec(self._profile, tensor.narrowing.stored)
        for encoded in self._pool.map(lambda chunk: _encode(codec, chunk), list(_cut(stored, tensor.chunks))):
            tensor.shard.add(encoded)

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
        before, after = _codec(self._profile, old.stored), _codec(self._profile, tensor.narrowing.stored)
        for number in range(len(written.index)):
            encoded = written.chunk(number)
            if encoded is not None:
                values = old.widen(np.frombuffer(before.decode(encoded), dtype=old.stored))
                stored = tensor.narrowing.narrow(values)
                if stored is None:
                    return False
                encoded = _encode(after, stored.reshape(tensor.chunks))
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
        """Let zarr-python write the array's metadata; the shard it will find is already in place."""
        stored, shape, chunks = tensor.narrowing.stored, tensor.spec.shape, tensor.chunks
        options: dict[str, Any] = {}
        if shape:
            codec = _codec(self._profile, stored)
            if isinstance(codec, numcodecs.pcodec.PCodec):
                options["serializer"] = PCodec(level=codec.level)
            else:
                options["compressors"] = BloscCodec(cname="zstd", clevel=codec.clevel, shuffle="shuffle")
            options["shards"] = _shard_shape(shape, chunks)
        self._group.require_group(tensor.spec.path.rpartition("/")[0])
        array = self._group.create_array(
            tensor.spec.path,
            shape=shape,
            dtype=stored,
            chunks=chunks,
            fill_value=0,
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes={"narrowing": tensor.narrowing.name, "dtype": tensor.spec.dtype},
            **{"compressors": None, "filters": None, **options},
        )
        if tensor.scalar is not None:
            array[...] = tensor.scalar

    def commit(self, manifest: Manifest) -> None:
        self._pool.shutdown()
        self._group.require_group("metadata").update_attributes(manifest.attributes())
        self._group.update_attributes(root_attributes(manifest, slim={"version": 1, "aliases": self._aliases}))
        zarr.consolidate_metadata(self._path, zarr_format=3)

    def abort(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._current is not None and self._current.shard is not None:
            self._current.shard.close()


_PCODEC = Codec(name="pcodec", level=8)
_BYTES = Codec(name="blosc-zstd", level=9, shuffle="byte")  # for one-byte values, which pcodec does not take


def _codec(profile: Profile, stored: str) -> Any:
    """Return the numcodecs codec that encodes chunks of a stored dtype."""
    itemsize = np.dtype(stored).itemsize
    if profile == "matched":
        return Blosc("zstd", 3, Blosc.SHUFFLE, typesize=itemsize)
    if itemsize in _PCODEC_ITEMSIZES:
        return numcodecs.pcodec.PCodec(level=_PCODEC.level)
    return Blosc("zstd", _BYTES.level, Blosc.SHUFFLE, typesize=itemsize)


def _encode(codec: Any, chunk: np.ndarray) -> bytes | None:
    """Encode a chunk; None when every bit of it is zero, which is the fill value."""
    if not chunk.view(f"u{chunk.itemsize}").any():
        return None
    return bytes(codec.encode(chunk))


def _shard_shape(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the smallest whole number of chunks that covers a tensor: one shard, one file."""
    return tuple(max(1, ceil(n / c)) * c for n, c in zip(shape, chunks, strict=True))


def _cut(row: np.ndarray, chunks: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Cut one row of chunks into chunks, padding the last along each axis with zeros as Zarr's regular grid wants."""
    counts = [ceil(n / c) for n, c in zip(row.shape, chunks, strict=True)]
    for position in np.ndindex(*counts):
        part = row[tuple(slice(i * c, (i + 1) * c) for i, c in zip(position, chunks, strict=True))]
        if part.shape != chunks:
            padded = np.zeros(chunks, row.dtype)
            padded[tuple(slice(0, n) for n in part.shape)] = part
            part = padded
        yield np.ascontiguousarray(part)


class ZarrSlimReader(ZarrReader):
    """Reads through the names of equal tensors and widens what was stored narrow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        slim = self.own.get("slim", {})
        if slim.get("version") != 1:
            raise ArchiveError(f"{path} was slimmed by version {slim.get('version')!r}; this reader knows version 1.")
        self._aliases: dict[str, str] = slim["aliases"]

    def stored(self) -> dict[str, Stored]:
        found = {
            name: Stored(tuple(array.shape), str(array.attrs.get("dtype", array.dtype.name)))
            for name, array in self._arrays().items()
        }
        return found | {alias: found[path] for alias, path in self._aliases.items() if path in found}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        array, narrowing = self._find(path)
        stored = np.asarray(array[...] if selection is None or not array.shape else array[selection])
        return narrowing.widen(stored)

    def _find(self, path: str) -> tuple[zarr.Array, Narrowing]:
        array = self._array(self._aliases.get(path, path))
        return array, by_name(str(array.attrs["dtype"]), str(array.attrs["narrowing"]))

    def locate(self, path: str) -> None:
        self._find(path)

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        array, narrowing = self._find(path)
        return replay_array(self._path, array, selection, narrowing.widen)


class ZarrSlimBackend(ZarrBackend):
    """Zarr, slimmed without losing a bit."""

    name = "zarr-slim"
    description = "Zarr, equal tensors stored once, one shard per tensor, exact narrow storage, pcodec"
    suffix = ".slim.zarr"

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if not spec.shape:
            return Layout(chunks=(), origin="default", why="a scalar is one chunk")
        if profile == "matched":
            layout = matched_layout(spec)
            chunks, codec, why = layout.chunks, layout.codec, "matched codec and chunks, sharded, not narrowed"
        else:
            chunks = fitted_chunks(spec, pair=40, attention=256, least=128 << 10)
            codec = _PCODEC if np.dtype(spec.dtype).itemsize in _PCODEC_ITEMSIZES else _BYTES
            why = "the best lossless ratio measured on real pair tensors; the seed had no such format"
        assert chunks is not None
        return Layout(chunks=chunks, shards=_shard_shape(spec.shape, chunks), codec=codec, origin="chosen", why=why)

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> ZarrSlimWriter:
        return ZarrSlimWriter(path, self, profile)

    def reader(self, path: Path) -> ZarrSlimReader:
        return ZarrSlimReader(path)

    def recognises(self, path: Path) -> bool:
        own = own_attributes(path)
        return own is not None and "slim" in own
