"""Read slimmed Zarr straight from its files; zarr-python is asked only for what is not known here."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.backends.base import Reader, Selection, Stored
from harness.backends.crew import Crew, cores
from harness.backends.gather import find_chunks, gather, opened
from harness.backends.narrowing import Narrowing, by_name
from harness.backends.replay import Replay, whole
from harness.backends.sharded import ShardedArray, describe
from harness.backends.zarr import ZarrReader, manifest_within, own_within
from harness.backends.zarr_replay import replay_array
from harness.errors import ArchiveError


class ZarrSlimReader(Reader):
    """Reads through the names of equal tensors and widens what was stored narrow.

    Metadata and indices of shards are read once; they are only ever added to, so threads may share a reader.

    Parameters
    ----------
    path : Path
        The archive.
    setting : str
        The one it has to be of: a measurement of one setting may not read the other's archive.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self._path = path
        root = json.loads((path / "zarr.json").read_bytes())
        own = own_within(root, "zarr.json")
        self._manifest = manifest_within(path, own)
        slim = own.get("slim", {})
        if slim.get("version") != 1:
            raise ArchiveError(f"{path} was slimmed by version {slim.get('version')!r}; this reader knows version 1.")
        # Archives from before there were settings are small ones.
        if (found := slim.get("setting", "small")) != setting:
            raise ArchiveError(f"{path} was slimmed in the setting {found!r}, not in {setting!r}.")
        self._aliases: dict[str, str] = slim["aliases"]
        self._nodes = _nodes(path, root)
        self._known: dict[str, tuple[ShardedArray | None, Narrowing]] = {}
        self._indices: dict[str, np.ndarray] = {}
        self._crew = Crew(cores())
        self._library: ZarrReader | None = None
        self._lock = threading.Lock()

    def manifest_text(self) -> str:
        return self._manifest

    def stored(self) -> dict[str, Stored]:
        found = {
            name: Stored(tuple(node["shape"]), str(node.get("attributes", {}).get("dtype", node["data_type"])))
            for name, node in self._nodes.items()
            if node["node_type"] == "array"
        }
        return found | {alias: found[path] for alias, path in self._aliases.items() if path in found}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        name = self._aliases.get(path, path)
        array, narrowing = self._find(name)
        if array is None:
            return narrowing.widen(self._through_library().read(name, selection))
        wanted = whole(array.shape, selection)
        if 0 in array.shape:
            return np.empty([part.stop - part.start for part in wanted], narrowing.dtype)  # it has no file
        with opened(array.file) as descriptor:
            index = self._indices.get(name)
            if index is None:
                index = self._indices[name] = find_chunks(descriptor, array)
            return gather(descriptor, array, index, wanted, narrowing, self._crew)

    def _find(self, name: str) -> tuple[ShardedArray | None, Narrowing]:
        """Look up an array; None in its place for one that only zarr-python may know."""
        if name not in self._known:
            node = self._nodes[name]
            if node["node_type"] != "array":
                raise ArchiveError(f"{name}: expected an array, the archive has a group there.")
            narrowing = by_name(node["attributes"]["dtype"], node["attributes"]["narrowing"])
            array = describe(self._path / name, node)
            if array is not None and array.dtype != narrowing.stored:
                raise ArchiveError(f"{name}: stored as {array.dtype}, which is not how {narrowing.name} is stored.")
            self._known[name] = array, narrowing
        return self._known[name]

    def _through_library(self) -> ZarrReader:
        """Open the archive with zarr-python, at most once."""
        with self._lock:
            if self._library is None:
                self._library = ZarrReader(self._path)
            return self._library

    def locate(self, path: str) -> None:
        self._find(self._aliases.get(path, path))

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        name = self._aliases.get(path, path)
        _, narrowing = self._find(name)
        return replay_array(self._path, self._through_library().array(name), selection, narrowing.widen)

    def close(self) -> None:
        self._crew.close()
        if self._library is not None:
            self._library.close()


def _nodes(path: Path, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata of every array and group by name, from its consolidated copy where there is one."""
    match root:
        case {"consolidated_metadata": {"kind": "inline", "metadata": dict(nodes)}}:
            return nodes
    files = (file for file in path.rglob("zarr.json") if file.parent != path)
    return {file.parent.relative_to(path).as_posix(): json.loads(file.read_bytes()) for file in files}
