"""Compressed files: their content, inflated up to a limit, and a record of what they lost before."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from harness import registry
from harness.files import read_bytes
from harness.limits import Packing, inflate

_KINDS: dict[str, Packing] = {"xz": "xz", "gz": "gzip", "zst": "zstd"}


class PackedFile(NamedTuple):
    """Content of a file."""

    data: bytes  # Bytes of the file, decompressed.
    exact: bool = True  # Whether these are the bytes that its program wrote; if not, precision was reduced.
    # Keys of arrays that were removed from the file; their placeholders are no values.
    dropped: tuple[tuple[str, ...], ...] = ()


def plain_file_name(name: str) -> str:
    """Return a file name without the suffix of its compression: ``x.pkl.xz`` becomes ``x.pkl``."""
    stem, _, end = name.rpartition(".")
    return stem if stem and (end in _KINDS or end in registry.names("unpackers")) else name


def read_packed(path: Path, limit: int) -> PackedFile:
    """Read a complete file, and decompress it if its suffix is that of a compression.

    Parameters
    ----------
    path : Path
        The file. The suffixes ``.xz``, ``.gz``, ``.zst`` and those registered in ``harness.unpackers`` are
        decompressed.
    limit : int
        Maximum size of the file as stored, in bytes; for the inflated size, see `harness.limits.inflation_limit`.

    Raises
    ------
    LimitError
        If the file is larger, or inflates to more than its limit.
    HarnessError
        If the file is truncated or damaged.
    UsageError
        If the package that decompresses it is missing.
    """
    data, end = read_bytes(path, limit), path.name.rpartition(".")[2]
    if end in _KINDS:
        return PackedFile(inflate(_KINDS[end], data, "it"))
    if end in registry.names("unpackers"):
        unpacked: PackedFile = registry.load("unpackers", end)(data)
        return unpacked
    return PackedFile(data)
