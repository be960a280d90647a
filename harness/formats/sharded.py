"""Arrays of slimmed Zarr: the codecs of their chunks, and their metadata, written and read with only ``json``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import Blosc, Shuffle, Zstd, blosc
from numcodecs.pcodec import PCodec
from pcodec import standalone

from harness.errors import ArchiveError
from harness.formats.base import Codec
from harness.formats.chunk_headers import HEADER, overstated
from harness.formats.selection import Selection
from harness.formats.shard import grid_of, sealed
from harness.trace.schema import DTYPES

# pcodec is registered with zarr-python under numcodecs' name; the warning says that few others know it yet.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3 specification")

VERSION = 2
"""Version of the attributes that locate slimmed tensors; raised whenever an older reader would misread them."""

PCODEC_ITEMSIZES = (2, 4, 8)
"""Bytes per value that pcodec supports."""

_CRC32C: dict[str, Any] = {"name": "crc32c"}

Chain = list[dict[str, Any]]
"""The codecs of a chunk as Zarr's metadata names them; a CRC32C follows them, except in the profile ``matched``."""


@dataclass(frozen=True, kw_only=True)
class ShardedArray:
    """An array in one file, or in several that follow each other along its first axis."""

    folder: str  # Folder of its files.
    # Extents of the array and of a chunk, in values, and the number of chunks in a file, along each axis.
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    grid: tuple[int, ...]
    dtype: np.dtype  # Of the stored values; chunks that are left out hold zeros.
    checked: bool  # Whether a CRC32C follows every chunk.
    # Takes the bytes of one encoded chunk, without its CRC32C, and memory for its values, which it fills.
    decode: Callable[[np.ndarray, np.ndarray], None]

    def files_of(self, wanted: Selection) -> Iterator[tuple[int, Selection, Any]]:
        """Yield each file of a selection: its number, the selected part of the file, and the part of the result."""
        if not self.shape:
            yield 0, wanted, ...
            return
        rows, (first, *others) = self.grid[0] * self.chunks[0], wanted
        for number in range(first.start // rows, -(-first.stop // rows)):
            start, stop = max(first.start, number * rows), min(first.stop, (number + 1) * rows)
            part = slice(start - number * rows, stop - number * rows)
            yield number, (part, *others), slice(start - first.start, stop - first.start)

    def file(self, number: int) -> str:
        """Return the path of a file by its number along the first axis."""
        return f"{self.folder}/{file_name(number, len(self.shape))}"


def file_name(number: int, axes: int) -> str:
    """Return the name of an array's file by its number along the first axis."""
    return f"c.{number}{'.0' * (axes - 1)}" if axes else "c"


def _little_endian(stored: str) -> dict[str, Any]:
    """Return the codec that converts values to bytes; single bytes have no byte order."""
    ordered = {"configuration": {"endian": "little"}} if np.dtype(stored).itemsize > 1 else {}
    return {"name": "bytes", **ordered}


def chunk_codec(
    codec: Codec | None, stored: str, *, checked: bool
) -> tuple[Callable[[np.ndarray], bytes | None], Chain]:
    """Return an encoder of C-contiguous chunks of a dtype, and its codecs as in Zarr's metadata.

    With `checked`, a CRC32C follows each chunk. With a codec, the encoder returns None for a chunk whose bits are all
    zero, which is the fill value.
    """
    seal, check = (sealed, [_CRC32C]) if checked else (bytes, [])
    if codec is None:
        return lambda chunk: seal(chunk.tobytes()), [_little_endian(stored), *check]
    if codec.name == "pcodec":
        options: dict[str, Any] = {"level": codec.level}
        if stored == "uint16" or np.dtype(stored).kind == "f":
            # No delta encoding: it makes attention 1 % smaller, and pair values (the upper halves of float32) never.
            # To try it takes half of the encoding time, and to undo it a fifth of the decoding time.
            options |= {"delta_spec": "try_consecutive", "delta_encoding_order": 0}
        compress = PCodec(**options).encode
        chain = [{"name": "numcodecs.pcodec", "configuration": options}, *check]
    elif codec.name == "zstd":
        itemsize = np.dtype(stored).itemsize
        shuffle, zstd = Shuffle(itemsize), Zstd(codec.level)

        def compress(chunk: np.ndarray) -> bytes:
            return bytes(zstd.encode(shuffle.encode(chunk)))

        stages = [
            {"name": "numcodecs.shuffle", "configuration": {"elementsize": itemsize}},
            {"name": "zstd", "configuration": {"level": codec.level, "checksum": False}},
        ]
        chain = [_little_endian(stored), *stages, *check]
    else:
        name, bits = codec.name.removeprefix("blosc-"), codec.shuffle == "bit"
        itemsize = np.dtype(stored).itemsize
        compress = Blosc(name, codec.level, Blosc.BITSHUFFLE if bits else Blosc.SHUFFLE, typesize=itemsize).encode
        shuffle = "bitshuffle" if bits else "shuffle"
        options = {"cname": name, "clevel": codec.level, "shuffle": shuffle, "typesize": itemsize, "blocksize": 0}
        chain = [_little_endian(stored), {"name": "blosc", "configuration": options}, *check]

    def encode(chunk: np.ndarray) -> bytes | None:
        if not np.bitwise_or.reduce(chunk.view(f"u{min(chunk.itemsize, 8)}"), axis=None):
            return None
        return seal(bytes(compress(chunk)))

    return encode, chain


def array_node(
    shape: tuple[int, ...],
    stored: str,
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    codecs: list[Any],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array: in shards, or one chunk if it has no axes.

    zarr-python would take several milliseconds for each array, a third of the time of writing a small trace.

    Parameters
    ----------
    shape, chunks, shards : tuple of int
        Of the array, of the chunks within a shard, and of a shard.
    stored : str
        Dtype of the stored values.
    codecs : list
        Of one chunk, as the specification writes them.
    attributes : mapping
        The array's own.

    Returns
    -------
    dict
        Metadata that `describe` accepts.
    """
    if shape:
        index = [_little_endian("uint64"), _CRC32C]
        options = {"chunk_shape": chunks, "codecs": codecs, "index_codecs": index, "index_location": "end"}
        codecs = [{"name": "sharding_indexed", "configuration": options}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": stored,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shards}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": [0.0, 0.0] if np.dtype(stored).kind == "c" else np.zeros((), stored).item(),
        "codecs": codecs,
        "attributes": dict(attributes),
        "storage_transformers": [],
    }


def group_node(attributes: Mapping[str, Any], members: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the ``zarr.json`` of a group; for the root, with a copy of the metadata of all its members by name."""
    node: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    if members is not None:
        # Every zarr-python since 3.0 reads it, but only in this order, by depth and then by name. Readers that do not
        # know it use the metadata of each array.
        flat = dict(sorted(members.items(), key=lambda member: (member[0].count("/"), member[0])))
        node["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": flat}
    return node


def describe(folder: str, node: Mapping[str, Any]) -> ShardedArray:
    """Parse an array's metadata; accept only what `array_node` makes.

    Parameters
    ----------
    folder : str
        Folder of the array.
    node : mapping
        Its ``zarr.json``.

    Returns
    -------
    ShardedArray
        How its chunks are found and decoded.

    Raises
    ------
    ArchiveError
        If no version of the writer makes such metadata, for example with another codec.
    """
    try:
        shape, stored, outer = node["shape"], node["data_type"], node["chunk_grid"]["configuration"]["chunk_shape"]
        inner = node["codecs"][0]["configuration"] if shape else {"chunk_shape": (), "codecs": node["codecs"]}
        chunks, chain = inner["chunk_shape"], inner["codecs"]
        names = tuple(codec["name"] for codec in chain)
        checked = names[-1:] == (_CRC32C["name"],)
        decode = _DECODERS[names[:-1] if checked else names]
        ordered = chain[0]["name"] != "bytes" or chain[0] == _little_endian(stored)
        known = (
            stored in DTYPES and ordered and array_node(shape, stored, chunks, outer, chain, node["attributes"]) == node
        )
        grid = grid_of(outer, chunks)
        known = known and all(n <= c for n, c in zip(shape[1:], outer[1:], strict=True))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        known = False
    if not known:
        raise ArchiveError(f"{folder} is stored in a way that slimmed archives do not use.")
    return ShardedArray(
        folder=folder, shape=tuple(shape), chunks=tuple(chunks), grid=grid, dtype=np.dtype(stored), checked=checked,
        decode=decode,
    )  # fmt: skip


def _copy(encoded: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out.view(np.uint8), encoded)


def _blosc(encoded: np.ndarray, out: np.ndarray) -> None:
    # Blosc's header states the decoded length. A shorter one would leave a part of the memory unchanged.
    if encoded[4:8].tobytes() != out.nbytes.to_bytes(4, "little"):
        raise ArchiveError("a chunk does not decode to its expected length.")
    blosc.decompress(encoded, out)


def _pcodec(encoded: np.ndarray, out: np.ndarray) -> None:
    done = standalone.simple_decompress_into(encoded.tobytes(), out)
    if done.n_processed != out.size or not done.finished:
        raise ArchiveError("a chunk does not decode to its expected length.")


def _zstd(encoded: np.ndarray, out: np.ndarray) -> None:
    if problem := overstated("zstd", encoded[:HEADER].tobytes(), len(encoded), out.nbytes):
        raise ArchiveError(f"{problem}.")
    Shuffle(out.itemsize).decode(Zstd().decode(encoded), out)


_DECODERS = {
    ("bytes",): _copy,
    ("bytes", "blosc"): _blosc,
    ("bytes", "numcodecs.shuffle", "zstd"): _zstd,
    ("numcodecs.pcodec",): _pcodec,
}
