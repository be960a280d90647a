"""Slimmed Zarr, for size: equal tensors once, layers in shared arrays of few files, exact narrow storage, pcodec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness.formats.base import Codec, Format, Layout, Profile
from harness.formats.crew import cores
from harness.formats.extents import Extent
from harness.formats.layout import chosen, chosen_chunks, chunk_space, in_eights, named
from harness.formats.matched import MATCHED_CODEC, matched_layout
from harness.formats.recovered import Place
from harness.formats.settings import SearchSpace
from harness.formats.shard import shard_shape
from harness.formats.slim_codec import PCODEC_ITEMSIZES
from harness.formats.style import Style
from harness.formats.zarr import ZarrFormat, own_attributes
from harness.formats.zarr_slim_reader import RecoveredSlimReader, ZarrSlimReader
from harness.formats.zarr_slim_writer import SlimLook, ZarrSlimWriter
from harness.slimming.slimmer import Slimmer
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec

_BYTES = Codec(name="blosc-zstd", level=9, shuffle="byte")  # for one-byte values, which pcodec does not take


class ZarrSlimFormat(ZarrFormat):
    """Zarr, slimmed without losing a bit; as small as lossless codecs go.

    Attributes
    ----------
    setting : str
        Recorded in the archive; tells which backend wrote it.
    slimming : bool
        Whether equal tensors are stored once and values narrowed; without, codec and chunks are the same.
    codecs : tuple of Codec
        What can be chosen, the one of ``tuned`` first.
    """

    name = "zarr-slim"
    description = "Zarr, equal tensors stored once, layers in shared shards, exact narrow storage, pcodec"
    suffix = ".slim.zarr"
    readers: ClassVar = {"own": ZarrSlimReader}
    style = Style(order=40, colour="#009E73", marker="D", hatch="\\\\\\")
    setting: ClassVar[str] = "small"
    codecs: ClassVar[tuple[Codec, ...]] = (
        Codec(name="pcodec", level=8),
        Codec(name="pcodec", level=4),
        Codec(name="pcodec", level=12),
        Codec(name="blosc-zstd", level=9, shuffle="byte"),
        Codec(name="blosc-zstd", level=3, shuffle="bit"),
        Codec(name="blosc-lz4", level=9, shuffle="bit"),
    )
    why: ClassVar[str] = (
        "pcodec has the best lossless ratio measured on a real pair tensor, 2.94 (blosc zstd-3: 2.63); chunks of up to "
        "40 residues decode little for a window, those of attention a whole head; the seed had no such format"
    )

    slimming: bool = True

    def __init__(self, *, slimming: bool = True) -> None:
        self.slimming = slimming
        if slimming:
            self.of: Format = type(self)(slimming=False)

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if not spec.shape:
            return Layout(chunks=(), origin="default", why="a scalar is one chunk")
        codec = self.codec(profile, spec.dtype, spec.role)
        if profile == "matched":
            matched, why = matched_layout(spec).chunks, "matched codec and chunks, sharded, checksums, not narrowed"
            assert matched is not None
            chunks = matched
        else:
            whole, why = chosen(spec, profile, self.why)
            chunks = chosen_chunks(whole, self.values(spec.role, profile))
            chunks = in_eights(chunks) if codec.shuffle == "bit" else chunks
        return Layout(chunks=chunks, shards=shard_shape(spec.shape, chunks), codec=codec, origin="chosen", why=why)

    def search_space(self) -> SearchSpace:
        return chunk_space(pair=40, attention=256, least=128 << 10, codecs=self.codecs)

    def codec(self, profile: Profile, stored: str, role: Role) -> Codec:
        """Return the codec for chunks of a dtype as it is stored, which may be narrower than the tensor's."""
        if profile == "matched":
            return MATCHED_CODEC
        codec = named(self.codecs)[str(self.values(role, profile).get("codec", self.codecs[0]))]
        assert codec is not None
        return codec if codec.name != "pcodec" or np.dtype(stored).itemsize in PCODEC_ITEMSIZES else _BYTES

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> ZarrSlimWriter:
        look = SlimLook(
            setting=self.setting,
            stacked=self.slimming,
            layout=partial(self.layout, profile=profile),
            codec=partial(self.codec, profile),
        )
        slimmer = Slimmer(path.parent, once=self.slimming, narrows=self.slimming and profile != "matched")
        return ZarrSlimWriter(path, manifest, look, slimmer)

    def reader(self, path: Path, name: str | None = None) -> ZarrSlimReader:
        return ZarrSlimReader(path, self.setting)

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> RecoveredSlimReader:
        return RecoveredSlimReader(path, manifest, places)

    def unchecked(self, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        return ()  # a checksum stands behind every chunk

    def recognises(self, path: Path) -> bool:
        slim = (own_attributes(path) or {}).get("slim")
        return isinstance(slim, dict) and slim.get("setting") == self.setting

    def settings(self) -> dict[str, str]:
        return {
            "versions": f"{super().settings()['versions']}, pcodec {version('pcodec')}",
            "threads": f"{cores()} to encode and to decode, the caller's among them",
            "caches": "none; metadata consolidated, a shard's index kept while its reader is open",
        }
