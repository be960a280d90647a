"""Read Zarr with zarr-python, also archives that were not finished, and say what its chunks state beforehand."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Literal

import numcodecs
import numpy as np
import zarr
import zarr.core.codec_pipeline
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.codecs.numcodecs import PCodec

from harness.errors import ArchiveError
from harness.files import open_regular
from harness.formats.base import Reader, Selection
from harness.formats.chunk_headers import HEADER, overstated
from harness.formats.describing import Opened, StoredTensor
from harness.formats.extents import LocalFile
from harness.formats.settings import Parameter
from harness.formats.shard import MISSING, grid_of, read_index
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, role_of

KEY = "trace_format_harness"
"""Under which an archive's root group has what this harness says of it."""

_METADATA = {"zarr.json", ".zarray", ".zattrs"}

DEFAULT_PIPELINE = "default"
_PIPELINES = {"fused": "zarr.core.codec_pipeline.FusedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
_TURNS = threading.Lock()  # the setting is one for the whole process


@cache
def pipeline_parameter() -> Parameter:
    """Return the choice of a codec pipeline, with those that are installed as candidates."""
    missing = {}
    if not hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline"):
        missing["fused"] = f"it needs zarr 3.4 or newer, here is {zarr.__version__}"
    if importlib.util.find_spec("zarrs") is None:
        missing["zarrs"] = "it needs the package 'zarrs': pip install 'trace-format-harness[readers]'"
    return Parameter(
        name="pipeline",
        about="what encodes and decodes chunks",
        default=DEFAULT_PIPELINE,
        values=(DEFAULT_PIPELINE, *(name for name in _PIPELINES if name not in missing)),
        missing=tuple(missing.items()),
    )


@contextmanager
def using(pipeline: str) -> Iterator[None]:
    """Give arrays that are opened or made inside the block a pipeline, which they keep; its own or another's."""
    with _TURNS:
        if pipeline == DEFAULT_PIPELINE:
            yield
        else:
            with zarr.config.set({"codec_pipeline.path": _PIPELINES[pipeline]}):
                yield


def own_within(document: Any, name: str) -> dict[str, Any]:
    """Find what `root_attributes` wrote in the document of a root group; empty where there is nothing of it."""
    for key in ("attributes", KEY) if name == "zarr.json" else (KEY,):
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def manifest_within(path: object, own: Mapping[str, Any]) -> str:
    """Return the manifest among an archive's own attributes; raises `ArchiveError` where there is none."""
    if "manifest" not in own:
        raise ArchiveError(f"{path} is a Zarr group, but not an archive written by this harness: it has no manifest.")
    return str(own["manifest"])


def _pipeline_in_words(array: zarr.Array) -> str:
    """Say what an opened array does to a chunk, apart from laying out its bytes in order."""
    codecs = [*array.filters, array.serializer, *array.compressors]
    return ", ".join(_in_words(c) for c in codecs if c is not None and not isinstance(c, BytesCodec)) or "none"


def _in_words(codec: Any) -> str:
    """Say what a codec of an opened array is, of Zarr 2 or 3."""
    facts = codec.get_config() if hasattr(codec, "get_config") else codec.to_dict().get("configuration", {})
    if "cname" not in facts:
        name = codec.codec_id if hasattr(codec, "codec_id") else codec.to_dict()["name"]
        return " ".join([name, *(f"{key} {value}" for key, value in facts.items() if key != "id")])
    shuffle = {"shuffle": " byte shuffle", "bitshuffle": " bit shuffle", 1: " byte shuffle", 2: " bit shuffle"}
    return f"blosc-{facts['cname']}-{facts['clevel']}{shuffle.get(facts['shuffle'], '')}"


class ZarrReader(Reader):
    """Reads arrays with zarr-python's defaults, through the consolidated metadata; holds each array it has opened.

    Parameters
    ----------
    path : Path or zarr.abc.store.Store
        The archive, as a folder or as a store that is one.
    pipeline : callable, optional
        Takes a role to the name of the codec pipeline that decodes its tensors; zarr-python's default without it.
    """

    def __init__(self, path: Path | Store, pipeline: Callable[[Role], str] | None = None) -> None:
        self._open(path, pipeline, consolidated=True)
        self._manifest = manifest_within(path, own_within(self._group.attrs.asdict(), ".zattrs"))

    def _open(self, path: Path | Store, pipeline: Callable[[Role], str] | None, *, consolidated: bool) -> None:
        self._path, self._pipeline = path, pipeline
        self._held: dict[str, zarr.Array] = {}
        self._group = zarr.open_group(path, mode="r", use_consolidated=consolidated)

    def manifest_text(self) -> str:
        return self._manifest

    def arrays(self) -> dict[str, zarr.Array]:
        """Return every array that is listed, by name."""
        return {name: node for name, node in self._group.members(max_depth=None) if isinstance(node, zarr.Array)}

    def stored(self) -> dict[str, StoredTensor]:
        return {name: StoredTensor(tuple(array.shape), array.dtype.name) for name, array in self.arrays().items()}

    def array(self, path: str) -> zarr.Array:
        """Return an array as zarr-python gives it, the same one each time."""
        if path in self._held:
            return self._held[path]
        with using(self._pipeline(role_of(path))) if self._pipeline else nullcontext():
            node = self._group[path]
        if not isinstance(node, zarr.Array):
            raise ArchiveError(f"{path}: expected an array, the archive has a group there.")
        return self._held.setdefault(path, node)

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        return np.asarray(self.array(path)[... if selection is None else selection])

    def opened(self, path: str) -> Opened:
        array = self.array(path)
        pipeline = type(array.async_array.codec_pipeline).__name__
        return Opened(
            reader=f"zarr-python {zarr.__version__}, {pipeline}, arrays held",
            chunks=array.chunks,
            shards=array.shards,
            codec=_pipeline_in_words(array),
        )

    def close(self) -> None:
        self._group.store.close()


class RecoveredZarrReader(ZarrReader):
    """Reads arrays that are whole among others, through the metadata of each: these are consolidated last."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._open(path, None, consolidated=False)
        self._manifest = manifest.to_json()
        self._whole = [spec.path for spec in manifest.tensors]

    def arrays(self) -> dict[str, zarr.Array]:
        return {path: self.array(path) for path in self._whole}


def overstated_array(folder: Path, array: zarr.Array) -> str:
    """Say what an array asks its codecs for that the archives of this harness do not; empty where there is nothing.

    Parameters
    ----------
    folder : Path
        The archive.
    array : zarr.Array
        In it.

    Returns
    -------
    str
        The end of a sentence that begins with the array's name.
    """
    codec = _codec(array)
    if codec is None:
        return "is stored by a codec that no archive of this harness uses"
    grid = None if array.shards is None else grid_of(array.shards, array.chunks)
    nbytes, files = prod(array.chunks) * array.dtype.itemsize, folder / array.path
    for path in (Path(place) / name for place, _, names in os.walk(files) for name in names if name not in _METADATA):
        for head, length in _chunks(path, grid):
            if problem := overstated(codec, head, length, nbytes):
                return problem
    return ""


def _codec(array: zarr.Array) -> Literal["none", "blosc", "other"] | None:
    """Return whose header a chunk has; None where it is coded as no archive of this harness is."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        if metadata.filters or not isinstance(metadata.compressor, numcodecs.Blosc | None):
            return None
        return "none" if metadata.compressor is None else "blosc"
    codecs = list(metadata.codecs)
    if isinstance(codecs[0], ShardingCodec):
        codecs = [*codecs[0].codecs, *codecs[1:]]
    checked = isinstance(codecs[-1], Crc32cCodec)
    match codecs[:-1] if checked else codecs:
        case [BytesCodec()]:
            return "other" if checked else "none"
        case [BytesCodec(), BloscCodec()]:
            return "blosc"
        case [PCodec()]:
            return "other"
    return None


def _chunks(path: Path, grid: tuple[int, ...] | None) -> Iterator[tuple[bytes, int]]:
    """Yield the first bytes and the length of each chunk in a file."""
    with open_regular(path) as file:
        if grid is None:
            yield file.read(HEADER), os.fstat(file.fileno()).st_size
            return
        for start, length in read_index(LocalFile(file.fileno()), grid).reshape(-1, 2).tolist():
            if start != MISSING:
                yield os.pread(file.fileno(), min(HEADER, length), start), length
