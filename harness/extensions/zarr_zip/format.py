"""The format ``zarr-zip``: Zarr in one zip file, with stored members and chunks compressed by Zarr's codecs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import ClassVar

import numpy as np
import zarr
from zarr.storage import ZipStore

from harness.extensions.zarr_zip.members import METADATA, chunks_in, first_member, stored_text, stored_zip
from harness.files import forget_writes
from harness.formats.base import Elsewhere, Format, Profile, Reader, ReaderSpec, UnsupportedProfile, Writer
from harness.formats.seal import BLANK
from harness.formats.zarr import ZarrLayouts, wait_for_writes, write_array
from harness.formats.zarr_overstated import overstated_array
from harness.formats.zarr_pipelines import DEFAULT, missing, take_threads
from harness.formats.zarr_reader import KEY, ROOTS, ZarrReader
from harness.registry import missing_package
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.zips import DAMAGE, DIRECTORY, open_zip

_ENTRY, _DIGITS = 46 + 28 + 12, 6  # bytes of a directory entry without the tensor's name; bytes of each chunk index


class ZippedZarrWriter(Writer):
    """Writer of each tensor as a chunked array; it writes no member twice, so the zip file holds no obsolete copies."""

    def __init__(self, path: Path, backend: ZippedZarrFormat, profile: Profile) -> None:
        take_threads()
        self._path, self._backend, self._profile = path, backend, profile
        self._store = ZipStore(path, mode="x", compression=zipfile.ZIP_STORED)
        self._group = zarr.create_group(self._store, zarr_format=2 if profile == "seed" else 3)

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        write_array(self._group, spec, blocks, self._backend.layout(spec, self._profile))

    def commit(self, manifest: Manifest) -> None:
        own = {KEY: {"manifest": manifest.to_json()}}
        self._group.create_group(METADATA, attributes={**manifest.attributes(), **own})
        self._store.close()
        with zipfile.ZipFile(self._path, "a") as file:
            file.comment = BLANK.encode()

    def abort(self) -> None:
        with suppress(Exception):  # a failed write fails again
            wait_for_writes()
        file = self._store._zf.fp
        if file is not None:
            forget_writes(file.fileno())
        self._store.close()


class ZippedZarrReader(ZarrReader):
    """Reader of arrays with zarr-python, which holds each array that it has opened, and the zip file's directory.

    Parameters
    ----------
    path : Path
        The archive.
    pipeline : str
        Decoding pipeline, by the name of a reader.
    """

    def __init__(self, path: Path, pipeline: str = DEFAULT) -> None:
        self._path = path
        super().__init__(ZipStore(path, mode="r"), pipeline, consolidated=False)

    def manifest_text(self) -> str:
        return stored_text(self._path)

    def close(self) -> None:
        if self._store._is_open:  # zarr-python 3.1 cannot close a store from which nothing was read
            super().close()


def _by_tensorstore(path: Path, cache_bytes: int | None = None) -> Reader:
    from harness.extensions.zarr_zip.by_tensorstore import ZippedTensorstoreReader  # an optional package of 20 MB

    return ZippedTensorstoreReader(path, cache_bytes)


class ZippedZarrFormat(ZarrLayouts, Format):
    """Zarr in one zip file."""

    name = "zarr-zip"
    description = "Zarr in one zip file, through zarr-python's ZipStore"
    suffix = ".zarr.zip"
    elsewhere: ClassVar = Elsewhere(library="zarr")
    reproducible = False  # ZipStore writes the time into each member
    readers: ClassVar = {
        **{
            name: ReaderSpec(open=partial(ZippedZarrReader, pipeline=name), about=about, missing=partial(missing, name))
            for name, about in (
                (DEFAULT, "zarr-python with its default pipeline, arrays held"),
                ("fused", "zarr-python with its FusedCodecPipeline, which has to be asked for, arrays held"),
            )
        },
        "tensorstore": ReaderSpec(
            open=_by_tensorstore,
            about="tensorstore with its zip driver, arrays held",
            cached=True,
            missing=partial(missing_package, "tensorstore", "trace-format-harness[readers]"),
        ),
    }
    candidates: ClassVar = (
        ("", "zarr-python"), ("", "tensorstore"), ("uncompressed", "tensorstore"), ("sharded", "tensorstore"),
        ("zstd", "tensorstore"),
    )  # fmt: skip
    unmeasured: ClassVar = ("zarrs, which does not read ZipStore",)

    def require(self, manifest: Manifest, profile: Profile) -> None:
        super().require(manifest, profile)
        listed = 0
        for spec in manifest.tensors:
            laid = self.layout(spec, profile)
            edges = laid.shards or laid.chunks or spec.shape
            members = 1 + prod(ceil(length / edge) for length, edge in zip(spec.shape, edges, strict=True) if edge)
            listed += members * (_ENTRY + len(spec.path) + _DIGITS * len(spec.shape))
        if listed > DIRECTORY:
            raise UnsupportedProfile(
                f"{self.name} would have more members than are read of a zip file: use its setting 'sharded'"
            )

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        return ZippedZarrWriter(path, self, profile)

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        if first_member(path) not in ROOTS:
            return False
        with suppress(*DAMAGE):  # recognise damaged files too, so that reading reports the damage
            open_zip(path).close()  # raises for a directory that would take too much memory
        return True

    def overstated(self, path: Path) -> str:
        with stored_zip(path) as file, ZippedZarrReader(path) as reader, path.open("rb") as bytes_of_it:
            for name, array in reader.arrays().items():
                pieces = chunks_in(file, bytes_of_it.fileno(), name)
                if problem := overstated_array(array, pieces):
                    return f"{name} {problem}"
        return ""

    def settings(self) -> dict[str, str]:
        return super().settings() | {"caches": "the directory of the zip file"}
