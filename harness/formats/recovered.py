"""What the readers of archives that were not finished have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.formats.base import Place, Reader, Stored
from harness.trace.schema import Manifest


class RecoveredReader(Reader):
    """Reads the tensors of an archive that was not finished; formats add how.

    Parameters
    ----------
    path, manifest, places
        As for `Format.recover`.
    """

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        self.path, self.manifest, self.places = path, manifest, places

    def manifest_text(self) -> str:
        return self.manifest.to_json()

    def stored(self) -> dict[str, Stored]:
        return {spec.path: Stored(spec.shape, spec.dtype) for spec in self.manifest.tensors}

    def close(self) -> None:
        pass
