"""Check what came back against the source, outside the timer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from harness.trace.manifest import Manifest
from harness.trace.stream import digest
from harness.workload import Read

MAPPED = "returned a view of a mapped file, which is not in memory yet"


@dataclass(frozen=True)
class Expected:
    """What a read has to return."""

    digest: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def expectations(raw: Path, manifest: Manifest, reads: Iterable[Read]) -> dict[str, Expected]:
    """Work out what every read of a plan has to return.

    Parameters
    ----------
    raw : Path
        The trace's raw archive, itself checked against the digests of the source's stream.
    manifest : Manifest
        Its manifest, with those digests.
    reads : iterable of Read
        The plan.

    Returns
    -------
    dict of str to Expected
        By `read_id`. Parts are sliced by numpy from a map of the flat file: no format's code takes part.
    """
    offsets, offset = {}, 0
    for spec in manifest.tensors:
        offsets[spec.path] = offset
        offset += spec.nbytes
    found: dict[str, Expected] = {}
    for read in reads:
        spec = manifest[read.path]
        if read_id(read) in found:
            continue
        shape, value = spec.shape, manifest.digests[spec.path]
        if read.selection is not None:
            flat = np.memmap(raw, dtype=spec.dtype, mode="r", offset=offsets[spec.path], shape=spec.shape)
            part = np.ascontiguousarray(flat[read.selection])
            shape, value = part.shape, digest(part)
        found[read_id(read)] = Expected(value, spec.dtype, shape, prod(shape) * np.dtype(spec.dtype).itemsize)
    return found


def read_id(read: Read) -> str:
    """Name a read by what it asks for; slices cannot be dictionary keys before Python 3.12."""
    part = "" if read.selection is None else ",".join(f"{s.start}:{s.stop}" for s in read.selection)
    return f"{read.path}[{part}]"


def asked_bytes(reads: Iterable[Read], expected: Mapping[str, Expected]) -> int:
    """Return the bytes of the arrays that reads ask for; `expected` from `expectations`."""
    return sum(expected[read_id(read)].nbytes for read in reads)


def check(result: object, expected: Expected) -> str:
    """Compare what a reader returned with what it had to return.

    Parameters
    ----------
    result : object
        What came back.
    expected : Expected
        From `expectations`.

    Returns
    -------
    str
        What is wrong, in a few words; empty when every bit is right and in memory.
    """
    if type(result) is not np.ndarray:
        return f"returned {type(result).__name__} instead of an ndarray"
    if result.dtype != np.dtype(expected.dtype):
        return f"returned dtype {result.dtype} instead of {expected.dtype}"
    if result.shape != expected.shape:
        return f"returned shape {result.shape} instead of {expected.shape}"
    if mapped(result):
        return MAPPED
    return "" if digest(result) == expected.digest else "returned values that differ from the source"


def mapped(array: object) -> bool:
    """Say whether an array's bytes are in a mapped file: reading them would be work left for later."""
    owner: object = array
    while owner is not None:
        if type(owner).__module__ == "mmap" or isinstance(owner, np.memmap):
            return True
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    return False


def is_bfloat16(blocks: Iterable[np.ndarray]) -> bool:
    """Say whether every float32 value is exactly representable in bfloat16, whose bits are the upper half."""
    return all(not (block.view(np.uint32) & 0xFFFF).any() for block in blocks)
