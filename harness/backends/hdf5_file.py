"""Open an HDF5 file: what it means when the system refuses a lock, and what in a file leads out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from harness.errors import MachineError
from harness.files import NO_LOCKS

_REFUSED = (errno.EAGAIN, *NO_LOCKS)  # the first where another program holds the lock


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
    """Name the first thing in a file by which reading it would read another file; empty where there is none.

    Soft links are refused too, and data sets made of others: they may lead on to one that leads out.
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
