"""Protocols of formats whose unfinished archives can be read, and the base class of readers of such archives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.formats.base import Reader
from harness.formats.extents import Extent
from harness.trace.manifest import Manifest

Place = Mapping[str, Any]
"""Where the stored bytes of one tensor lie, in a structure of its format, with plain JSON values."""


@runtime_checkable
class CheckpointWriter(Protocol):
    """A writer that can report which tensors are complete before the archive is."""

    def checkpoint(self) -> dict[str, Place]:
        """Pass all bytes of complete tensors to the system; return the places of those since the last checkpoint.

        Called between two tensors. Later writes must not change those bytes: they are read again when the process is
        killed, the disk is full or the trace fails.
        """


@runtime_checkable
class RecoverableFormat(Protocol):
    """A format whose writer is a `CheckpointWriter`."""

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> Reader:
        """Open the complete tensors of an unfinished archive, without changing it.

        Parameters
        ----------
        path : Path
            The path that `harness.formats.base.Format.writer` was given.
        manifest : Manifest
            Of the complete tensors.
        places : mapping of str to Place
            Of each of them, from the writer's checkpoints.

        Returns
        -------
        Reader
            Of these tensors and no others.
        """

    def unchecked(self, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        """List the stored bytes of a tensor that are decoded without a checksum, always in the same order.

        Each checkpoint stores their digest, so that damaged bytes are never decoded: some codecs crash the process on
        them.
        """


class RecoveredReader(Reader):
    """Base class of readers of unfinished archives; a format adds how tensors are read."""

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        self.path, self.manifest, self.places = path, manifest, places

    def manifest_text(self) -> str:
        return self.manifest.to_json()
