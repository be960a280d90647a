"""HDF5 chunks by reference: positions of chunks are stored next to the file, and zarr-python reads the chunks."""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import product
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numcodecs
import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ndarray_copy

from harness.errors import ArchiveError
from harness.extensions.object_store.address import BLOCK
from harness.extensions.object_store.remotes import RemoteFormat, RemoteRoute, one_file
from harness.formats.base import Format, Reader, UnsupportedProfile
from harness.formats.hdf5 import Hdf5Format
from harness.formats.hdf5_file import BITSHUFFLE, BLOSC, CHECKSUM, MANIFEST, open_hdf5
from harness.formats.hdf5_filters import filters_of, in_memory
from harness.formats.zarr import root_attributes
from harness.formats.zarr_reader import ZarrReader
from harness.trace.manifest import Manifest

if TYPE_CHECKING:
    from harness.extensions.object_store.objects import StoredArchive

_GROUP = {"zarr_format": 2}

Reference = tuple[str, int, int]  # of a chunk: the template of its file, offset, and length


class Hdf5Chunk(Codec):
    """Codec of a stored chunk: Blosc is decoded as for Zarr's own arrays, other filters by HDF5 with a file in memory.

    Parameters
    ----------
    nbytes : int
        Bytes of the values of a chunk.
    dtype : str
        Type of the values.
    filters : list of [int, int, list of int]
        Code, flags and values of each filter, in HDF5's numbering; empty for unfiltered values.
    bare : bool
        Whether a chunk as long as its values was stored without the filters, except for a checksum.
    """

    codec_id = "trace-format-harness.hdf5"

    def __init__(self, nbytes: int, dtype: str, filters: list[Any], bare: bool) -> None:
        self.nbytes, self.dtype, self.filters, self.bare = nbytes, dtype, filters, bare

    @property
    def checksum(self) -> int:
        """Bytes of the checksum after each chunk, which HDF5 verifies; 0 without one."""
        return CHECKSUM if any(code == h5py.h5z.FILTER_FLETCHER32 for code, _, _ in self.filters) else 0

    def encode(self, buf: Any) -> Any:
        """Raise `NotImplementedError`: chunks are only read by reference."""
        raise NotImplementedError("chunks of HDF5 are only read by reference")

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the values of a chunk as bytes."""
        stored = bytes(buf)
        if not self.filters:
            stored = stored.ljust(self.nbytes, b"\0")  # the last block of a contiguous tensor may have fewer rows
        elif self.checksum or not (self.bare and len(stored) == self.nbytes):
            return ndarray_copy(self._decoded(stored), out)
        if len(stored) != self.nbytes:
            raise ArchiveError(f"a chunk has {len(stored)} bytes of values, {self.nbytes} were expected")
        return ndarray_copy(np.frombuffer(stored, np.uint8), out)

    def _decoded(self, stored: bytes) -> np.ndarray:
        codes, length = [code for code, _, _ in self.filters], len(stored) - self.checksum
        bare = self.bare and length == self.nbytes
        # Blosc and bitshuffle trust the sizes in the header of a chunk, so these are checked here.
        sizes = self.nbytes.to_bytes(4, "little") + length.to_bytes(4, "little")
        other = codes[0] == BLOSC and stored[4:8] + stored[12:16] != sizes
        if not bare and (other or (codes[0] == BITSHUFFLE and stored[:8] != self.nbytes.to_bytes(8, "big"))):
            raise ArchiveError("a chunk is not of the size that its reference says")
        if codes == [BLOSC]:
            return np.frombuffer(numcodecs.blosc.decompress(stored), np.uint8)
        values = np.empty(self.nbytes // np.dtype(self.dtype).itemsize, self.dtype)
        file, dataset = in_memory(self.filters, values.dtype, values.shape, values.shape, [((0,), stored, int(bare))])
        with file:
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values.view(np.uint8)


numcodecs.register_codec(Hdf5Chunk)


def references(path: Path) -> bytes:
    """Return the positions of an archive's chunks in version 1 of kerchunk's format, as an archive of Zarr format 2.

    A contiguous tensor is divided along its first axis into blocks of up to `BLOCK` bytes, or of one row.

    Parameters
    ----------
    path : Path
        An archive written by `Hdf5Format`.

    Returns
    -------
    bytes
        JSON, with the file as template ``u``. https://fsspec.github.io/kerchunk/spec.html

    Raises
    ------
    UnsupportedProfile
        If a filter cannot be decoded here, a tensor is in its header, or chunks without filters cannot be identified
        by their length.
    """
    metadata: dict[str, Any] = {".zgroup": _GROUP}
    chunks: dict[str, Reference] = {}
    with open_hdf5(path) as file:
        manifest = Manifest.from_json(file[MANIFEST][()].tobytes())
        metadata[".zattrs"] = root_attributes(manifest)

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Group):
                metadata[f"{name}/.zgroup"] = _GROUP
            elif name != MANIFEST:
                metadata[f"{name}/.zarray"], found = _array(item)
                chunks.update({f"{name}/{'.'.join(map(str, place)) or '0'}": part for place, part in found.items()})

        file.visititems(visit)
    texts = {".zmetadata": {"zarr_consolidated_format": 1, "metadata": metadata}}
    texts |= {name: metadata[name] for name in (".zgroup", ".zattrs")}
    refs = {name: json.dumps(text) for name, text in texts.items()} | chunks
    return json.dumps({"version": 1, "templates": {"u": path.name}, "refs": refs}).encode()


def _array(dataset: Any) -> tuple[dict[str, Any], dict[tuple[int, ...], Reference]]:
    """Return the Zarr metadata of a dataset, and its chunks by their place in the grid."""
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        edges, filters, bare, found = _chunked(dataset)
    elif layout == h5py.h5d.CONTIGUOUS:
        (edges, found), filters, bare = _contiguous(dataset), [], False
    else:
        raise UnsupportedProfile(f"{dataset.name[1:]} is in its header, where no reference can point")
    codec = Hdf5Chunk(prod(edges) * dataset.dtype.itemsize, dataset.dtype.str, filters, bare)
    about = {
        "zarr_format": 2,
        "shape": dataset.shape,
        "chunks": edges,
        "dtype": dataset.dtype.str,
        "compressor": codec.get_config(),
        "filters": None,
        "fill_value": dataset.fillvalue.item(),
        "order": "C",
    }
    return about, found


def _chunked(dataset: Any) -> tuple[tuple[int, ...], list[Any], bool, dict[tuple[int, ...], Reference]]:
    """Return the edges of chunks, their filters, whether some chunks lack these, and the references by place."""
    edges, name = dataset.chunks, dataset.name[1:]
    filters = filters_of(dataset.id.get_create_plist())
    for code, _, _ in filters:
        if not h5py.h5z.filter_avail(code):
            raise UnsupportedProfile(f"{name} has the HDF5 filter {code}, which cannot be decoded here")
    nbytes = prod(edges) * dataset.dtype.itemsize
    infos: list[Any] = []
    dataset.id.chunk_iter(infos.append)
    checksum = CHECKSUM if any(code == h5py.h5z.FILTER_FLETCHER32 for code, _, _ in filters) else 0
    every = (1 << len(filters) - bool(checksum)) - 1  # a checksum is never omitted
    bare = any(info.filter_mask for info in infos)
    for info in infos:
        # A reference is an offset and a length, so only the length can identify a chunk without the filters.
        told = not bare or (info.size == nbytes + checksum) == (info.filter_mask == every)
        if info.filter_mask not in (0, every) or not told:
            raise UnsupportedProfile(f"{name} has chunks without some of its filters, which no reference can express")
    places: dict[tuple[int, ...], Reference] = {}
    for info in infos:
        place = tuple(start // edge for start, edge in zip(info.chunk_offset, edges, strict=True))
        places[place] = ("{{u}}", info.byte_offset, info.size)
    return edges, filters, bare, places


def _contiguous(dataset: Any) -> tuple[tuple[int, ...], dict[tuple[int, ...], Reference]]:
    """Return the edges of blocks of rows, and their references by place; none for values that were never written."""
    if not dataset.shape:
        edges: tuple[int, ...] = ()
    else:
        row = max(1, prod(dataset.shape[1:]) * dataset.dtype.itemsize)
        edges = (min(max(1, BLOCK // row), dataset.shape[0] or 1), *(n or 1 for n in dataset.shape[1:]))
    length, block = dataset.id.get_storage_size(), prod(edges) * dataset.dtype.itemsize
    if not length:
        return edges, {}
    start = dataset.id.get_offset()
    grid = [range(ceil(n / edge)) for n, edge in zip(dataset.shape, edges, strict=True)]
    return edges, {
        place: ("{{u}}", start + number * block, min(block, length - number * block))
        for number, place in enumerate(product(*grid))
    }


def _open(backend: Format, objects: StoredArchive) -> Reader:
    return ZarrReader(objects.reference_store())


def _caches(backend: Format, files: str) -> str:
    assert isinstance(backend, Hdf5Format)
    return (
        f"{files}; {backend.settings()['caches']}; with the route reference the references alone, read whole when it "
        f"is opened: zarr {version('zarr')} then asks for each chunk, of contiguous tensors for up to "
        f"{BLOCK >> 10} KiB of rows, and nothing is kept"
    )


hdf5 = RemoteFormat({"ranges": one_file, "reference": RemoteRoute(_open, references)}, _caches)
