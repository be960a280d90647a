"""The arrays of foreign NPZ, HDF5 and Zarr files: shapes first, values when asked for, nothing run that they name."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import zarr
from numpy.lib import format as npy

from harness.foreign.source import ForeignArray, Gathering, SourceError, readable, tree_files
from harness.files import check_tree
from harness.formats.hdf5_file import open_hdf5
from harness.zips import check_inflation, open_zip

ROOTS = ("zarr.json", ".zgroup")
"""One of them makes a folder a Zarr group, in format 3 and in format 2."""
_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs")
_BLOSC_HEADER = 16  # bytes

# The codecs of arrays of numbers and of text. What is not listed is refused: numcodecs' "pickle" runs what it decodes.
_CODECS = {
    *("bytes", "transpose", "endian", "crc32c", "sharding_indexed", "vlen-utf8", "vlen-bytes", "vlen-array", "json2"),
    *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "pcodec", "zfpy"),
    *("shuffle", "delta", "bitround", "quantize", "fixedscaleoffset", "packbits", "astype"),
    *("adler32", "crc32", "fletcher32", "jenkins_lookup3"),
}


def npz_arrays(path: Path) -> dict[str, ForeignArray]:
    """List the arrays of an NPZ by name; one with pickled objects is refused."""

    def load(name: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as file:
            array: np.ndarray = file[name]
        return array

    found = {}
    with readable(path), open_zip(path) as file:
        for info in file.infolist():
            if info.filename.endswith(".npy"):
                check_inflation(file, info)
                name = info.filename.removesuffix(".npy")
                with file.open(info) as member:
                    found[name] = ForeignArray(*_header(member, info, f"{path}:{info.filename}"), partial(load, name))
    return found


def _header(member: IO[bytes], info: zipfile.ZipInfo, origin: str) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise SourceError(f"{origin} has NumPy's format {version}, which is for records and is not read here.")
    shape, _, dtype = read(member)
    if dtype.hasobject or member.tell() + prod(shape) * dtype.itemsize != info.file_size:
        raise SourceError(f"{origin} is damaged, or holds objects: its size is not that of {dtype} of shape {shape}.")
    return shape, dtype


def hdf5_arrays(path: Path) -> dict[str, ForeignArray]:
    """List the datasets of an HDF5 file by name; links are not followed, values in other files refused."""
    found = {}

    def visit(name: str, node: Any) -> None:  # follows neither soft nor external links
        if isinstance(node, h5py.Dataset):
            if node.external or node.is_virtual:
                raise SourceError(f"{path}: the values of {name} lie in another file; import that.")
            found[name] = ForeignArray(node.shape, node.dtype, partial(_Rows, path, name, node.chunks))

    with readable(path), open_hdf5(path) as file:
        file.visititems(visit)
    return found


class _Rows:
    """A dataset that is opened for each part that is read, so that no handle outlives the import."""

    def __init__(self, path: Path, name: str, chunks: tuple[int, ...] | None) -> None:
        self._path, self._name, self.chunks = path, name, chunks

    def __getitem__(self, part: slice) -> np.ndarray:
        with open_hdf5(self._path) as file:
            return np.asarray(file[self._name][part])


class ZarrStore:
    """A Zarr group that another program wrote.

    Parameters
    ----------
    gathering : Gathering
        Of its folder; takes its files, and notes what is not stored.

    Attributes
    ----------
    arrays : dict of str to ForeignArray
        Arrays of numbers, by name.
    texts : dict of str to list of str
        Arrays of text, read, by name.
    attributes : dict
        Of the root group and of its group ``metadata``.

    Raises
    ------
    SourceError
        When it is damaged, lacks its metadata, or names a codec that is not on the list.
    """

    def __init__(self, gathering: Gathering) -> None:
        self._path, self._gathering = gathering.path, gathering
        check_tree(self._path)  # zarr-python would wait for a pipe, or read a device without end
        if not any((self._path / name).is_file() for name in ROOTS):
            raise SourceError(
                f"{self._path} has neither {' nor '.join(ROOTS)}: its metadata were not copied with its chunks."
            )
        self.arrays: dict[str, ForeignArray] = {}
        self.texts: dict[str, list[str]] = {}
        with readable(self._path):
            group = zarr.open_group(self._path, mode="r", use_consolidated=False)
            members = dict(group.members(max_depth=None))
            self.attributes = dict(group.attrs.asdict())
        gathering.file(self._path)
        for name in sorted(members, key=_order):
            node = members[name]
            if isinstance(node, zarr.Array):
                self._take(name, node)
            elif name == "metadata":
                self.attributes |= node.attrs.asdict()

    def _take(self, name: str, array: zarr.Array) -> None:
        origin = f"{self._path}/{name}"
        with readable(origin):
            stored = json.loads(json.dumps(array.metadata.to_dict(), default=str))
            if unknown := set(_codec_names(stored)) - _CODECS:
                raise SourceError(f"{origin} is stored with {min(unknown)!r}, which is no codec that is read here.")
            self._check_frames(name, stored)
            if array.dtype.kind not in "biufc":
                self.texts[name] = [str(value) for value in np.asarray(array[...]).reshape(-1).tolist()]
                return
            self.arrays[name] = ForeignArray.of(array)
            # Zarr reads what is not stored as the fill value, whether it was that or was lost.
            if (missing := array.nchunks - array.nchunks_initialized) > 0:
                of = f"{missing} of {array.nchunks} chunks of {name}"
                self._gathering.notes.append(f"{of} are not stored, which Zarr reads as {array.fill_value}")

    def _check_frames(self, name: str, stored: dict[str, Any]) -> None:
        """Refuse a chunk that Blosc would read beyond the end of: its header says how long it has to be.

        Header: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.
        """
        outermost = stored.get("compressor") or (stored.get("codecs") or [None])[-1]
        if not isinstance(outermost, dict) or "blosc" not in (outermost.get("id"), outermost.get("name")):
            return
        for file in tree_files(self._path / name):
            if file.name in _DOCUMENTS:
                continue
            with file.open("rb") as handle:
                head = handle.read(_BLOSC_HEADER)
            if len(head) < _BLOSC_HEADER or int.from_bytes(head[12:16], "little") != file.stat().st_size:
                raise SourceError(f"{file} is truncated or damaged: it is not as long as its header says.")


def _order(name: str) -> tuple[tuple[int, str], ...]:
    # layer_10 after layer_9, not after layer_1
    parts = (part.rpartition("_") for part in name.split("/"))
    return tuple((int(last), first) if last.isdecimal() else (-1, f"{first}_{last}") for first, _, last in parts)


def _codec_names(stored: dict[str, Any]) -> Iterator[str]:
    for key in ("codecs", "filters", "compressor", "index_codecs"):
        found = stored.get(key) or []
        for codec in [found] if isinstance(found, dict) else found:
            if not isinstance(codec, dict):
                yield str(codec).removeprefix("numcodecs.")
                continue
            yield str(codec.get("id") or codec.get("name")).removeprefix("numcodecs.")
            inner = codec.get("configuration")
            yield from _codec_names(inner if isinstance(inner, dict) else {})
