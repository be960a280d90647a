"""Open HDF5 files; report refused locks, references to other files, and overstated chunk sizes."""

from __future__ import annotations

import errno
import os
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py

from harness.errors import MachineError
from harness.files import NO_LOCKS
from harness.formats.chunk_headers import HEADER, overstated

MANIFEST = "metadata/manifest"
"""The dataset that holds the manifest."""

# https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md
BLOSC, BITSHUFFLE, ZSTD = 32001, 32008, 32015

CHECKSUM = 4
"""Bytes that the filter ``fletcher32`` appends to a chunk."""

_Known = Literal["none", "blosc", "bitshuffle", "zstd"]
_CODECS: dict[tuple[int, ...], _Known] = {
    (): "none",
    (BLOSC,): "blosc",
    (BITSHUFFLE,): "bitshuffle",
    (h5py.h5z.FILTER_SHUFFLE, ZSTD): "zstd",
}
"""Codec whose header a chunk begins with, that of the last filter, by the numbers of all filters but the checksum."""

_REFUSED = (errno.EAGAIN, *NO_LOCKS)  # the first if another program holds the lock


def open_hdf5(path: Path | BinaryIO, mode: str = "r", **settings: Any) -> h5py.File:
    """Open a file as `h5py.File` does.

    Raises
    ------
    MachineError
        When the system refuses the lock that HDF5 asks for, which says nothing about the file.
    OSError
        When it cannot be opened for another reason.
    """
    try:
        return h5py.File(path, mode, **settings)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise MachineError(
            f"HDF5 was refused a lock on {path} ({os.strerror(error.errno)}): another program writes to it, or its "
            "filesystem has no locks; in the second case set HDF5_USE_FILE_LOCKING=FALSE."
        ) from error


def link_out(file: h5py.File) -> str:
    """Return a description of the first link or dataset that may refer to another file; empty if there is none.

    Soft links and virtual datasets count too: they may lead to an object that refers to another file.
    """

    def visit(name: bytes, link: Any) -> str | None:
        shown = repr(name.decode("utf-8", "replace"))
        if link.type != h5py.h5l.TYPE_HARD:
            return f"the link {shown}"
        opened = h5py.h5o.open(file.id, name)
        if not isinstance(opened, h5py.h5d.DatasetID):
            return None
        plist = opened.get_create_plist()
        if plist.get_layout() == h5py.h5d.VIRTUAL:
            return f"the virtual data set {shown}"
        return f"the data set {shown} with external storage" if plist.get_external_count() else None

    return file.id.links.visit(visit, info=True) or ""


def overstated_chunk(file: h5py.File, descriptor: int) -> str:
    """Return the first dataset with unknown filters or an overstated chunk, and the problem; empty if there is none.

    Parameters
    ----------
    file : h5py.File
        Open to read.
    descriptor : int
        Of the same file, for reading the first bytes of chunks.
    """

    def visit(name: str, item: object) -> str | None:
        if not isinstance(item, h5py.Dataset) or item.chunks is None:
            return None
        plist = item.id.get_create_plist()
        codes = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        checksum = CHECKSUM if codes[-1:] == [h5py.h5z.FILTER_FLETCHER32] else 0
        codes = codes[:-1] if checksum else codes
        codec, last = _CODECS.get(tuple(codes)), 1 << len(codes) - 1 if codes else 0
        if codec is None:
            return f"{name} is stored by a filter that no archive of this harness uses"
        nbytes, found = prod(item.chunks) * item.dtype.itemsize, ""

        def look(chunk: Any) -> None:
            nonlocal found
            # HDF5 skips a filter that makes a chunk no smaller, and sets its bit in the mask.
            own: _Known = "none" if codec is None or chunk.filter_mask & last else codec
            head = os.pread(descriptor, HEADER, chunk.byte_offset)
            found = found or overstated(own, head, chunk.size - checksum, nbytes)

        item.id.chunk_iter(look)
        return f"{name} {found}" if found else None

    return file.visititems(visit) or ""
