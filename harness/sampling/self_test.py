"""Rehearsal: write and read a tiny archive in a format once, before anything of the format is counted or timed.

The first use of a library reads its modules from disk and fills its tables, which must not be part of a sample.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.formats.archive import write_archive
from harness.formats.base import Format, Profile, Reader, blame, load_format
from harness.formats.selection import Selection
from harness.formats.settings import configured
from harness.sampling.verify import Expected, check
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import MemoryTrace, digest


@dataclass(frozen=True)
class FormatOpener:
    """Opens archives of a format with one of its readers."""

    format: Format  # The format, configured.
    with_reader: str = ""  # Name in `harness.formats.base.Format.readers`; empty for the first reader.
    cache_bytes: int | None = None  # Budget in bytes of decoded chunks; None for the library's default.

    @property
    def name(self) -> str:
        """The format's name."""
        return self.format.name

    def reader(self, path: Path) -> Reader:
        """Open an archive."""
        return self.format.reader(path, self.with_reader, cache_bytes=self.cache_bytes)


def rehearsed(name: str, profile: Profile, reader: str = "", cache_bytes: int | None = None) -> FormatOpener:
    """Load a format and rehearse it with one of its readers, once in each process.

    Parameters
    ----------
    name : str
        Name for `load_format`.
    profile : Profile
        The settings to rehearse.
    reader : str
        Name of one of the format's readers; empty for the first.
    cache_bytes : int or None
        Budget in bytes of decoded chunks; None for the library's default.

    Returns
    -------
    FormatOpener
        For the configured format.

    Raises
    ------
    HarnessError
        When the format cannot write and read a few bytes, or does not return every bit of them.
    """
    return _rehearsed(name, profile, reader, cache_bytes)


@cache
def _rehearsed(name: str, profile: Profile, reader: str, cache_bytes: int | None) -> FormatOpener:
    opener = FormatOpener(configured(load_format(name), profile), reader, cache_bytes)
    backend = opener.format
    arrays = _tensors()
    manifest = Manifest(tensors=tuple(arrays), provenance=Provenance(source="rehearsal"))
    trace = MemoryTrace("rehearsal", manifest, {spec.path: array for spec, array in arrays.items()})
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        path = Path(folder) / f"rehearsal{backend.suffix}"
        write_archive(trace, backend, path, profile)
        with blame(backend.name, "reading a tiny archive"), opener.reader(path) as opened:
            for spec, array in arrays.items():
                parts = (
                    (None, (slice(1, 2), slice(3, 35), slice(0, array.shape[2] - 1))) if array.ndim == 3 else (None,)
                )
                for selection in parts:
                    if problem := _compare(opened, spec, array, selection):
                        raise HarnessError(f"{backend.name} failed a rehearsal on a tiny archive: {problem}")
    return opener


def _compare(reader: Reader, spec: TensorSpec, array: np.ndarray, selection: Selection | None) -> str:
    """Return what is wrong with a tensor, or with a part of it; empty if every bit is correct."""
    part = array if selection is None else np.ascontiguousarray(array[selection])
    expected = Expected(digest(part), spec.dtype, part.shape, part.nbytes)
    problem = check(reader.read(spec.path, selection), expected)
    return problem and f"{'' if selection is None else 'a part of '}{spec.path}: it {problem}"


def _tensors() -> dict[TensorSpec, np.ndarray]:
    """Make tensors with values that are easily lost, in several roles, and in float32, bfloat16 and other dtypes."""
    edge = 40
    smooth = np.arange(2 * edge * edge, dtype=np.float32).reshape(2, edge, edge) / 7
    special = _with_every(smooth, _SPECIAL)
    narrow = _with_every((smooth.view(np.uint32) & 0xFFFF0000).view(np.float32), _SPECIAL & 0xFFFF0000)
    negative_zeros = np.full((edge, edge, 2), -0.0, np.float32)  # a library may treat such a chunk as empty
    found: dict[TensorSpec, np.ndarray] = {
        tensor("attention/layer_0", (2, edge, edge)): special,
        tensor("attention/layer_1", (2, edge, edge)): narrow,
        tensor("pair/layer_0", (edge, edge, 2)): np.ascontiguousarray(special.transpose(1, 2, 0)),
        tensor("pair/layer_1", (edge, edge, 2)): np.ascontiguousarray(narrow.transpose(1, 2, 0)),
        tensor("pair/layer_2", (edge, edge, 2)): negative_zeros,
        tensor("inputs/sequence", (edge,), "uint8"): np.arange(edge, dtype=np.uint8),
        tensor("structure/ptm", ()): np.full((), 0.5, np.float32),
    }
    for dtype in ("float16", "float64"):
        values = np.array(
            [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal, -1.5], dtype
        )
        found[tensor(f"outputs/{dtype}", values.shape, dtype)] = values
    for dtype in ("int8", "int32", "int64", "uint16"):
        limits = np.iinfo(dtype)
        values = np.array([limits.min, limits.max, 0, 1], dtype)
        found[tensor(f"outputs/{dtype}", values.shape, dtype)] = values
    return found


_SPECIAL = np.array(
    [
        0x80000000, 0x00000000,  # -0.0 and 0.0
        0x7FC12345, 0xFFC54321, 0x7F810001, 0xFFFFFFFF,  # NaN of both signs, with payloads, quiet and signalling
        0x7F800000, 0xFF800000,  # infinities
        0x00000001, 0x80000001, 0x00010000, 0x807F0000,  # subnormal
        0x7F7FFFFF, 0x00800000,  # the largest, and the smallest that is not subnormal
    ],
    np.uint32,
)  # fmt: skip
"""Bits of float32 values that arithmetic or a codec may change; with the lower half cleared, of bfloat16 values."""


def _with_every(values: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Return a copy with special values in every tenth row, so that selections of it have them too."""
    found = values.copy()
    found[:, ::10, : bits.size] = bits.astype(np.uint32).view(np.float32)
    return found
