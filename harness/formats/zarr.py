"""Zarr through zarr-python: format 3, and format 2 for the exact settings of the earlier comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numcodecs
import numpy as np
import zarr
import zarr.core.sync
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from harness.capacity import capacity
from harness.documents import parse_json
from harness.errors import HarnessError
from harness.files import read_bytes
from harness.formats import layout
from harness.formats.base import Codec, Elsewhere, Format, Layout, Profile, Reader, ReaderSpec, Standing, Writer
from harness.formats.extents import Extent
from harness.formats.recovered import Place
from harness.formats.seal import BLANK, files_of
from harness.formats.settings import TUNED_ROLES, Parameter, SearchSpace, TunableFormat
from harness.formats.style import Style
from harness.formats.zarr_overstated import files_of_array, overstated_array
from harness.formats.zarr_pipelines import DEFAULT, take_threads, using
from harness.formats.zarr_reader import KEY, ROOTS, RecoveredZarrReader, ZarrReader, own_attributes
from harness.formats.zarr_readers import maintained
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import regroup


def root_attributes(manifest: Manifest, **more: Any) -> dict[str, Any]:
    """Return the attributes of an archive's root group: the manifest, the place of the seal, and what a format adds."""
    return {KEY: {"manifest": manifest.to_json(), "seal": BLANK, **more}}


def write_array(group: zarr.Group, spec: TensorSpec, blocks: Iterable[np.ndarray], laid: Layout) -> None:
    """Write a tensor as an array under its name, with the groups above it, through zarr-python's default pipeline."""
    if above := spec.path.rpartition("/")[0]:
        group.require_group(above)
    with using(DEFAULT):
        array = group.create_array(
            spec.path,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=laid.chunks or "auto",
            shards=laid.shards,
            compressors=_compressors(laid, group.metadata.zarr_format),
            filters=None,
            fill_value=0,
        )
    row = 0
    # zarr-python rewrites a shard for every part of it.
    for block in regroup(blocks, laid.shards[0]) if laid.shards else blocks:
        if block.ndim == 0:
            array[...] = block
        elif block.size:
            array[row : row + len(block)] = block
            row += len(block)


def _compressors(laid: Layout, zarr_format: Literal[2, 3]) -> list[Any] | None:
    """Return the compressors of a chunk: its codec, then a checksum; None if it has neither."""
    checksum = Crc32cCodec() if laid.checked else None
    return [each for each in (_compressor(laid.codec, zarr_format), checksum) if each is not None] or None


def _compressor(codec: Codec | None, zarr_format: Literal[2, 3]) -> Any:
    if codec is None:
        return None
    name: Literal["zstd", "lz4"] = "zstd" if codec.name == "blosc-zstd" else "lz4"
    if zarr_format == 2:
        return numcodecs.Blosc(cname=name, clevel=codec.level, shuffle=numcodecs.Blosc.SHUFFLE)
    shuffle: Literal["shuffle", "bitshuffle"] = "bitshuffle" if codec.shuffle == "bit" else "shuffle"
    return BloscCodec(cname=name, clevel=codec.level, shuffle=shuffle)


class ZarrWriter(Writer):
    """Writes each tensor as a chunked array; metadata are not consolidated, as no reader of a folder uses that."""

    def __init__(self, path: Path, backend: ZarrFormat, profile: Profile) -> None:
        take_threads()
        self._backend, self._profile = backend, profile
        self._group = zarr.create_group(path, zarr_format=2 if profile == "seed" else 3)
        self._ended: dict[str, Place] = {}

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        write_array(self._group, spec, blocks, self._backend.layout(spec, self._profile))
        self._ended[spec.path] = {}  # its files are found by its name

    def checkpoint(self) -> dict[str, Place]:
        ended, self._ended = self._ended, {}
        return ended

    def commit(self, manifest: Manifest) -> None:
        self._group.require_group("metadata").update_attributes(manifest.attributes())
        self._group.update_attributes(root_attributes(manifest))

    def abort(self) -> None:
        wait_for_writes()


def wait_for_writes() -> None:
    """Wait for zarr-python's running writes after a failure: otherwise files reappear after their removal."""
    zarr.core.sync.sync(_others())


