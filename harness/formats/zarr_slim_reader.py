"""Readers of slimmed Zarr: straight from its files, or through a library that reads its arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.documents import Count, convert
from harness.errors import ArchiveError
from harness.files import read_bytes
from harness.formats.base import Reader, Selection
from harness.formats.describing import Opened, ShowsStorage, StoredTensor
from harness.formats.extents import ByteSource, opened
from harness.formats.recovered import Place
from harness.formats.selection import lengths, whole
from harness.formats.shard import MISSING
from harness.formats.shard_reads import find_chunks, gather
from harness.formats.sharded import VERSION, ShardedArray, describe
from harness.formats.threads import ThreadTeam, cores
from harness.formats.zarr_reader import ZarrReader, manifest_within, own_within
from harness.slimming.narrowing import Narrowing, by_name
from harness.trace.manifest import Manifest


class _Array(msgspec.Struct, tag_field="node_type", tag="array"):
    """The fields of an array's metadata that are validated before its chunks are read."""

    shape: list[Count]
    data_type: Any
    attributes: dict[str, Any] = {}


class _Group(msgspec.Struct, tag_field="node_type", tag="group"):
    """The metadata of a group, of which no field is validated."""


@dataclass(frozen=True)
class _Slimmed:
    """Slimming attributes of an archive: the array of each tensor, and the tensor's index in a shared array."""

    version: int
    setting: str
    places: dict[str, tuple[str, Count | None]]


class SlimArchive(Reader):
    """Base class of readers: the tensors of a slimmed archive, and the arrays that hold them."""

    def _open(self, folder: str, root: Any, path: object) -> None:
        """Parse the document of the root group; `folder` is the prefix of array names, `path` is for messages."""
        own = own_within(root, "zarr.json")
        manifest = manifest_within(path, own)
        slim = convert(own.get("slim"), _Slimmed, path, mend="", error=ArchiveError)
        if slim.version != VERSION:
            raise ArchiveError(f"{path} was slimmed by version {slim.version}; this reader knows version {VERSION}.")
        match root:
            case {"consolidated_metadata": {"kind": "inline", "metadata": dict(nodes)}}:
                convert(nodes, dict[str, _Array | _Group], path, mend="", error=ArchiveError)
            case _:
                raise ArchiveError(f"{path} has no consolidated metadata, which every slimmed archive has.")
        self._begin(folder, manifest, nodes, slim.places)

    def _begin(
        self, folder: str, manifest: str, nodes: Mapping[str, Any], places: Mapping[str, tuple[str, int | None]]
    ) -> None:
        self._folder, self._manifest, self._nodes, self._places = folder, manifest, nodes, places

    def manifest_text(self) -> str:
        return self._manifest

    def stored(self) -> dict[str, StoredTensor]:
        arrays = {
            name: StoredTensor(tuple(node["shape"]), str(node.get("attributes", {}).get("dtype", node["data_type"])))
            for name, node in self._nodes.items()
            if node["node_type"] == "array"
        }
        stacks = {name for name, index in self._places.values() if index is not None}
        found = {name: stored for name, stored in arrays.items() if name not in stacks}
        for tensor, (name, index) in self._places.items():
            if name in arrays and (index is None or index < arrays[name].shape[0]):
                found[tensor] = arrays[name] if index is None else replace(arrays[name], shape=arrays[name].shape[1:])
        return found

    def place(self, path: str) -> tuple[str, int | None]:
        """Return the array that holds a tensor, and its index there if it shares the array."""
        return self._places.get(path, (path, None))

    def as_it_is(self, path: str) -> bool:
        """Return whether a tensor is stored under its own name and in its own dtype."""
        return self.place(path) == (path, None) and self.narrowing(path).as_it_is

    def within(self, name: str, index: int | None, selection: Selection | None) -> Selection:
        """Return a selection of a tensor as a selection of the array that holds it."""
        shape = tuple(self._nodes[name]["shape"])
        return whole(shape, selection) if index is None else (slice(index, index + 1), *whole(shape[1:], selection))

    def narrowing(self, name: str) -> Narrowing:
        """Return how the values of an array were narrowed."""
        node = self._nodes[name]
        if node["node_type"] != "array":
            raise ArchiveError(f"{name}: expected an array, the archive has a group there.")
        return by_name(node["attributes"]["dtype"], node["attributes"]["narrowing"])


