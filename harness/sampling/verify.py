"""Verification of results against the source, outside the timer."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from harness.sampling.counters import read_aside
from harness.trace.manifest import Manifest
from harness.trace.stream import digest
from harness.workload import Read

MAPPED = "returned a view of a mapped file, which is not in memory yet"
LATER = "returned an array that was filled after it had been returned"

_MAPS = Path("/proc/self/maps")
_MEMORY = (b"/dev/zero", b"/memfd:", b"/SYSV")  # memory that is listed as a file
_PAGE = 4096  # bytes
_BLOCK, _BLOCKS = 16 << 10, 4  # bytes and number of the parts of an array that are compressed for an estimate


@dataclass(frozen=True)
class Expected:
    """Expected result of a read."""

    # Of the array.
    digest: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    # Estimated minimum of bytes that an archive needs for the array (`least_bytes`); 0 if no estimate is possible.
    least: int = 0


def expectations(raw: Path, manifest: Manifest, reads: Iterable[Read]) -> dict[str, Expected]:
    """Compute the expected result of every read of a plan.

    Parameters
    ----------
    raw : Path
        The trace's raw archive, verified against the digests of the source's stream.
    manifest : Manifest
        Its manifest, with those digests.
    reads : iterable of Read
        The reads of the plan.

    Returns
    -------
    dict of str to Expected
        By `read_id`. Selections are sliced by numpy from a memory map of the flat file, without code of any format.
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
        part = np.zeros(0)
        if spec.nbytes:
            part = np.memmap(raw, dtype=spec.dtype, mode="r", offset=offsets[spec.path], shape=spec.shape)
        if read.selection is not None:
            part = np.ascontiguousarray(part[read.selection])
            shape, value = part.shape, digest(part)
        nbytes = prod(shape) * np.dtype(spec.dtype).itemsize
        found[read_id(read)] = Expected(value, spec.dtype, shape, nbytes, least_bytes(part))
    return found


def least_bytes(array: np.ndarray) -> int:
    """Estimate the minimum bytes that an archive needs for an array: a quarter of its size when compressed by zlib.

    Only parts of the array are compressed, with their bytes sorted by significance. The best codecs for such values
    reach two thirds of the size by zlib. Returns 0 for small arrays.
    """
    flat, items = array.reshape(-1), _BLOCK // max(1, array.itemsize)
    if flat.size < _BLOCKS * items:
        return 0
    starts = np.linspace(0, flat.size - items, _BLOCKS, dtype=np.int64)
    blocks = [np.ascontiguousarray(flat[start : start + items]).view(np.uint8).reshape(items, -1) for start in starts]
    packed = sum(len(zlib.compress(block.T.tobytes(), 1)) for block in blocks)
    return int(array.nbytes * packed / (_BLOCKS * _BLOCK)) // 4


def read_id(read: Read) -> str:
    """Return a key of a read, made of path and selection; slices cannot be dictionary keys before Python 3.12."""
    part = "" if read.selection is None else ",".join(f"{s.start}:{s.stop}" for s in read.selection)
    return f"{read.path}[{part}]"


def asked_bytes(reads: Iterable[Read], expected: Mapping[str, Expected]) -> int:
    """Return the total bytes of the arrays that reads request; `expected` is from `expectations`."""
    return sum(expected[read_id(read)].nbytes for read in reads)


def check_all(results: Sequence[tuple[object, Expected]]) -> str:
    """Compare the results of a reader with the expected results, while that reader is open.

    Parameters
    ----------
    results : sequence of (object, Expected)
        Results, each with its expected result from `expectations`.

    Returns
    -------
    str
        The first problem, in a few words; empty if every bit is correct, and was correct when the array was returned.
    """
    arrays = [result for result, _ in results if type(result) is np.ndarray]
    early = [_Glance(array) for array in arrays]  # first of all, before an array that is filled later is complete
    ranges = _mapped_ranges()
    problem = next((found for result, want in results if (found := _check(result, want, ranges))), "")
    return problem or (LATER if any(glance.changed for glance in early) else "")


def check(result: object, expected: Expected) -> str:
    """Compare one result with its expected result, as `check_all`."""
    return check_all([(result, expected)])


def _check(result: object, expected: Expected, ranges: np.ndarray) -> str:
    if type(result) is not np.ndarray:
        return f"returned {type(result).__name__} instead of an ndarray"
    if result.dtype != np.dtype(expected.dtype):
        return f"returned dtype {result.dtype} instead of {expected.dtype}"
    if result.shape != expected.shape:
        return f"returned shape {result.shape} instead of {expected.shape}"
    if _touches(result, ranges):
        return MAPPED
    return "" if digest(result) == expected.digest else "returned values that differ from the source"


class _Glance:
    """A copy of one value of each page of an array at its return, at random positions that no format can predict."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self._step = array, max(1, _PAGE // max(1, array.itemsize))
        self._start = random.randrange(self._step)
        self._seen = self._values()

    def _values(self) -> bytes:
        return self._array.ravel(order="K")[self._start :: self._step].tobytes()

    @property
    def changed(self) -> bool:
        """Whether any of these values has changed since."""
        return self._values() != self._seen


def mapped(array: object) -> bool:
    """Return whether an array's bytes are in a mapped file, so that reading them is deferred work."""
    return isinstance(array, np.ndarray) and _touches(array, _mapped_ranges())


def _touches(array: np.ndarray, ranges: np.ndarray) -> bool:
    """Return whether the memory from an array's first to its last byte overlaps a range, whatever object owns it."""
    if not array.size:
        return False
    first, stop = np.lib.array_utils.byte_bounds(array)
    return bool(((ranges[:, 0] < stop) & (first < ranges[:, 1])).any())


def _mapped_ranges() -> np.ndarray:
    """Return start and end address of every mapped file in this process, shape ``(n, 2)``; see proc_pid_maps(5).

    The end is exclusive. Without Linux's ``/proc``, the result is empty.
    """
    try:
        lines = read_aside(_MAPS).splitlines()
    except OSError:
        lines = []
    return np.array([found for line in lines if (found := _range_of_file(line))], np.uint64).reshape(-1, 2)


@lru_cache(maxsize=8192)  # most mappings of a process, those of its libraries, do not change
def _range_of_file(line: bytes) -> tuple[int, int] | None:
    fields = line.split(maxsplit=5)
    if fields[4] == b"0" or fields[-1].startswith(_MEMORY):
        return None
    first, stop = fields[0].split(b"-")
    return int(first, 16), int(stop, 16)


def is_bfloat16(blocks: Iterable[np.ndarray]) -> bool:
    """Return whether every float32 value is exactly representable in bfloat16, whose bits are the upper half."""
    return all(not (block.view(np.uint32) & 0xFFFF).any() for block in blocks)