async def _others() -> None:
    """Wait for all other tasks: the failure of one write does not stop the others."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.gather(*others, return_exceptions=True)


_CRC = "crc32c"


class ZarrLayouts(TunableFormat):
    """Chunks, shards and codecs of plain Zarr, for any store of its files."""

    withdrawn: ClassVar = {"pipeline": ("default", "the reader of a run decides that: leave it out and give --readers")}
    # Small chunks help readers that decode without zarr-python's event loop: of a window of 32 x 32, zarrs and
    # tensorstore then decode half as much, and a layer costs them no more. One file per tensor, up to 64 MiB.
    alternatives: ClassVar = {
        "sharded": {
            **{role: {"shards": "tensor"} for role in TUNED_ROLES},
            Role.PAIR: {"shards": "tensor", "edge": 16},
            Role.ATTENTION: {"shards": "tensor", "edge": 128},
        },
        "uncompressed": {role: {"codec": "none"} for role in TUNED_ROLES},
        "zstd": {role: {"codec": "blosc-zstd-9 byte shuffle", "shards": "tensor"} for role in TUNED_ROLES},
        "checked": {role: {"checks": _CRC} for role in TUNED_ROLES},  # to compare with formats that always check
    }

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            return layout.matched_layout(spec)
        if not spec.shape:
            return Layout(origin="default", why="a scalar is one chunk")
        if profile == "seed":
            return Layout(
                chunks=layout.seed_chunks(spec),
                codec=layout.MATCHED_CODEC,
                origin="seed",
                why="Zarr format 2 with the seed's chunks and codec",
            )
        why = (
            "bitshuffle-lz4 as HDF5's; larger attention chunks, for each chunk costs zarr-python about 0.4 ms; "
            "values of a chunk in eights, for Blosc does not shuffle the bits of other numbers"
        )
        found = layout.chosen_layout(self, spec, profile, layout.BLOSC_CODECS, why)
        chunks = layout.in_eights(found.chunks or ())
        values = self.values(spec.role, profile)
        shards = str(values.get("shards", "none"))
        shared = None if shards == "none" else layout.shard_of(spec, chunks, shards)
        return replace(found, chunks=chunks, shards=shared, checked=values.get("checks") == _CRC)

    def search_space(self) -> SearchSpace:
        shards = Parameter(
            name="shards",
            about="whether each row of chunks, or a tensor up to 64 MiB, shares a file",
            default="none",
            values=("none", "row", "tensor"),
        )
        checks = Parameter(name="checks", about="checksum of each chunk", default="none", values=("none", _CRC))
        codecs = tuple(layout.BLOSC_CODECS.values())
        return layout.chunk_space(pair=32, attention=256, least=128 << 10, codecs=codecs, also=(shards, checks))

    def settings(self) -> dict[str, str]:
        return {
            "versions": f"zarr {zarr.__version__}, numcodecs {version('numcodecs')}",
            "threads": f"{capacity().cores_usable} for each pool of a library",
            "caches": "none",
        }


class ZarrFormat(ZarrLayouts, Format):
    """Zarr, one file per chunk."""

    name = "zarr"
    description = "Zarr through zarr-python, one file per chunk"
    suffix = ".zarr"
    style: ClassVar[Style | None] = Style(
        order=30, colour="#D55E00", marker="o", dash=(0, (6, 1.2, 1, 1.2)), hatch="...."
    )
    standing: ClassVar[Standing] = "default"
    elsewhere: ClassVar = Elsewhere(library="zarr")
    readers: ClassVar = {
        **maintained(),
        "zarr-python-reopened": ReaderSpec(
            open=partial(ZarrReader, held=False),
            about="zarr-python with its default pipeline, arrays opened for each read",
        ),
    }
    candidates: ClassVar[tuple[tuple[str, str], ...]] = (
        ("", "zarr-python"),
        ("uncompressed", "zarrs"),
        ("uncompressed", "tensorstore"),
        ("sharded", "tensorstore"),
        ("zstd", "tensorstore"),
    )

    unmeasured: ClassVar[tuple[str, ...]] = (
        "FsspecStore", "GPU buffers", "caches of stored bytes", "readers in other languages",
    )  # fmt: skip
    objections: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "Uncompressed shards are faster.",
            "Uncompressed chunks are raced, each in a file. In shards, layers took about twice as long, windows no "
            "less (docs/settings.md). A profile file can ask for these.",
        ),
        ("async.concurrency should be raised.", "For object stores; on a local disk it made no difference."),
        (
            "Opening should be consolidated.",
            "Remotely it is. On a local disk that pays from the fifth array on, and costs 14 to 21 % of writing.",
        ),
        (
            "codec_pipeline.strict is not what users of zarrs have.",
            "It changes nothing where zarrs can read, and otherwise its column would be another's.",
        ),
    )

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        return ZarrWriter(path, self, profile)

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> Reader:
        return RecoveredZarrReader(path, manifest)

    def unchecked(self, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        return [Extent(file, 0, file.stat().st_size) for file in files_of(path / tensor)]

    def recognises(self, path: Path) -> bool:
        own = own_attributes(path)
        return own is not None and "slim" not in own

    def foreign(self, path: Path) -> bool:
        try:
            texts = [read_bytes(file) for name in (*ROOTS, ".zmetadata") if (file := path / name).is_file()]
            sound = all(isinstance(parse_json(text), dict) for text in texts)
        except (OSError, HarnessError):
            return False
        return sound and not any(KEY.encode() in text for text in texts)

    def overstated(self, path: Path) -> str:
        # Readers of a folder use each array's own metadata, or their copy in the root: check both.
        seen: dict[str, Any] = {}
        for view in (path, LocalStore(path, read_only=True)):
            with closing(ZarrReader(view)) as reader:
                for name, array in reader.arrays().items():
                    if seen.get(name) == array.metadata:
                        continue
                    seen[name] = array.metadata
                    if problem := overstated_array(array, files_of_array(path, array)):
                        return f"{name} {problem}"
        return ""
