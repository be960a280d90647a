"""Direct calls of Blosc on one thread."""

from __future__ import annotations

from collections.abc import Iterable

from numcodecs import blosc


def decompress(pieces: Iterable[bytes]) -> list[bytes]:
    """Decode Blosc buffers.

    Parameters
    ----------
    pieces : iterable of bytes
        Buffers with Blosc's own header, which names the compressor and the shuffle.

    Returns
    -------
    list of bytes
        Decoded buffers in the same order.
    """
    # numcodecs would use a pool of threads when called from the main thread, unless zarr-python has disabled it.
    before, blosc.use_threads = blosc.use_threads, False
    try:
        return [blosc.decompress(piece) for piece in pieces]
    finally:
        blosc.use_threads = before
