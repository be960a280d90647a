"""The format ``icechunk``: Zarr arrays in a versioned repository in a local folder, one commit per archive."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

from harness import registry
from harness.formats.base import Elsewhere, Format, Layout, Profile, Reader, ReaderSpec, Writer
from harness.formats.layout import (
    BLOSC_CODECS,
    MATCHED_CODEC,
    chosen_layout,
    chunk_space,
    in_eights,
    matched_layout,
    seed_chunks,
)
from harness.formats.settings import TUNED_ROLES, SearchSpace, TunableFormat
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec

HEAD = b'{"format":"icechunk",'
"""First bytes of an archive's manifest file."""


def _opened(name: str, path: Path) -> Reader:
    from harness.extensions.icechunk.repository import IcechunkReader  # loads the library only when needed

    return IcechunkReader(path, name)


class IcechunkFormat(TunableFormat, Format):
    """Icechunk, read by zarr-python."""

    name = "icechunk"
    description = "Icechunk, a repository of Zarr arrays with one commit"
    suffix = ".icechunk"
    elsewhere = Elsewhere(library="icechunk")
    reproducible = False
    readers: ClassVar = {
        "zarr-python": ReaderSpec(
            open=partial(_opened, "zarr-python"), about="zarr-python with its default pipeline, arrays held"
        ),
        "fused": ReaderSpec(
            open=partial(_opened, "fused"), about="zarr-python with its FusedCodecPipeline, arrays held"
        ),
    }
    alternatives: ClassVar = {
        "large-chunks": {Role.PAIR: {"edge": 64}, Role.ATTENTION: {"edge": 512}},
        "zstd": {role: {"codec": "blosc-zstd-9 byte shuffle"} for role in TUNED_ROLES},
    }
    candidates = (
        ("", "zarr-python"), ("", "fused"), ("large-chunks", "zarr-python"), ("large-chunks", "fused"),
        ("zstd", "fused"),
    )  # fmt: skip

    @staticmethod
    def missing() -> str:
        """Return what the format needs but is missing; empty if nothing is."""
        if sys.version_info < (3, 12):
            return "needs Python 3.12 or newer"
        return registry.missing_package("icechunk", "trace-format-harness[icechunk]")

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            return matched_layout(spec)
        if not spec.shape:
            return Layout(origin="default", why="a scalar is one chunk")
        if profile == "seed":
            why = "the seed had no Icechunk: chunks and codec of its Zarr"
            return Layout(chunks=seed_chunks(spec), codec=MATCHED_CODEC, origin="chosen", why=why)
        found = chosen_layout(self, spec, profile, BLOSC_CODECS, "chunks and codec as those of plain Zarr")
        return Layout(chunks=in_eights(found.chunks or ()), codec=found.codec, origin=found.origin, why=found.why)

    def search_space(self) -> SearchSpace:
        return chunk_space(pair=32, attention=256, least=128 << 10, codecs=tuple(BLOSC_CODECS.values()))

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        from harness.extensions.icechunk.repository import IcechunkWriter

        return IcechunkWriter(path, lambda spec: self.layout(spec, profile))

    def recognises(self, path: Path) -> bool:
        document = path / "manifest.json"
        if not document.is_file():
            return False
        with document.open("rb") as file:
            return file.read(len(HEAD)) == HEAD

    def overstated(self, path: Path) -> str:
        from harness.extensions.icechunk.repository import overstated_array

        return overstated_array(path)

    def settings(self) -> dict[str, str]:
        from harness.extensions.icechunk.repository import VERSION

        return {"versions": VERSION, "threads": "the budget's", "caches": "none of chunks"}
