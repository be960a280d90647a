"""The codecs of slimmed Zarr: how a chunk is encoded here, and under what name zarr-python writes that down."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numcodecs import Blosc
from numcodecs.pcodec import PCodec as Pcodec
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.codecs.numcodecs import PCodec

from harness.backends.base import Codec
from harness.backends.shard import CHECKSUM, sealed

# pcodec is registered with zarr-python under numcodecs' name; the warning says that few others know it yet.
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3 specification")

PCODEC_ITEMSIZES = (2, 4, 8)
"""Bytes per value that pcodec takes."""


@dataclass(frozen=True, kw_only=True)
class ChunkCodec:
    """A codec for chunks of one dtype, with a CRC32C behind what it makes.

    Attributes
    ----------
    compress, decompress : callable
        From values, C-contiguous, to bytes and back.
    options : dict
        What zarr-python's ``create_array`` has to be told of it.
    """

    compress: Callable[[np.ndarray], bytes]
    decompress: Callable[[bytes], Any]
    options: dict[str, Any]

    def encode(self, chunk: np.ndarray) -> bytes | None:
        """Encode a chunk; None when every bit of it is zero, which is the fill value."""
        if not chunk.view(f"u{chunk.itemsize}").any():
            return None
        return sealed(bytes(self.compress(chunk)))

    def decode(self, encoded: bytes) -> Any:
        """Return the buffer of values of what `encode` made in this process; its checksum is not looked at."""
        return self.decompress(encoded[:-CHECKSUM])


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
    checksum = Crc32cCodec()
    if codec.name == "pcodec":
        pcodec = Pcodec(level=codec.level)
        options = {"serializer": PCodec(level=codec.level), "compressors": [checksum]}
        return ChunkCodec(compress=pcodec.encode, decompress=pcodec.decode, options=options)
    name: Literal["zstd", "lz4"] = "zstd" if codec.name == "blosc-zstd" else "lz4"
    shuffle: Literal["shuffle", "bitshuffle"] = "bitshuffle" if codec.shuffle == "bit" else "shuffle"
    blosc = Blosc(
        name,
        codec.level,
        Blosc.BITSHUFFLE if codec.shuffle == "bit" else Blosc.SHUFFLE,
        typesize=np.dtype(stored).itemsize,
    )
    compressor = BloscCodec(cname=name, clevel=codec.level, shuffle=shuffle)
    return ChunkCodec(compress=blosc.encode, decompress=blosc.decode, options={"compressors": [compressor, checksum]})
