"""Reader of Zarr in a zip file with tensorstore's zip driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.extensions.zarr_zip.members import first_member, stored_text
from harness.formats.tensorstore_reader import TensorstoreReader


class ZippedTensorstoreReader(TensorstoreReader):
    """Reader of arrays with tensorstore, which holds each array that it has opened.

    Parameters
    ----------
    path : Path
        The archive.
    cache_bytes : int or None
        Cache for decoded chunks and the directory of the zip file together; by default tensorstore caches nothing.
    """

    def __init__(self, path: Path, cache_bytes: int | None = None) -> None:
        super().__init__(path, cache_bytes)
        self._driver = "zarr3" if first_member(path) == "zarr.json" else "zarr"

    def manifest_text(self) -> str:
        return stored_text(self._path)

    def place(self, path: str) -> tuple[str, dict[str, Any]]:
        base = {"driver": "file", "path": str(self._path)}
        return self._driver, {"driver": "zip", "base": base, "path": f"{path}/"}
