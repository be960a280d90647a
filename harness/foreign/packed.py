"""Files that are compressed whole: what is in them, inflated up to a limit, and what was given up before."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from harness import registry
from harness.files import read_bytes
from harness.limits import Packing, inflate

_KINDS: dict[str, Packing] = {"xz": "xz", "gz": "gzip", "zst": "zstd"}


class PackedFile(NamedTuple):
    """What a file holds."""

    data: bytes  # Its bytes, without any compression.
    exact: bool = True  # Whether they are those that its program wrote; where they are not, precision was given up.
    # The keys of arrays that are no longer in it; what stands in their place is no value.
    dropped: tuple[tuple[str, ...], ...] = ()


def plain_file_name(name: str) -> str:
    """Return the name of a file without the end that says how it is packed: ``x.pkl.xz`` was ``x.pkl``."""
    stem, _, end = name.rpartition(".")
    return stem if stem and (end in _KINDS or end in registry.names("unpackers")) else name


def read_packed(path: Path, limit: int) -> PackedFile:
    """Read a file whole, unpacked where its name says that it is packed.

    Parameters
    ----------
    path : Path
        The file; names ending with ``.xz``, ``.gz``, ``.zst`` or what is registered in ``harness.unpackers`` are
        packed.
    limit : int
        Bytes of the file as it lies there; for what it inflates to, see `harness.limits.inflation_limit`.

    Raises
    ------
    LimitError
        When it is longer, or inflates to more.
    HarnessError
        When it is truncated or damaged.
    UsageError
        When a package that unpacks it is missing.
    """
    data, end = read_bytes(path, limit), path.name.rpartition(".")[2]
    if end in _KINDS:
        return PackedFile(inflate(_KINDS[end], data, "it"))
    if end in registry.names("unpackers"):
        unpacked: PackedFile = registry.load("unpackers", end)(data)
        return unpacked
    return PackedFile(data)
