"""How far a run is, in steps that weigh what they take."""

from __future__ import annotations

from math import prod
from typing import Protocol

from harness.formats.selection import lengths, whole
from harness.trace.manifest import Manifest
from harness.workload import Absent, Access, ReadAccess, SizeAccess

_BYTES_OF_A_STEP = 120_000_000
"""That are read, checked or written in about the time that a step takes which asks for little: starting and stopping
processes, evicting or warming an archive. So it was in the reference run."""


class Progress(Protocol):
    """Told how far a run is."""

    def total(self, steps: int) -> None:
        """Say how many steps there will be."""

    def step(self, text: str, steps: int = 1) -> None:
        """Say that steps are done, and what comes next."""


def weight(manifest: Manifest, access: Access | None = None) -> int:
    """Return the steps of a sample of an access, by the bytes that it reads; without an access, those of an archive."""
    return 1 + round(_asked(manifest, access) / _BYTES_OF_A_STEP)


def _asked(manifest: Manifest, access: Access | None) -> int:
    if access is None:
        return manifest.nbytes
    if isinstance(access, ReadAccess):
        found = 0
        for read in access.reads:
            spec = manifest[read.path]
            count = prod(lengths(whole(spec.shape, read.selection)))
            found += count * spec.nbytes // max(1, spec.items)
        return found
    if isinstance(access, SizeAccess | Absent):
        return 0
    return max((sum(manifest[source].nbytes for _, source in parts) for parts in access.tensors), default=0)
