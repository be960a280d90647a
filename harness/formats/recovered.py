"""What a format offers so that an archive that was not finished can be read, and what readers of such ones share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.formats.base import Reader
from harness.formats.extents import Extent
from harness.trace.manifest import Manifest

Place = Mapping[str, Any]
"""Where the stored bytes of one tensor lie, in the words of its format and in plain JSON values."""


@runtime_checkable
class CheckpointWriter(Protocol):
    """A writer that can say which tensors are whole before the archive is."""

    def checkpoint(self) -> dict[str, Place]:
        """Hand all bytes of whole tensors to the system, and say where those lie that came since the last checkpoint.

        Called between two tensors. Nothing that happens afterwards may change those bytes: they are read again when
        the process is killed, the disk is full or the trace fails.
        """


@runtime_checkable
class RecoverableFormat(Protocol):
    """A format whose writer is a `CheckpointWriter`."""

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> Reader:
        """Open what is whole in an archive that was not finished, without changing it.

        Parameters
        ----------
        path : Path
            What `harness.formats.base.Format.writer` was given.
        manifest : Manifest
            Of the tensors that are whole.
        places : mapping of str to Place
            Of each of them, from the writer's checkpoints.

        Returns
        -------
        Reader
            Of these tensors and no others.
        """

    def unchecked(self, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        """List the stored bytes of a tensor that are decoded without a checksum, always in the same order.

        A checkpoint digests them, so that damaged ones are never decoded: some codecs crash the process on them.
        """


class RecoveredReader(Reader):
    """Reads the tensors of an archive that was not finished; formats add how."""

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        self.path, self.manifest, self.places = path, manifest, places

    def manifest_text(self) -> str:
        return self.manifest.to_json()
