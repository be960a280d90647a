"""Reader of Zarr with tensorstore; the only module that imports it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from harness.capacity import capacity
from harness.errors import ArchiveError
from harness.formats.base import Reader, Selection, UnsupportedReader
from harness.formats.describing import Opened
from harness.formats.zarr_reader import codecs_in_words, stored_manifest


@cache
def _threads() -> Any:
    """Return a tensorstore context with one thread for each processor that this process may use.

    All readers share it, as with tensorstore's own default: new threads take milliseconds to start.
    """
    limit = {"limit": capacity().cores_usable}
    return tensorstore.Context({"data_copy_concurrency": limit, "file_io_concurrency": limit})


class TensorstoreReader(Reader):
    """Reads arrays with tensorstore; holds each array it has opened.

    Parameters
    ----------
    path : Path
        The archive.
    cache_bytes : int or None
        Most bytes of decoded chunks that are kept, for all arrays together; none by default, as in tensorstore.
    """

    def __init__(self, path: Path, cache_bytes: int | None = None) -> None:
        self._path = path
        self._held: dict[str, Any] = {}
        self._context = tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes or 0}}, _threads())

    def manifest_text(self) -> str:
        return stored_manifest(self._path)

    def place(self, path: str) -> tuple[str, dict[str, Any]]:
        """Return the driver of an array and the key-value store that holds its files, as tensorstore takes them."""
        folder = self._path / path
        found = [driver for driver, file in (("zarr3", "zarr.json"), ("zarr", ".zarray")) if (folder / file).is_file()]
        if not found:
            raise ArchiveError(f"{path}: the archive has no array there.")
        return found[0], {"driver": "file", "path": f"{folder}/"}

    def array(self, path: str) -> Any:
        """Return the tensorstore array of a path, which is opened once."""
        if path in self._held:
            return self._held[path]
        driver, store = self.place(path)
        # An archive does not change while it is open, so reads need not check the age of cached data.
        spec = {"driver": driver, "kvstore": store, "recheck_cached_data": "open"}
        try:
            opened = tensorstore.open(spec, open=True, read=True, context=self._context).result()
        except ValueError as error:
            said = str(error).partition(" [tensorstore_spec")[0].rpartition(": ")[2]
            raise UnsupportedReader(f"tensorstore cannot read {path}: {said}.") from error
        return self._held.setdefault(path, opened)

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        array = self.array(path)
        return (array if selection is None else array[selection]).read().result()

    def opened(self, path: str) -> Opened:
        array = self.array(path)
        spec = array.spec(retain_context=True).to_json(include_defaults=True)
        stored, context = spec["metadata"], spec["context"]
        codecs = stored["codecs"] if "codecs" in stored else [c for c in (stored["compressor"],) if c is not None]
        chunks, shards = (tuple(part.shape) for part in (array.chunk_layout.read_chunk, array.chunk_layout.write_chunk))
        limit = context["cache_pool"].get("total_bytes_limit", 0)
        return Opened(
            reader=f"tensorstore {version('tensorstore')}, arrays held",
            chunks=chunks,
            shards=None if shards == chunks else shards,
            codec=codecs_in_words(codecs),
            cache=f"decoded chunks of up to {limit} bytes, checked for changes: {spec['recheck_cached_data']}",
            cache_bytes=limit,
            threads=f"{context['data_copy_concurrency']['limit']} to copy and decode, "
            f"{context['file_io_concurrency']['limit']} to read",
        )

    def close(self) -> None:
        self._held.clear()  # also drops the data that they cache
