"""What an access demands of a format, known from its plan and its layout alone, before anything is timed."""

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
"""What a time is made of: each has one coefficient, in seconds."""

_ROLES = {Role.ATTENTION: 0, Role.PAIR: 1}


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What reads demand together."""

    reads: int  # Calls of the reader.
    chunks: int  # Stored pieces that are fetched and decoded; for a format without chunks one a read.
    decoded: tuple[int, int, int]  # Bytes that come out of the codec: of attention, of pair tensors, of all others.
    returned: int  # Bytes of the arrays that come back.

    @property
    def features(self) -> np.ndarray:
        """The values of `FEATURES`, with one opening."""
        return np.array([1, self.reads, self.chunks, *self.decoded, self.returned], float)


def demand(backend: Format, profile: Profile, manifest: Manifest, reads: Iterable[Read]) -> Demand:
    """Reckon what reads demand of a format.

    Parameters
    ----------
    backend : Format
        The format.
    profile : Profile
        The settings that the archive is written with.
    manifest : Manifest
        What the trace holds.
    reads : iterable of Read
        In their order.

    Returns
    -------
    Demand
        For one opened archive. What is read twice is decoded twice: no format here keeps what it has decoded, but for
        a chunk cache that is small against these tensors.
    """
    count = chunks = returned = 0
    decoded = [0, 0, 0]
    path, reached = "", 0  # how far a member that can only be read from its start is decoded
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
