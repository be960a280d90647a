"""Progress of a run in steps that are weighted by their approximate duration."""

from __future__ import annotations

from math import prod
from typing import Protocol

from harness.formats.selection import lengths, whole
from harness.trace.manifest import Manifest
from harness.workload import Absent, Access, ReadAccess, SizeAccess

_BYTES_OF_A_STEP = 120_000_000
"""Bytes that are read, checked or written in about the time of a step with little data, which goes into starting and
stopping processes and evicting or warming an archive; as measured in the reference run."""


class Progress(Protocol):
    """Receiver of the progress of a run."""

    def total(self, steps: int) -> None:
        """Set the total number of steps."""

    def step(self, text: str, steps: int = 1) -> None:
        """Count completed steps, and show a description of the next step."""


def weight(manifest: Manifest, access: Access | None = None) -> int:
    """Return the number of steps of a sample, by the bytes of its access; without an access, of writing an archive."""
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
