"""What stored chunks say that they decode to: a codec makes room for that before it looks at anything else."""

from __future__ import annotations

from typing import Literal

from harness.limits import in_words, inflation_limit

HEADER = 16
"""Bytes at the start of a chunk that `overstated` looks at."""

_ZSTD = b"\x28\xb5\x2f\xfd"

_BLOCK = 8192  # bytes, of bitshuffle's own choice


Header = Literal["none", "blosc", "bitshuffle", "zstd", "other"]
"""By what codec a chunk begins."""


def overstated(codec: Header, head: bytes, length: int, nbytes: int) -> str:
    """Say by how much a chunk states more than it should; empty where it does not.

    Parameters
    ----------
    codec : {"none", "blosc", "bitshuffle", "zstd", "other"}
        Whose header it has; the last has none that states a length.
    head : bytes
        The first `HEADER` bytes of the chunk, fewer where it is shorter.
    length : int
        Bytes of the chunk as it is stored.
    nbytes : int
        Bytes of its values, by the shape of a chunk.

    Returns
    -------
    str
        The end of a sentence that begins with what holds the chunk.
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
    """Return the content size that a frame states, -1 where it states none (RFC 8878, section 3.1.1.1)."""
    if len(head) < 6 or head[:4] != _ZSTD or head[4] & 3:  # a dictionary is never used
        return -1
    flag, single = head[4] >> 6, bool(head[4] & 0x20)
    at, size = 5 + (not single), (int(single), 2, 4, 8)[flag]
    return int.from_bytes(head[at : at + size], "little") + (256 if flag == 1 else 0) if size else -1
