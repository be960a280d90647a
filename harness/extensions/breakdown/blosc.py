"""Blosc called directly, on one thread."""

from __future__ import annotations

from collections.abc import Iterable

from numcodecs import blosc


def decompress(pieces: Iterable[bytes]) -> list[bytes]:
    """Decode Blosc buffers.

    Parameters
    ----------
    pieces : iterable of bytes
        Each with Blosc's own header, which names the compressor and the shuffle.

    Returns
    -------
    list of bytes
        In the same order.
    """
    # numcodecs would use a pool of threads when called from the main one, unless zarr-python has told it not to.
    before, blosc.use_threads = blosc.use_threads, False
    try:
        return [blosc.decompress(piece) for piece in pieces]
    finally:
        blosc.use_threads = before
