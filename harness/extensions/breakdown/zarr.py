"""Replay of reads of Zarr arrays: format 2 or 3, one file per chunk or one shard per array; also slimmed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numcodecs.pcodec import PCodec as Pcodec
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.codecs.numcodecs import PCodec, Shuffle

from harness.extensions.breakdown import blosc
from harness.extensions.breakdown.replay import Replay, Replayer, assembled
from harness.formats.base import Selection
from harness.formats.extents import Extent
from harness.formats.parts import ChunkPart, parts
from harness.formats.selection import lengths, whole
from harness.formats.shard import CHECKSUM, MISSING
from harness.formats.zarr_reader import ZarrReader
from harness.formats.zarr_slim_reader import ZarrSlimReader

Decompress = Callable[[Sequence[Any]], Sequence[Any]]
Widen = Callable[[np.ndarray], np.ndarray]


def _same(pieces: Any) -> Any:
    return pieces


class ZarrReplayer(Replayer[ZarrReader]):
    """Replayer of reads with zarr-python."""

    takes = ZarrReader

    def locate(self, path: str) -> None:
        self.reader.array(path)

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        return replay_array(self.archive, self.reader.array(path), selection)


class ZarrSlimReplayer(Replayer[ZarrSlimReader]):
    """Replayer of slimmed Zarr, whose reader is this project's own; zarr-python gives the storage of its arrays."""

    takes = ZarrSlimReader

    def __init__(self, archive: Path, reader: ZarrSlimReader) -> None:
        super().__init__(archive, reader)
        self._library = ZarrReader(archive)

    def locate(self, path: str) -> None:
        self.reader.find(self.reader.place(path)[0])

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        name, index = self.reader.place(path)
        _, narrowing = self.reader.find(name)
        wanted = self.reader.within(name, index, selection)
        replay = replay_array(self.archive, self._library.array(name), wanted, narrowing.widen)
        if replay is None or index is None:
            return replay
        return replace(replay, place=lambda pieces: replay.place(pieces)[0])

    def close(self) -> None:
        self._library.close()


def replay_array(folder: Path, array: zarr.Array, selection: Selection | None, widen: Widen = _same) -> Replay | None:
    """Split a read of an array into its parts.

    A shard is read as its index and one extent per chunk, whether zarr-python requests these or the complete file.

    Parameters
    ----------
    folder : Path
        The archive.
    array : zarr.Array
        An array of the archive.
    selection : tuple of slice or None
        The selected part; None for the complete array.
    widen : callable
        Converts stored values to those of the result; counts as decoding.

    Returns
    -------
    Replay or None
        None if a codec is not known here, or the part lies in more than one shard.
    """
    wanted = whole(array.shape, selection)
    decompress = _decompressor(array)
    if decompress is None:
        return None
    touched = parts(array.chunks, wanted)
    if array.shards is not None and len({_shard_of(array, part) for part in touched}) > 1:
        return None
    index, found = _chunk_files(folder, array, touched) if array.shards is None else _shard(folder, array, touched)
    held = [(part, extent) for part, extent in zip(touched, found, strict=True) if extent is not None]
    taken = [part for part, _ in held]
    shape, dtype = array.chunks, array.dtype

    def decode(stored: list[bytes]) -> list[np.ndarray]:
        values = decompress(stored[len(index) :])
        chunks = (np.ndarray(shape, dtype, value) for value in values)
        return [widen(chunk[part.source]) for part, chunk in zip(taken, chunks, strict=True)]

    fill = widen(np.full((), array.fill_value, dtype))
    return Replay(
        extents=(*index, *(extent for _, extent in held)),
        decode=decode,
        place=assembled(taken, lengths(wanted), None if held and len(held) == len(touched) else fill),
    )


def _shard_of(array: zarr.Array, part: ChunkPart) -> tuple[int, ...]:
    """Return the index of the shard that holds a chunk."""
    return tuple(n * c // s for n, c, s in zip(part.chunk, array.chunks, array.shards or (), strict=True))


def _decompressor(array: zarr.Array) -> Decompress | None:
    """Return the decoder of an array's codec, from chunks of bytes to buffers of values; None for an unknown codec."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        if metadata.filters or metadata.order != "C":
            return None
        compressor = metadata.compressor
        return _same if compressor is None else blosc.decompress if isinstance(compressor, numcodecs.Blosc) else None
    codecs = list(metadata.codecs)
    if isinstance(codecs[0], ShardingCodec):
        codecs = list(codecs[0].codecs)
    match codecs:
        case [*before, Crc32cCodec()]:
            undo = _undo(before)
            # The checksum is cut off but not verified: verification is no step of a replay.
            return None if undo is None else lambda pieces: undo([memoryview(piece)[:-CHECKSUM] for piece in pieces])
    return _undo(codecs)


def _undo(codecs: list[Any]) -> Decompress | None:
    """Return the decoder of a chain of codecs without a checksum; None if one is unknown."""
    match codecs:
        case [BytesCodec()]:
            return _same
        case [BytesCodec(), BloscCodec()]:
            return blosc.decompress
        case [BytesCodec(), Shuffle(), ZstdCodec()]:
            shuffle, zstd = numcodecs.Shuffle(codecs[1].codec_config["elementsize"]), numcodecs.Zstd()
            return lambda pieces: [shuffle.decode(zstd.decode(piece)) for piece in pieces]
        case [PCodec()]:
            codec = Pcodec()
            return lambda pieces: [codec.decode(piece) for piece in pieces]
    return None


def _chunk_files(
    folder: Path, array: zarr.Array, touched: Sequence[ChunkPart]
) -> tuple[list[Extent], list[Extent | None]]:
    """Return no index, and the file of each chunk; None for a missing file, which means the fill value."""
    metadata: Any = array.metadata
    found: list[Extent | None] = []
    for part in touched:
        file = folder / array.path / metadata.encode_chunk_key(part.chunk)
        found.append(Extent(file, 0, file.stat().st_size) if file.exists() else None)
    return [], found


def _shard(folder: Path, array: zarr.Array, touched: Sequence[ChunkPart]) -> tuple[list[Extent], list[Extent | None]]:
    """Return the index of the chunks' shard, and the extent of each chunk; None for a chunk of the fill value alone."""
    metadata: Any = array.metadata
    shard = _shard_of(array, touched[0]) if touched else tuple(0 for _ in array.shape)
    file = folder / array.path / metadata.encode_chunk_key(shard)
    if not touched or not file.exists():
        return [], [None] * len(touched)
    counts = [shard // chunk for shard, chunk in zip(array.shards or (), array.chunks, strict=True)]
    length = 16 * int(np.prod(counts, dtype=np.int64))
    extent = Extent(file, file.stat().st_size - length - CHECKSUM, length + CHECKSUM)
    with file.open("rb") as handle:
        handle.seek(extent.offset)
        table = np.frombuffer(handle.read(length), "<u8").reshape(*counts, 2)
    places = [tuple(n % count for n, count in zip(part.chunk, counts, strict=True)) for part in touched]
    entries = [(int(table[place][0]), int(table[place][1])) for place in places]
    return [extent], [None if start == MISSING else Extent(file, start, size) for start, size in entries]
