"""The codecs of slimmed Zarr: how a chunk is encoded, and how Zarr's metadata writes that down."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import Blosc
from numcodecs.pcodec import PCodec

from harness.formats.base import Codec
from harness.formats.shard import sealed
from harness.formats.sharded import CRC32C, little_endian

# pcodec is registered with zarr-python under numcodecs' name; the warning says that few others know it yet.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3 specification")

PCODEC_ITEMSIZES = (2, 4, 8)
"""Bytes per value that pcodec takes."""


@dataclass(frozen=True, kw_only=True)
class ChunkCodec:
    """A codec for chunks of one dtype, with a CRC32C behind what it makes.

    Attributes
    ----------
    compress : callable
        From values, C-contiguous, to bytes.
    chain : list
        The codecs of a chunk as Zarr's metadata names them.
    """

    compress: Callable[[np.ndarray], bytes]
    chain: list[dict[str, Any]]

    def encode(self, chunk: np.ndarray) -> bytes | None:
        """Encode a chunk; None when every bit of it is zero, which is the fill value."""
        if not np.bitwise_or.reduce(chunk.view(f"u{chunk.itemsize}"), axis=None):
            return None
        return sealed(bytes(self.compress(chunk)))


def chunk_codec(codec: Codec, stored: str) -> ChunkCodec:
    """Return a codec for chunks of a dtype.

    Parameters
    ----------
    codec : Codec
        Blosc or pcodec.
    stored : str
        Dtype of the values in the container.

    Returns
    -------
    ChunkCodec
        With the checksum inside the shard, behind every chunk.
    """
    itemsize = np.dtype(stored).itemsize
    if codec.name == "pcodec":
        options: dict[str, Any] = {"level": codec.level}
        if stored == "uint16" or np.dtype(stored).kind == "f":
            # Differences of neighbours are never smaller for pair values (the upper halves of float32), and by 1 % for
            # attention. Looking for them takes half of the time of encoding, undoing them a fifth of decoding.
            options |= {"delta_spec": "try_consecutive", "delta_encoding_order": 0}
        pcodec = PCodec(**options)
        chain = [{"name": "numcodecs.pcodec", "configuration": options}, CRC32C]
        return ChunkCodec(compress=pcodec.encode, chain=chain)
    name, bits = codec.name.removeprefix("blosc-"), codec.shuffle == "bit"
    blosc = Blosc(name, codec.level, Blosc.BITSHUFFLE if bits else Blosc.SHUFFLE, typesize=itemsize)
    options = {
        "cname": name,
        "clevel": codec.level,
        "shuffle": "bitshuffle" if bits else "shuffle",
        "typesize": itemsize,
        "blocksize": 0,
    }
    chain = [little_endian(stored), {"name": "blosc", "configuration": options}, CRC32C]
    return ChunkCodec(compress=blosc.encode, chain=chain)
