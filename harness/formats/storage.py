"""How a tensor is stored: its chunks, its codec, who decided that, and what decodes it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A compressor and what is done to the bytes before it."""

    name: str  # Compressor: "blosc-zstd", "blosc-lz4", "bitshuffle-lz4", "deflate", "pcodec", "zstd".
    level: int = 0  # Its compression level; 0 for a compressor without levels.
    shuffle: Literal["none", "byte", "bit"] = "none"  # Rearrangement before it: "none", "byte", "bit".

    def __str__(self) -> str:
        level = f"-{self.level}" if self.level else ""
        return self.name + level + ("" if self.shuffle == "none" else f" {self.shuffle} shuffle")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one tensor is laid out by a format; the ledger shows it, the writer obeys it."""

    # Extent of the unit that is compressed and read as one; None when the tensor is stored contiguously.
    chunks: tuple[int, ...] | None = None
    # Extent of what shares one file, where that is larger than a chunk and smaller than the archive.
    shards: tuple[int, ...] | None = None
    codec: Codec | None = None  # None when the bytes are stored as they are.
    # Others, where a writer takes the one of all that needs the fewest bytes for a tensor's first rows.
    tried: tuple[Layout, ...] = ()
    checked: bool = False  # Whether every chunk has a checksum that a read of it compares.
    # Whether the seed, the library or this project decided: "seed", "default", "chosen".
    origin: Literal["seed", "default", "chosen"]
    why: str  # The reason, in a few words.
    stated: bool = True  # Whether the format says this; otherwise nothing is known.


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """How a program that knows nothing of this harness reads the archives of a format."""

    library: str  # What opens them, as it is installed.
    # What that library needs to decode besides, as a phrase, by a word in the codecs that need it (`Opened.codec`).
    besides: Mapping[str, str] = field(default_factory=dict)
