"""Storage of a tensor: its chunks and codec, who chose them, and the software that reads it without this harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A compressor, and the shuffle of the bytes before it."""

    name: str  # Compressor: "blosc-zstd", "blosc-lz4", "bitshuffle-lz4", "deflate", "pcodec", "zstd".
    level: int = 0  # Its compression level; 0 for a compressor without levels.
    shuffle: Literal["none", "byte", "bit"] = "none"  # Rearrangement before it: "none", "byte", "bit".

    def __str__(self) -> str:
        level = f"-{self.level}" if self.level else ""
        return self.name + level + ("" if self.shuffle == "none" else f" {self.shuffle} shuffle")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of one tensor in a format; the writer applies it, and the ledger shows it."""

    # Extent of the unit that is compressed and read as one; None when the tensor is stored contiguously.
    chunks: tuple[int, ...] | None = None
    # Extent of the part that shares one file, if that is larger than a chunk and smaller than the archive.
    shards: tuple[int, ...] | None = None
    codec: Codec | None = None  # None when the bytes are stored as they are.
    # Alternatives: the writer takes the layout that needs the fewest bytes for the tensor's first rows.
    tried: tuple[Layout, ...] = ()
    checked: bool = False  # Whether every chunk has a checksum that each read compares.
    # Who decided, the earlier comparison, the library or this project: "seed", "default", "chosen".
    origin: Literal["seed", "default", "chosen"]
    why: str  # The reason, in a few words.
    stated: bool = True  # Whether the format states its layout; otherwise nothing is known.


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """How a program without this harness reads the archives of a format."""

    library: str  # The library that opens them, by the name under which it is installed.
    # What the library needs in addition to decode, as a phrase, by a word in the codecs that need it (`Opened.codec`).
    besides: Mapping[str, str] = field(default_factory=dict)
