"""Decoded sizes that stored chunks state in their headers: a codec allocates that memory before any other check."""

from __future__ import annotations

from typing import Literal

from harness.limits import in_words, inflation_limit

HEADER = 16
"""Bytes at the start of a chunk that `overstated` examines."""

_ZSTD = b"\x28\xb5\x2f\xfd"

_BLOCK = 8192  # bytes of a block, as bitshuffle chooses them itself


Header = Literal["none", "blosc", "bitshuffle", "zstd", "other"]
"""Codec whose header a chunk begins with."""


def overstated(codec: Header, head: bytes, length: int, nbytes: int) -> str:
    """Return why the decoded size of a chunk is not acceptable, with the sizes; empty if it is.

    Parameters
    ----------
    codec : {"none", "blosc", "bitshuffle", "zstd", "other"}
        Codec of its header; the header of ``other`` states no length.
    head : bytes
        The first `HEADER` bytes of the chunk, fewer where it is shorter.
    length : int
        Bytes of the chunk as it is stored.
    nbytes : int
        Bytes of its values, by the shape of a chunk.

    Returns
    -------
    str
        The end of a sentence whose subject is the array or dataset that holds the chunk.
    """
    stated = nbytes
    if codec == "blosc":
        stated = int.from_bytes(head[4:8], "little")
    elif codec == "bitshuffle":
        stated = int.from_bytes(head[:8], "big")
        if int.from_bytes(head[8:12], "big") > max(stated, _BLOCK):
            return "has a chunk with a block that is larger than the chunk"
    elif codec == "zstd":
        stated = _zstd_length(head)
    if stated != nbytes:
        if stated < 0:
            return "has a chunk that does not state its length"
        return f"has a chunk that states {in_words(stated)}, where a chunk has {in_words(nbytes)}"
    if codec == "none" and length > nbytes:
        return f"has a chunk of {in_words(length)}, where a chunk has {in_words(nbytes)}"
    if codec != "none" and nbytes > (most := inflation_limit(length)):
        return (
            f"has a chunk of {in_words(length)} that decodes to {in_words(nbytes)}, more than {in_words(most)}; if you "
            "trust it, raise that with --max-inflated"
        )
    return ""


def _zstd_length(head: bytes) -> int:
    """Return the content size that a Zstandard frame states, -1 if it states none (RFC 8878, section 3.1.1.1)."""
    if len(head) < 6 or head[:4] != _ZSTD or head[4] & 3:  # a dictionary is never used
        return -1
    flag, single = head[4] >> 6, bool(head[4] & 0x20)
    at, size = 5 + (not single), (int(single), 2, 4, 8)[flag]
    return int.from_bytes(head[at : at + size], "little") + (256 if flag == 1 else 0) if size else -1
