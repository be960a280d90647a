"""Demand of an access on a format, from its plan and the layout alone, without any timing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from harness.formats.base import Format, Profile
from harness.formats.describing import ReadsWhole
from harness.formats.selection import run_of, whole
from harness.trace.manifest import Manifest
from harness.trace.schema import Role
from harness.trace.stream import LARGE_BYTES
from harness.workload import Read

FEATURES = (
    "opening", "reads", "chunks", "bytes decoded of attention", "bytes decoded of pair", "bytes decoded of others",
    "bytes returned",
)  # fmt: skip
"""Features of the cost model; each has one coefficient, in seconds."""

_ROLES = {Role.ATTENTION: 0, Role.PAIR: 1}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Total demand of several reads."""

    reads: int  # Calls of the reader.
    chunks: int  # Stored pieces that are fetched and decoded; one per read for a format without chunks.
    decoded: tuple[int, int, int]  # Decoded bytes: of attention, of pair tensors, of all others.
    returned: int  # Bytes of the returned arrays.

    @property
    def features(self) -> np.ndarray:
        """The values of `FEATURES`, with one opening."""
        return np.array([1, self.reads, self.chunks, *self.decoded, self.returned], float)


def demand(backend: Format, profile: Profile, manifest: Manifest, reads: Iterable[Read]) -> Demand:
    """Compute the demand of reads on a format.

    Parameters
    ----------
    backend : Format
        The format.
    profile : Profile
        The settings of the archive.
    manifest : Manifest
        Manifest of the trace.
    reads : iterable of Read
        The reads, in order.

    Returns
    -------
    Demand
        For one opened archive. Data that is read twice is decoded twice: no format here keeps decoded data, except in
        a chunk cache that is small compared with these tensors.
    """
    count = chunks = returned = 0
    decoded = [0, 0, 0]
    path, reached = "", 0  # a member that can only be read from its start, and the position up to which it is decoded
    for read in reads:
        spec = manifest[read.path]
        wanted = whole(spec.shape, read.selection)
        item = np.dtype(spec.dtype).itemsize
        asked = prod(part.stop - part.start for part in wanted) * item
        pieces, nbytes = 1, asked
        if isinstance(backend, ReadsWhole):
            nbytes = spec.nbytes
            run = run_of(spec.shape, wanted) if backend.streams and spec.nbytes > LARGE_BYTES and spec.shape else None
            if run and read.selection is not None and (run[0] == 0 or (path, reached) == (spec.path, run[0])):
                pieces, nbytes = 0 if run[0] else 1, asked
            path, reached = (spec.path, run[1]) if run else ("", 0)
        elif (edges := backend.layout(spec, profile).chunks) and spec.items:
            pieces = prod(-(-part.stop // edge) - part.start // edge for part, edge in zip(wanted, edges, strict=True))
            nbytes = pieces * prod(edges) * item
        count, chunks, returned = count + 1, chunks + pieces, returned + asked
        decoded[_ROLES.get(spec.role, 2)] += nbytes
    return Demand(reads=count, chunks=chunks, decoded=(decoded[0], decoded[1], decoded[2]), returned=returned)
