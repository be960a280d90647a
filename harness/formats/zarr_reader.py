"""Readers of Zarr with zarr-python through one of its codec pipelines, also for unfinished archives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from harness.documents import DocumentError, decode
from harness.errors import ArchiveError
from harness.files import read_bytes
from harness.formats.base import Reader, Selection
from harness.formats.describing import Opened, StoredTensor
from harness.formats.zarr_pipelines import DEFAULT, pipeline_of, take_threads, threads_of, using
from harness.trace.manifest import Manifest

KEY = "trace_format_harness"
"""Attribute of an archive's root group that holds the attributes of this harness."""

ROOTS = ("zarr.json", ".zattrs", ".zgroup")
"""Documents of a root group, of Zarr 3 and 2; the first that exists holds its attributes."""

_LEFT_TO_ZARR = 16 << 20  # bytes of damaged metadata that are left to zarr-python; it takes minutes for more


def own_within(document: Any, name: str) -> dict[str, Any]:
    """Return the attributes from `root_attributes` in the document of a root group; empty if there are none."""
    for key in ("attributes", KEY) if name == "zarr.json" else (KEY,):
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def manifest_within(path: object, own: Mapping[str, Any]) -> str:
    """Return the manifest among an archive's own attributes; raises `ArchiveError` if there is none."""
    if "manifest" not in own:
        raise ArchiveError(f"{path} is a Zarr group, but not an archive written by this harness: it has no manifest.")
    return str(own["manifest"])


def _root(path: Path) -> dict[str, Any] | None:
    """Read the attributes from `root_attributes`; None if the path is no Zarr group."""
    for name in ROOTS:
        if path.is_dir() and (path / name).is_file():
            return own_within(decode(read_bytes(path / name), Any, path / name, extra=True), name)
    return None


def own_attributes(path: Path) -> dict[str, Any] | None:
    """Read an archive's own attributes, without zarr.

    Returns None if the path is no Zarr group, and an empty dict if another program wrote it or its metadata are
    damaged.
    """
    try:
        return _root(path)
    except DocumentError:
        if any(file.stat().st_size > _LEFT_TO_ZARR for file in path.glob("*") if file.name in ROOTS):
            raise
        return {}


def stored_manifest(path: Path) -> str:
    """Read the manifest from a folder; raises `ArchiveError` if there is none."""
    return manifest_within(path, _root(path) or {})


def codecs_in_words(codecs: Iterable[Mapping[str, Any]]) -> str:
    """Return in words the codecs of a chunk, without the one that lays out its bytes in order.

    Parameters
    ----------
    codecs : iterable of mapping
        From an array's metadata, of Zarr 2 or 3; for shards, the codec of the shard.
    """
    found = []
    for codec in codecs:
        facts = codec.get("configuration", {}) if "name" in codec else codec
        name = codec["name"] if "name" in codec else codec["id"]
        if name == "sharding_indexed":
            return f"{codecs_in_words(facts['codecs'])}, index at the {facts['index_location']} of a shard"
        if "cname" in facts:
            shuffle = {"shuffle": " byte shuffle", "bitshuffle": " bit shuffle", 1: " byte shuffle", 2: " bit shuffle"}
            found.append(f"blosc-{facts['cname']}-{facts['clevel']}{shuffle.get(facts['shuffle'], '')}")
        elif name != "bytes":
            found.append(" ".join([name, *(f"{key} {value}" for key, value in facts.items() if key != "id")]))
    return ", ".join(found) or "none"


def _codecs_of(array: zarr.Array) -> str:
    metadata: Any = array.metadata
    if metadata.zarr_format == 3:
        return codecs_in_words(codec.to_dict() for codec in metadata.codecs)
    return codecs_in_words(codec.get_config() for codec in (*(metadata.filters or ()), metadata.compressor) if codec)


class ZarrReader(Reader):
    """Reads arrays with zarr-python; holds each array that it has opened, unless `held` is false.

    In a folder, an array is opened by its own metadata at its first read, and the root group is not opened: one array
    takes 0.25 ms, and 0.94 ms through consolidated metadata, which pays from five arrays on. In a store whose requests
    cost more than that, consolidated metadata take one request; without them each array takes requests of its own.

    Parameters
    ----------
    where : Path or zarr.abc.store.Store
        The archive, as a folder or as a store with its content.
    pipeline : str
        The codec pipeline, by the name of a reader.
    consolidated : bool
        Whether consolidated metadata of a store are used if it has them; else each array is opened by its own.
    held : bool
        Whether an array is opened once, or again for each read.
    """

    def __init__(
        self, where: Path | Store, pipeline: str = DEFAULT, *, consolidated: bool = True, held: bool = True
    ) -> None:
        take_threads()
        self._where, self._pipeline, self._hold = where, pipeline, held
        self._held: dict[str, zarr.Array] = {}
        self._group: zarr.Group | None = None
        self._store: Store
        self._format: Literal[2, 3] | None  # None if it is to be detected
        if isinstance(where, Store):
            self._store, self._format = where, None
            if consolidated:
                self._group = zarr.open_group(where, mode="r")
        elif where.is_dir():
            self._store = LocalStore(where, read_only=True)
            self._format = 3 if (where / "zarr.json").is_file() else 2
        else:
            raise ArchiveError(f"{where} is not a folder, as archives of Zarr are.")

    def manifest_text(self) -> str:
        if isinstance(self._where, Path):
            return stored_manifest(self._where)
        return manifest_within(self._where, own_within(self._group.attrs.asdict(), ".zattrs") if self._group else {})

    def arrays(self) -> dict[str, zarr.Array]:
        """Return every listed array, by name, with the metadata that this reader uses."""
        with using(DEFAULT):
            group = self._group or zarr.open_group(self._store, mode="r", use_consolidated=False)
            return {name: node for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}

    def stored(self) -> dict[str, StoredTensor]:
        return {name: StoredTensor(tuple(array.shape), array.dtype.name) for name, array in self.arrays().items()}

    def array(self, path: str) -> zarr.Array:
        """Return the zarr-python array of a path, the same one each time if arrays are held."""
        if path in self._held:
            return self._held[path]
        with using(self._pipeline):
            if self._group is None:
                node: Any = zarr.open_array(self._store, path=path, mode="r", zarr_format=self._format)
            else:
                node = self._group[path]
        if not isinstance(node, zarr.Array):
            raise ArchiveError(f"{path}: expected an array, the archive has a group there.")
        return self._held.setdefault(path, node) if self._hold else node

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        return np.asarray(self.array(path)[... if selection is None else selection])

    def opened(self, path: str) -> Opened:
        array = self.array(path)
        return Opened(
            reader=f"{pipeline_of(array)}, arrays {'held' if self._hold else 'opened for each read'}",
            chunks=array.chunks,
            shards=array.shards,
            codec=_codecs_of(array),
            threads=threads_of(array),
        )

    def close(self) -> None:
        self._store.close()


class RecoveredZarrReader(ZarrReader):
    """Reads the complete arrays of an unfinished archive, in a folder without consolidated metadata."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path)
        self._manifest = manifest

    def manifest_text(self) -> str:
        return self._manifest.to_json()

    def arrays(self) -> dict[str, zarr.Array]:
        return {spec.path: self.array(spec.path) for spec in self._manifest.tensors}
