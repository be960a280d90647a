"""A foreign Zarr group: its arrays and attributes, read without running anything that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from harness.extensions.importing.source import Gathering, SourceError, readable, tree_files
from harness.files import check_tree

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


class ZarrStore:
    """A Zarr group that another program wrote.

    Parameters
    ----------
    path : Path
        Its folder.

    Attributes
    ----------
    arrays : dict of str to zarr.Array
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

    def __init__(self, path: Path) -> None:
        self._path = path
        check_tree(path)  # zarr-python would wait for a pipe, or read a device without end
        if not any((path / name).is_file() for name in ROOTS):
            raise SourceError(
                f"{path} has neither {' nor '.join(ROOTS)}: its metadata were not copied with its chunks."
            )
        self.arrays: dict[str, zarr.Array] = {}
        self.texts: dict[str, list[str]] = {}
        with readable(str(path)):
            group = zarr.open_group(path, mode="r", use_consolidated=False)
            members = dict(group.members(max_depth=None))
            self.attributes = dict(group.attrs.asdict())
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
            if array.dtype.kind in "biufc":
                self.arrays[name] = array
            else:
                self.texts[name] = [str(value) for value in np.asarray(array[...]).reshape(-1).tolist()]

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

    def note_missing_chunks(self, gathering: Gathering, name: str) -> None:
        """Note what of an array is not stored: Zarr reads it as the fill value, whether it was that or was lost."""
        array = self.arrays[name]
        with readable(f"{self._path}/{name}"):
            missing = array.nchunks - array.nchunks_initialized
        if missing > 0:
            gathering.notes.append(
                f"{missing} of {array.nchunks} chunks of {name} are not stored, which Zarr reads as {array.fill_value}"
            )


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
