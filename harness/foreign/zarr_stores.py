"""Arrays of foreign Zarr stores: shapes first, values on demand, and only codecs of an allow-list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import UnknownCodecError

from harness.files import DOCUMENT, check_tree, read_bytes, tree_files
from harness.foreign.containers import natural, typed
from harness.foreign.source import ForeignArray, Gathering, SourceError, readable
from harness.formats.chunk_headers import HEADER, overstated
from harness.limits import LimitError, in_words
from harness.trace.schema import DTYPES

ROOTS = ("zarr.json", ".zgroup", ".zarray")
"""Metadata files, one of which makes a folder a Zarr group or array, in format 3 or 2."""

# Codecs of arrays of numbers and text. All others are refused: numcodecs' "pickle" runs code from the data.
_CODECS = {
    *("bytes", "transpose", "endian", "crc32c", "sharding_indexed", "vlen-utf8", "vlen-bytes", "vlen-array", "json2"),
    *("blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "lzma", "pcodec", "zfpy"),
    *("shuffle", "delta", "bitround", "quantize", "fixedscaleoffset", "packbits", "astype"),
    *("adler32", "crc32", "fletcher32", "jenkins_lookup3"),
}
_TEXTS = {"string", "bytes", "variable_length_bytes", "null_terminated_bytes", "fixed_length_utf32"}
"""Names of text types in format 3."""
_STORED = "stored with"  # first words of a reason that is about codecs
_CHUNK = re.compile(r"c|(c[/.])?\d+([/.]\d+)*")
"""Name of a chunk file, relative to the folder of its array."""

Document = dict[str, Any]


class ZarrStore:
    """A Zarr group that another program wrote.

    Parameters
    ----------
    gathering : Gathering
        Gathering for the folder of the store; gets its files, and notes on chunks that are not stored.
    left_out : dict, optional
        Filled with the reason for each array that is not in `arrays`, by name. Without it, an array with an unsupported
        codec is refused, and all other arrays that are not numeric are in `texts`.

    Attributes
    ----------
    arrays : dict of str to ForeignArray
        Numeric arrays by name. The name is empty if the folder itself is an array.
    texts : mapping of str to list of str
        Arrays of text and of other types by name, each read on access.
    attributes : dict
        Attributes of the root group and of its group ``metadata``.

    Raises
    ------
    SourceError
        If the store is damaged, lacks its metadata, or names a codec that is not on the allow-list.
    """

    def __init__(self, gathering: Gathering, left_out: dict[str, str] | None = None) -> None:
        self._path, self._gathering = gathering.path, gathering
        check_tree(self._path)  # zarr-python would wait for a pipe, or read a device without end
        if not any((self._path / name).is_file() for name in ROOTS):
            raise SourceError(
                f"{self._path} has neither {' nor '.join(ROOTS)}: its metadata were not copied with its chunks."
            )
        self.arrays: dict[str, ForeignArray] = {}
        self.attributes: dict[str, Any] = {}
        gathering.file(self._path)
        with readable(self._path):
            nodes = dict(_nodes(self._path))
        texts = []
        for name in sorted(nodes, key=natural):
            document = nodes[name]
            if name in ("", "metadata"):
                found = document.get("attributes")
                self.attributes |= found if isinstance(found, dict) else {}
            if not _is_array(document):
                continue
            with readable(f"{self._path}/{name}"):
                why = _unreadable(document) or self._taken(name, document)
            if not why:
                continue
            if left_out is not None:
                left_out[name] = why
            elif why.startswith(_STORED):
                raise SourceError(f"{self._path}/{name} is {why}.")
            else:
                texts.append(name)
        self.texts = _Texts(self._path, texts)

    def _taken(self, name: str, document: Document) -> str:
        """Add a numeric array to `arrays`; for any other array, return why it is left out."""
        kind = _dtype(document)
        if kind is not None and kind.kind in "SUO":
            return "text"
        if kind is None or (kind.name not in DTYPES and kind != np.dtype("V2")):
            stated = document.get("data_type", document.get("dtype"))
            return f"of type {stated if isinstance(stated, str) else json.dumps(stated)}, which is not supported"
        try:
            array = zarr.open_array(self._path, path=name, mode="r")
        except UnknownCodecError as error:  # the package of the codec is not installed
            return f"{_STORED} a codec that is not installed: {error}"
        self._check_frames(name, document, array)
        named: Any = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
        stated = named if isinstance(named, (list, tuple)) else ()
        axes = tuple(map(str, stated)) if len(stated) == array.ndim and all(stated) else ()
        self.arrays[name] = typed(ForeignArray.of(array)._replace(axes=axes, files=(self._path / name,)))
        # Zarr reads a missing chunk as the fill value, whether it held only that or was lost.
        files = prod(-(-n // max(1, edge)) for n, edge in zip(array.shape, array.shards or array.chunks, strict=True))
        if (missing := files - sum(1 for _ in self._chunks(name))) > 0:
            of = f"{missing} of {files} {'shards' if array.shards else 'chunks'} of {name or self._path.name}"
            self._gathering.notes.append(f"{of} are not stored, which Zarr reads as {array.fill_value}")
        return ""

    def _chunks(self, name: str) -> Iterator[Path]:
        folder = self._path / name
        return (file for file in tree_files(folder) if _CHUNK.fullmatch(file.relative_to(folder).as_posix()))

    def _check_frames(self, name: str, document: Document, array: zarr.Array) -> None:
        """Refuse a chunk that Blosc would read beyond its end, or inflate beyond the size of a chunk.

        The header states both lengths: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.
        """
        codecs = [document.get("compressor")] if document["zarr_format"] == 2 else document["codecs"]
        outermost = codecs[-1] if codecs else None
        if not isinstance(outermost, dict) or "blosc" not in (outermost.get("id"), outermost.get("name")):
            return
        plain = not document.get("filters") and len(codecs) <= 2
        for file in self._chunks(name):
            with file.open("rb") as handle:
                head = handle.read(HEADER)
            size = file.stat().st_size
            if len(head) < HEADER or int.from_bytes(head[12:16], "little") != size:
                raise SourceError(f"{file} is truncated or damaged: it is not as long as its header says.")
            nbytes = prod(array.chunks) * array.dtype.itemsize
            if plain and (problem := overstated("blosc", head, size, nbytes)):
                raise SourceError(f"{file} {problem}.")


class _Texts(Mapping[str, list[str]]):
    """Arrays of text, each read on access, because short metadata can declare one that fills the memory."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names = path, names

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._names:
            raise KeyError(name)
        with readable(f"{self._path}/{name}"):
            array = zarr.open_array(self._path, path=name, mode="r")
            if array.nbytes > DOCUMENT:
                raise LimitError(f"it has {in_words(array.nbytes)} of text, and {in_words(DOCUMENT)} are read at most")
            return [str(value) for value in np.asarray(array[...]).reshape(-1).tolist()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _nodes(root: Path) -> Iterator[tuple[str, Document]]:
    """Yield the name and metadata of each array and group of a store, without opening any."""
    three, pending = (root / "zarr.json").is_file(), [root]
    while pending:
        folder = pending.pop()
        document = _document(folder, three)
        if document is not None:
            yield folder.relative_to(root).as_posix() if folder != root else "", document
        if document is None or not _is_array(document):
            pending += (child for child in folder.iterdir() if child.is_dir() and not child.is_symlink())


def _document(folder: Path, three: bool) -> Document | None:
    """Read the metadata of a node, in format 2 including its attributes; None if the folder is no node."""
    name = next((name for name in ROOTS[:1] if three and (folder / name).is_file()), "")
    if not three:
        name = next((name for name in (".zarray", ".zgroup") if (folder / name).is_file()), "")
    if not name:
        return None
    document: Document = json.loads(read_bytes(folder / name))
    if not three and (folder / ".zattrs").is_file():
        document = {**document, "attributes": json.loads(read_bytes(folder / ".zattrs"))}
    return document


def _is_array(document: Document) -> bool:
    return document.get("node_type") == "array" or "dtype" in document


def _unreadable(document: Document) -> str:
    """Return why an array is not decoded; empty if all of its codecs are known."""
    unknown = set(_codec_names(document)) - _CODECS
    return f"{_STORED} {min(unknown)!r}, which is not a supported codec" if unknown else ""


def _dtype(document: Document) -> np.dtype | None:
    """Return the dtype of an array, for text of any length; None for a type that is not supported."""
    if "dtype" in document:  # format 2
        try:
            return np.dtype(document["dtype"]) if isinstance(document["dtype"], str) else None
        except TypeError:
            return None
    stated = document["data_type"]
    name, facts = (stated, {}) if isinstance(stated, str) else (stated["name"], stated.get("configuration", {}))
    if name == "raw_bytes":
        return np.dtype(f"V{int(facts['length_bytes'])}")
    if name in _TEXTS:
        return np.dtype(str)
    return np.dtype(name) if name in DTYPES else None


def _codec_names(stored: Document) -> Iterator[str]:
    for key in ("codecs", "filters", "compressor", "index_codecs"):
        found = stored.get(key) or []
        for codec in [found] if isinstance(found, dict) else found:
            if not isinstance(codec, dict):
                yield str(codec).removeprefix("numcodecs.")
                continue
            yield str(codec.get("id") or codec.get("name")).removeprefix("numcodecs.")
            inner = codec.get("configuration")
            yield from _codec_names(inner if isinstance(inner, dict) else {})
