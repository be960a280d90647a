"""Read slimmed Zarr straight from its files; zarr-python is asked only for how they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.documents import Count, convert
from harness.errors import ArchiveError
from harness.files import read_bytes
from harness.formats.base import Reader, Selection
from harness.formats.crew import Crew, cores
from harness.formats.describing import Opened, Stored
from harness.formats.extents import ByteSource, opened
from harness.formats.gather import find_chunks, gather
from harness.formats.recovered import Place, RecoveredReader
from harness.formats.selection import lengths, whole
from harness.formats.sharded import VERSION, ShardedArray, describe
from harness.formats.zarr_reader import ZarrReader, manifest_within, own_within
from harness.slimming.narrowing import Narrowing, by_name
from harness.trace.manifest import Manifest


class _Array(msgspec.Struct, tag_field="node_type", tag="array"):
    """What is asked of the metadata of an array before its chunks are."""

    shape: list[Count]
    data_type: Any
    attributes: dict[str, Any] = {}


class _Group(msgspec.Struct, tag_field="node_type", tag="group"):
    """The metadata of a group, of which nothing is asked."""


@dataclass(frozen=True)
class _Slimmed:
    """What a slimmed archive says of itself: the array that each tensor is in, and its place there if it shares one."""

    version: int
    setting: str
    places: dict[str, tuple[str, Count | None]]


class ZarrSlimReader(Reader):
    """Finds each tensor in its array and widens what was stored narrow.

    Metadata and indices of shards are read once; they are only ever added to, so threads may share a reader.

    Parameters
    ----------
    path : Path
        The archive.
    setting : str
        The one it has to be of, if any: a measurement of one setting may not read the other's archive.
    """

    def __init__(self, path: Path, setting: str = "") -> None:
        self._path = path
        self._begin(json.loads(read_bytes(path / "zarr.json")), path, setting)

    def _begin(self, root: Any, path: object, setting: str) -> None:
        own = own_within(root, "zarr.json")
        self._manifest = manifest_within(path, own)
        slim = convert(own.get("slim"), _Slimmed, path, mend="", error=ArchiveError)
        if slim.version != VERSION:
            raise ArchiveError(f"{path} was slimmed by version {slim.version}; this reader knows version {VERSION}.")
        if setting and slim.setting != setting:
            raise ArchiveError(f"{path} was slimmed in the setting {slim.setting!r}, not in {setting!r}.")
        self._places = slim.places
        self._nodes = _nodes(root, path)
        convert(self._nodes, dict[str, _Array | _Group], path, mend="", error=ArchiveError)
        self._known: dict[str, tuple[ShardedArray, Narrowing]] = {}
        self._indices: dict[tuple[str, int], np.ndarray] = {}
        self._crew = Crew(cores())

    def manifest_text(self) -> str:
        return self._manifest

    def stored(self) -> dict[str, Stored]:
        arrays = {
            name: Stored(tuple(node["shape"]), str(node.get("attributes", {}).get("dtype", node["data_type"])))
            for name, node in self._nodes.items()
            if node["node_type"] == "array"
        }
        stacks = {name for name, index in self._places.values() if index is not None}
        found = {name: stored for name, stored in arrays.items() if name not in stacks}
        for tensor, (name, index) in self._places.items():
            if name in arrays and (index is None or index < arrays[name].shape[0]):
                found[tensor] = arrays[name] if index is None else replace(arrays[name], shape=arrays[name].shape[1:])
        return found

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        name, index = self.place(path)
        array, narrowing = self.find(name)
        wanted = self.within(name, index, selection)
        if 0 in array.shape:
            values = np.empty(lengths(wanted), narrowing.dtype)  # it has no file
        else:
            number, inner = (0, wanted) if index is None else _in_file(array, wanted)
            with self._opened(array, number, inner) as source:
                chunks = self._indices.get((name, number))
                if chunks is None:
                    chunks = self._indices[name, number] = find_chunks(source, array)
                values = gather(source, array, chunks, inner, narrowing, self._crew)
        return values if index is None else values[0]

    def place(self, path: str) -> tuple[str, int | None]:
        """Return the array that a tensor is in, and its place there if it shares one."""
        return self._places.get(path, (path, None))

    def within(self, name: str, index: int | None, selection: Selection | None) -> Selection:
        """Return a selection of a tensor as one of the array that it is in."""
        shape = tuple(self._nodes[name]["shape"])
        return whole(shape, selection) if index is None else (slice(index, index + 1), *whole(shape[1:], selection))

    def find(self, name: str) -> tuple[ShardedArray, Narrowing]:
        """Look up an array."""
        if name not in self._known:
            if ".." in name.split("/"):
                raise ArchiveError(f"The array {name!r} is not in the archive.")
            node = self._nodes[name]
            if node["node_type"] != "array":
                raise ArchiveError(f"{name}: expected an array, the archive has a group there.")
            narrowing = by_name(node["attributes"]["dtype"], node["attributes"]["narrowing"])
            array = describe(self._folder(name), node)
            if array.dtype != narrowing.stored:
                raise ArchiveError(f"{name}: stored as {array.dtype}, which is not how {narrowing.name} is stored.")
            self._known[name] = array, narrowing
        return self._known[name]

    def _folder(self, name: str) -> str:
        """Return where an array lies, as `_opened` finds its files."""
        return f"{self._path}/{name}"

    def _opened(self, array: ShardedArray, number: int, wanted: Selection) -> AbstractContextManager[ByteSource]:
        """Open one file of an array, of which a selection will be read."""
        return opened(array.file(number))

    @cached_property
    def _library(self) -> ZarrReader:
        """The same archive as zarr-python sees it."""
        return ZarrReader(self._path)

    def opened(self, path: str) -> Opened:
        name, _ = self.place(path)
        own = f"this project's own, on {self._crew.threads} threads"
        return replace(self._library.opened(name), reader=own, cache="indices of shards")

    def close(self) -> None:
        self._crew.close()
        if "_library" in vars(self):
            self._library.close()


class RecoveredSlimReader(RecoveredReader):
    """Reads chunks where a checkpoint says that they lie; a file that was not finished has no index."""

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        super().__init__(path, manifest, places)
        self._crew = Crew(cores())

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        place = self.places[path]
        node, chunks = place["node"], place["chunks"]
        narrowing = by_name(node["attributes"]["dtype"], node["attributes"]["narrowing"])
        file = self.path / place["file"]
        array = describe(file.parent, node)
        wanted = whole(array.shape, selection)
        if not chunks:
            return np.empty(lengths(wanted), narrowing.dtype)
        with opened(file) as source:
            index = np.array(chunks, np.uint64).reshape(*array.grid, 2)
            return gather(source, array, index, wanted, narrowing, self._crew)

    def opened(self, path: str) -> Opened:
        chunks = describe(path, self.places[path]["node"]).chunks
        return Opened(reader="this project's own, by its journal", chunks=chunks)

    def close(self) -> None:
        self._crew.close()


def _in_file(array: ShardedArray, wanted: Selection) -> tuple[int, Selection]:
    """Return the file that a selection of one tensor of a stack lies in, and the selection within it."""
    number, start = divmod(wanted[0].start, array.grid[0])
    return number, (slice(start, start + 1), *wanted[1:])


def _nodes(root: Any, path: object) -> Mapping[str, Any]:
    """Return the metadata of every array and group by name out of a root's document."""
    match root:
        case {"consolidated_metadata": {"kind": "inline", "metadata": dict(nodes)}}:
            return nodes
    raise ArchiveError(f"{path} has no consolidated metadata, which every slimmed archive has.")
