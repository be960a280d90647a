"""Members of a zip file that holds Zarr: its manifest and the positions of chunks, without decoding."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.documents import parse_json
from harness.errors import ArchiveError
from harness.files import DOCUMENT
from harness.formats.extents import FilePart
from harness.formats.zarr_overstated import DOCUMENTS
from harness.formats.zarr_reader import ROOTS, manifest_within, own_within
from harness.limits import LimitError, in_words
from harness.zips import open_zip, read_member

METADATA = "metadata"
"""Group that holds the manifest in its attributes, because it is written last and the root group first."""

_HEADER = 30  # bytes of a member's header before its name


def first_member(path: Path) -> str:
    """Return the name of the first member; empty if the file does not begin with one."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
        name = file.read(min(int.from_bytes(head[26:28], "little"), 1 << 10))
    return name.decode("utf-8", "replace") if head.startswith(b"PK\x03\x04") else ""


def stored_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file after checking that all members are stored, and that documents do not exceed `DOCUMENT` bytes.

    Raises
    ------
    ArchiveError
        If a member is compressed: Zarr does not limit its inflated size.
    LimitError
        If a document is too large.
    """
    file = open_zip(path)
    try:
        for info in file.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ArchiveError(f"{path}: {info.filename} is compressed, and only stored members are read.")
            if info.filename.rpartition("/")[2] in DOCUMENTS and info.file_size > DOCUMENT:
                raise LimitError(
                    f"{path}: {info.filename} has {in_words(info.file_size)}, and {in_words(DOCUMENT)} are the most."
                )
    except BaseException:
        file.close()
        raise
    return file


def own_in(file: zipfile.ZipFile) -> dict[str, Any]:
    """Return this harness's metadata of an archive; empty for an archive of another program."""
    for name in ROOTS:
        if (member := f"{METADATA}/{name}") in file.NameToInfo:
            return own_within(parse_json(read_member(file, member)), name)
    return {}


def stored_text(path: Path) -> str:
    """Return the text of an archive's manifest."""
    with stored_zip(path) as file:
        return manifest_within(path, own_in(file))


def chunks_in(file: zipfile.ZipFile, descriptor: int, array: str) -> Iterator[FilePart]:
    """Yield the chunks or shards of an array, as parts of the file.

    Parameters
    ----------
    file : ZipFile
        From `stored_zip`.
    descriptor : int
        Descriptor of the same file.
    array : str
        Name of the array.
    """
    for info in file.infolist():
        folder, _, name = info.filename.rpartition("/")
        if name not in DOCUMENTS and f"{folder}/".startswith(f"{array}/"):
            head = os.pread(descriptor, _HEADER, info.header_offset)
            start = info.header_offset + _HEADER + sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
            yield FilePart(descriptor, start, info.file_size)