class SlimLibraryReader(SlimArchive):
    """Locates each tensor's array, reads it with a library's reader (closed with this one), and widens the values."""

    def __init__(self, path: Path, inner: Reader) -> None:
        self._inner = inner
        try:
            self._open(f"{path}/", json.loads(read_bytes(path / "zarr.json")), path)
        except BaseException:
            inner.close()
            raise

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        name, index = self.place(path)
        stored = self._inner.read(name, self.within(name, index, selection))
        return self.narrowing(name).widen(stored if index is None else stored[0])

    def opened(self, path: str) -> Opened:
        assert isinstance(self._inner, ShowsStorage)
        found = self._inner.opened(self.place(path)[0])
        return replace(found, reader=f"{found.reader}, values widened by this project")

    def close(self) -> None:
        self._inner.close()


class ZarrSlimReader(SlimArchive):
    """Reads each tensor from the files of its array, and widens narrowed values.

    Metadata and shard indices are read once. Entries are only added, so threads may share a reader.

    Parameters
    ----------
    path : Path
        The archive.
    """

    def __init__(self, path: Path) -> None:
        self._open(f"{path}/", json.loads(read_bytes(path / "zarr.json")), path)

    def _begin(
        self, folder: str, manifest: str, nodes: Mapping[str, Any], places: Mapping[str, tuple[str, int | None]]
    ) -> None:
        super()._begin(folder, manifest, nodes, places)
        self._known: dict[str, tuple[ShardedArray, Narrowing]] = {}
        self._indices: dict[tuple[str, int], np.ndarray] = {}
        self._crew = ThreadTeam(cores())

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        name, index = self.place(path)
        array, narrowing = self.find(name)
        wanted = self.within(name, index, selection)
        out = np.empty(lengths(wanted), narrowing.dtype)
        if 0 not in array.shape:  # else it has no file
            for number, part, target in array.files_of(wanted):
                with self._opened(name, number, part) as source:
                    chunks = self._indices.get((name, number))
                    if chunks is None:
                        chunks = self._indices[name, number] = self._chunks(source, name, number)
                    gather(source, array, chunks, part, narrowing, self._crew, out[target])
        return out if index is None else out[0]

    def find(self, name: str) -> tuple[ShardedArray, Narrowing]:
        """Return the description of an array, and the narrowing of its values."""
        if name not in self._known:
            if ".." in name.split("/"):
                raise ArchiveError(f"The array {name!r} is not in the archive.")
            narrowing = self.narrowing(name)
            array = describe(f"{self._folder}{name}", self._nodes[name])
            if array.dtype != narrowing.stored:
                raise ArchiveError(f"{name}: stored as {array.dtype}, which is not how {narrowing.name} is stored.")
            self._known[name] = array, narrowing
        return self._known[name]

    def _opened(self, name: str, number: int, wanted: Selection) -> AbstractContextManager[ByteSource]:
        """Open one file of an array, to read the selection `wanted`."""
        return opened(self.find(name)[0].file(number))

    def _chunks(self, source: ByteSource, name: str, number: int) -> np.ndarray:
        """Return offset and length of each chunk in one file of an array; `read` keeps them."""
        return find_chunks(source, self.find(name)[0])

    @cached_property
    def _library(self) -> ZarrReader:
        """A reader of the same archive with zarr-python."""
        return ZarrReader(Path(self._folder))

    def opened(self, path: str) -> Opened:
        name, _ = self.place(path)
        threads = f"{self._crew.threads}, the caller's among them"
        return replace(
            self._library.opened(name), reader="this project's own", cache="indices of shards", threads=threads
        )

    def close(self) -> None:
        self._crew.close()
        if "_library" in vars(self):
            self._library.close()


class RecoveredSlimReader(ZarrSlimReader):
    """Reads chunks at the offsets from a checkpoint, because an unfinished file has no index."""

    def __init__(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> None:
        self._recovered = places
        self._begin(f"{path}/", manifest.to_json(), {name: place["node"] for name, place in places.items()}, {})

    def _opened(self, name: str, number: int, wanted: Selection) -> AbstractContextManager[ByteSource]:
        first = f"{self._folder}{self._recovered[name]['file']}"  # in a stack of an earlier version, another tensor's
        return opened(self.find(name)[0].file(number) if number else first)

    def _chunks(self, source: ByteSource, name: str, number: int) -> np.ndarray:
        array = self.find(name)[0]
        each = prod(array.grid)
        chunks = np.full((each, 2), MISSING, np.uint64)
        listed = self._recovered[name]["chunks"][number * each : (number + 1) * each]
        chunks[: len(listed)] = np.array(listed, np.uint64).reshape(-1, 2)
        return chunks.reshape(*array.grid, 2)

    def opened(self, path: str) -> Opened:
        return Opened(reader="this project's own, by its journal", chunks=self.find(path)[0].chunks)
