"""Read Zarr with zarr-python through one of its codec pipelines, also archives that were not finished."""

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
"""Under which an archive's root group has what this harness says of it."""

ROOTS = ("zarr.json", ".zattrs", ".zgroup")
"""Documents of a root group, of Zarr 3 and 2; its own attributes are in the first that is there."""

_LEFT_TO_ZARR = 16 << 20  # bytes of metadata that are damaged; zarr-python takes minutes for more


def own_within(document: Any, name: str) -> dict[str, Any]:
    """Find what `root_attributes` wrote in the document of a root group; empty where there is nothing of it."""
    for key in ("attributes", KEY) if name == "zarr.json" else (KEY,):
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def manifest_within(path: object, own: Mapping[str, Any]) -> str:
    """Return the manifest among an archive's own attributes; raises `ArchiveError` where there is none."""
    if "manifest" not in own:
        raise ArchiveError(f"{path} is a Zarr group, but not an archive written by this harness: it has no manifest.")
    return str(own["manifest"])


def _root(path: Path) -> dict[str, Any] | None:
    """Read what `root_attributes` wrote; None where no Zarr group is."""
    for name in ROOTS:
        if path.is_dir() and (path / name).is_file():
            return own_within(decode(read_bytes(path / name), Any, path / name, extra=True), name)
    return None


def own_attributes(path: Path) -> dict[str, Any] | None:
    """Read an archive's own attributes, without zarr; None where no Zarr group is, empty where it is another's."""
    try:
        return _root(path)
    except DocumentError:
        if any(file.stat().st_size > _LEFT_TO_ZARR for file in path.glob("*") if file.name in ROOTS):
            raise
        return {}


def stored_manifest(path: Path) -> str:
    """Read the manifest from a folder; raises `ArchiveError` where there is none."""
    return manifest_within(path, _root(path) or {})


def codecs_in_words(codecs: Iterable[Mapping[str, Any]]) -> str:
    """Say what codecs do to a chunk, apart from laying out its bytes in order.

    Parameters
    ----------
    codecs : iterable of mapping
        As an array's metadata have them, of Zarr 2 or 3; in shards, that of the shard.
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
    """Reads arrays with zarr-python; holds each array it has opened, unless told not to.

    In a folder, an array is opened by its own metadata when it is first read, and the root group not at all: one array
    takes 0.25 ms, and 0.94 through consolidated metadata, which pays from five arrays on. In a store where every
    request costs more than that, the consolidated metadata are one; without them each array is asked for.

    Parameters
    ----------
    where : Path or zarr.abc.store.Store
        The archive, as a folder or as a store that is one.
    pipeline : str
        What decodes, by the name of a reader.
    consolidated : bool
        Whether consolidated metadata of a store are used if it has them; else each array is opened by its own.
    held : bool
        Whether an array is opened once, or anew for each read.
    """

    def __init__(
        self, where: Path | Store, pipeline: str = DEFAULT, *, consolidated: bool = True, held: bool = True
    ) -> None:
        take_threads()
        self._where, self._pipeline, self._hold = where, pipeline, held
        self._held: dict[str, zarr.Array] = {}
        self._group: zarr.Group | None = None
        self._store: Store
        self._format: Literal[2, 3] | None  # None for whichever it is
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
        """Return every array that is listed, by name, as its metadata say that are read here."""
        with using(DEFAULT):
            group = self._group or zarr.open_group(self._store, mode="r", use_consolidated=False)
            return {name: node for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}

    def stored(self) -> dict[str, StoredTensor]:
        return {name: StoredTensor(tuple(array.shape), array.dtype.name) for name, array in self.arrays().items()}

    def array(self, path: str) -> zarr.Array:
        """Return an array as zarr-python gives it, the same one each time where arrays are held."""
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
    """Reads arrays that are whole among others, in a folder whose metadata were not consolidated yet."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path)
        self._manifest = manifest

    def manifest_text(self) -> str:
        return self._manifest.to_json()

    def arrays(self) -> dict[str, zarr.Array]:
        return {spec.path: self.array(spec.path) for spec in self._manifest.tensors}
