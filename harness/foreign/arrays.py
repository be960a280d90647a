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

from harness.errors import HarnessError
from harness.files import WHOLE, check_tree, open_regular, tree_files
from harness.foreign.containers import Arrays, Container, natural
from harness.foreign.flat_array import FlatArray
from harness.foreign.source import ForeignArray, Gathering, SourceError, readable
from harness.formats.hdf5_file import open_hdf5
from harness.trace.stream import block_rows
from harness.zips import DAMAGE, check_inflation, open_zip

ROOTS = ("zarr.json", ".zgroup", ".zarray")
"""One of them makes a folder a Zarr group or array, in format 3 and in format 2."""
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
    """List the arrays of an NPZ by name; of pickled objects only the type is told."""
    found = {}
    with readable(path), open_zip(path) as file:
        for info in file.infolist():
            if info.filename.endswith(".npy"):
                check_inflation(file, info)
                name, origin = info.filename.removesuffix(".npy"), f"{path}:{info.filename}"
                with file.open(info) as member:
                    shape, fortran, dtype = _header(member, info.file_size, origin)
                rows = None if fortran or not shape else partial(_member_rows, path, info, shape, dtype)
                load = partial(_member_whole, path, name, prod(shape) * dtype.itemsize)
                found[name] = ForeignArray(shape, dtype, load, rows)
    return found


def _member_whole(path: Path, name: str, nbytes: int) -> np.ndarray:
    if nbytes > WHOLE:  # in Fortran order, for others come by rows
        raise SourceError(f"{path}: {name} is in Fortran order and too large to be read at once: save it in C order.")
    with np.load(path, allow_pickle=False) as file:
        array: np.ndarray = file[name]
    return array


def _member_rows(path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    step = block_rows(shape, dtype.itemsize)
    with open_zip(path) as file, file.open(info) as member:
        _header(member, info.file_size, f"{path}:{info.filename}")
        for start in range(0, shape[0], step):
            rows = min(step, shape[0] - start)
            data = bytearray(member.read(rows * prod(shape[1:]) * dtype.itemsize))
            yield np.frombuffer(data, dtype).reshape(rows, *shape[1:])


def _header(member: IO[bytes], nbytes: int, origin: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise SourceError(f"{origin} has NumPy's format {version}, which is for records and is not supported.")
    shape, fortran, dtype = read(member)
    if not dtype.hasobject and member.tell() + prod(shape) * dtype.itemsize != nbytes:
        raise SourceError(f"{origin} is damaged: its size is not that of {dtype} of shape {shape}.")
    return shape, fortran, dtype


def _npy(path: Path) -> Arrays:
    with readable(path), open_regular(path) as file:
        shape, fortran, dtype = _header(file, path.stat().st_size, str(path))
        flat = FlatArray(path, dtype, file.tell(), shape, fortran)
    return Arrays(found={"": ForeignArray.of(flat)})


def hdf5_arrays(path: Path, left_out: dict[str, str] | None = None) -> dict[str, ForeignArray]:
    """List the datasets of an HDF5 file by name; links are not followed.

    Parameters
    ----------
    path : Path
        The file.
    left_out : dict, optional
        Takes, by name, why something is not among them; without it, values in other files are refused.
    """
    found = {}

    def visit(name: str, node: Any) -> None:  # follows neither soft nor external links
        if not isinstance(node, h5py.Dataset):
            return
        if node.external or node.is_virtual:
            if left_out is None:
                raise SourceError(f"{path}: the values of {name} lie in another file; import that.")
            left_out[name] = "its values lie in another file"
        elif node.shape is not None and not _is_dimension_only(node):
            axes = tuple(_dimension(node, axis) for axis in range(node.ndim))
            named = axes if all(axes) else ()
            chunks, load = node.chunks or (1,) * node.ndim, partial(_Rows, path, name, node.chunks)
            found[name] = ForeignArray(node.shape, node.dtype, load, axes=named, chunks=chunks)

    with readable(path), open_hdf5(path) as file:
        file.visititems(visit)
    return found


_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


def _is_dimension_only(dataset: h5py.Dataset) -> bool:
    """Say whether a dataset is how netCDF stores the name and length of an axis, which is no array of anybody's."""
    return bool(dataset.attrs.get("NAME", b"")[: len(_NO_VARIABLE)] == _NO_VARIABLE)


def _dimension(dataset: h5py.Dataset, axis: int) -> str:
    """Return the name that a file gives to an axis: its label, or its netCDF dimension; empty where it gives none."""
    named = dataset.dims[axis]
    if named.label or not len(named):
        return str(named.label)
    return str(named[0].name.rpartition("/")[2])


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
        Arrays of numbers, by name, which is empty where the folder itself is one.
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
            root = zarr.open(self._path, mode="r", use_consolidated=False)
            members = {"": root} if isinstance(root, zarr.Array) else dict(root.members(max_depth=None))
            self.attributes = dict(root.attrs.asdict())
        gathering.file(self._path)
        for name in sorted(members, key=natural):
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
                raise SourceError(f"{origin} is stored with {min(unknown)!r}, which is not a supported codec.")
            self._check_frames(name, stored)
            if array.dtype.kind not in "biufc":
                self.texts[name] = [str(value) for value in np.asarray(array[...]).reshape(-1).tolist()]
                return
            named: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
            stated = named if isinstance(named, (list, tuple)) else ()
            axes = tuple(map(str, stated)) if len(stated) == array.ndim and all(stated) else ()
            self.arrays[name] = ForeignArray.of(array)._replace(axes=axes, files=(self._path / name,))
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


def _starts(path: Path, signature: bytes, *places: int) -> bool:
    """Say whether a regular file has a signature at one of some places; never raises for a stray file."""
    try:
        with open_regular(path) as file:
            return any(file.seek(place) == place and file.read(len(signature)) == signature for place in places)
    except (OSError, HarnessError):
        return False


def _is_npz(path: Path) -> bool:
    """Tell an NPZ from the other zip files there are: it has arrays, and nothing else."""
    if not _starts(path, b"PK\x03\x04", 0):
        return False
    try:
        with open_zip(path) as file:
            return any(name.endswith(".npy") for name in file.namelist())
    except (OSError, HarnessError, *DAMAGE):
        return path.suffix == ".npz"  # reading it will say what is wrong


def _npz(path: Path) -> Arrays:
    return Arrays(found=npz_arrays(path))


def _hdf5(path: Path) -> Arrays:
    left_out: dict[str, str] = {}
    return Arrays(found=hdf5_arrays(path, left_out), left_out=left_out)


def _zarr(path: Path) -> Arrays:
    store = ZarrStore(Gathering(path, "zarr"))
    return Arrays(found=store.arrays, left_out=dict.fromkeys(store.texts, "text"))


_HDF5_PLACES = (0, *(512 << power for power in range(12)))  # as the format's description says

npz_file = Container(name="npz", description="numpy.savez, deflated or not", recognises=_is_npz, arrays=_npz)
npy_file = Container(
    name="npy",
    description="numpy.save, also folders of them",
    recognises=lambda path: _starts(path, b"\x93NUMPY", 0),
    arrays=_npy,
)
hdf5_file = Container(
    name="hdf5",
    description="HDF5 of any layout, netCDF 4",
    recognises=lambda path: _starts(path, b"\x89HDF\r\n\x1a\n", *_HDF5_PLACES),
    arrays=_hdf5,
)
zarr_folder = Container(
    name="zarr",
    description="Zarr 2 and 3, groups and arrays",
    recognises=lambda path: path.is_dir() and any((path / name).is_file() for name in ROOTS),
    arrays=_zarr,
)
