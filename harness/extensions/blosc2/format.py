"""Blosc2: one b2nd file per tensor, in chunks that are compressed block by block."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness import registry
from harness.formats.base import Elsewhere, Format, Layout, Profile, Reader, ReaderSpec, UnsupportedProfile, Writer
from harness.formats.extents import Extent
from harness.formats.layout import (
    BLOSC_CODECS,
    MATCHED_CODEC,
    chosen_layout,
    chunk_space,
    even,
    matched_layout,
    seed_chunks,
)
from harness.formats.recovered import Place
from harness.formats.settings import TUNED_ROLES, Parameter, SearchSpace, TunableFormat
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec

_MOST = 1 << 30  # bytes; Blosc2 takes chunks up to 2 GiB, and pads them to whole blocks
HEAD = b'{"format":"blosc2",'
"""First bytes of the manifest's file of an archive."""
_WHY = "large chunks of small blocks: a window decodes the blocks that it touches; lz4 reads faster than zstd"


def _block(default: int, *others: int) -> Parameter:
    about = "largest edge of a block within a chunk, in residues"
    return Parameter(name="block", about=about, default=default, values=tuple(sorted({default, *others})))


def _opened(path: Path, *, mapped: bool) -> Reader:
    from harness.extensions.blosc2.arrays import Blosc2Reader  # loads the library only for reading

    return Blosc2Reader(path, mapped=mapped)


def _plainly(path: Path) -> Reader:
    return _opened(path, mapped=False)


def _mapped(path: Path) -> Reader:
    return _opened(path, mapped=True)


class Blosc2Format(TunableFormat, Format):
    """Blosc2's own arrays of several dimensions (b2nd)."""

    name = "blosc2"
    description = "Blosc2, one b2nd file a tensor"
    suffix = ".b2"
    elsewhere = Elsewhere(library="blosc2")
    readers: ClassVar = {
        "blosc2": ReaderSpec(open=_plainly, about="blosc2.open, arrays held open; the file is opened for each chunk"),
        "blosc2-mmap": ReaderSpec(open=_mapped, about="blosc2.open(mmap_mode='r'), arrays held open"),
    }
    alternatives: ClassVar = {
        "large-chunks": {Role.PAIR: {"edge": 128}, Role.ATTENTION: {"edge": 512}},
        "zstd": {role: {"codec": "blosc-zstd-9 byte shuffle"} for role in TUNED_ROLES},
    }
    candidates = (
        ("", "blosc2"),
        ("", "blosc2-mmap"),
        ("large-chunks", "blosc2"),
        ("large-chunks", "blosc2-mmap"),
        ("zstd", "blosc2"),
    )

    @staticmethod
    def missing() -> str:
        """Return how to install the library; empty if it is installed."""
        return registry.missing_package("blosc2", "trace-format-harness[blosc2]")

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if not spec.shape:
            return Layout(origin="default", why="a scalar has no chunks")
        if profile not in ("seed", "matched"):
            return chosen_layout(self, spec, profile, BLOSC_CODECS, _WHY)
        found = matched_layout(spec)
        if profile == "seed":
            why = "the seed had no Blosc2: chunks and codec of its Zarr"
            found = Layout(chunks=seed_chunks(spec), codec=MATCHED_CODEC, origin="chosen", why=why)
        if found.chunks and prod(found.chunks) * np.dtype(spec.dtype).itemsize > _MOST:
            raise UnsupportedProfile(f"Blosc2 takes no chunk as large as {spec.path} has in the profile {profile!r}")
        return found

    def blocks(self, spec: TensorSpec, profile: Profile, layout: Layout) -> tuple[int, ...] | None:
        """Return the extent of a block, the unit of compression within a chunk; None if Blosc2 decides."""
        values = {} if profile in ("seed", "matched") else self.values(spec.role, profile)
        if layout.chunks is None or "block" not in values:
            return None
        edge = int(values["block"])
        if spec.role is Role.PAIR and len(spec.shape) == 3:
            return (*(even(n, edge) for n in layout.chunks[:2]), layout.chunks[2])
        if spec.role is Role.ATTENTION and len(spec.shape) >= 2:
            return (*(1 for _ in spec.shape[:-2]), *(even(n, edge) for n in layout.chunks[-2:]))
        return None

    def search_space(self) -> SearchSpace:
        found: dict[Role, Any] = dict(
            chunk_space(pair=48, attention=256, least=32 << 10, codecs=tuple(BLOSC_CODECS.values()))
        )
        found[Role.PAIR] += (_block(16, 8, 32),)
        found[Role.ATTENTION] += (_block(64, 32, 128),)
        return found

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        from harness.extensions.blosc2.arrays import Blosc2Writer

        def plan(spec: TensorSpec) -> tuple[Layout, tuple[int, ...] | None]:
            layout = self.layout(spec, profile)
            return layout, self.blocks(spec, profile, layout)

        return Blosc2Writer(path, plan)

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> Reader:
        from harness.extensions.blosc2.arrays import RecoveredBlosc2Reader

        return RecoveredBlosc2Reader(path, manifest)

    def unchecked(self, path: Path, tensor: str, place: Place) -> list[Extent]:
        file = path / f"{tensor}.b2nd"
        return [Extent(file, 0, file.stat().st_size)]

    def recognises(self, path: Path) -> bool:
        document = path / "manifest.json"
        if not document.is_file():
            return False
        with document.open("rb") as file:
            return file.read(len(HEAD)) == HEAD

    def overstated(self, path: Path) -> str:
        from harness.extensions.blosc2.arrays import overstated_array

        return overstated_array(path)

    def settings(self) -> dict[str, str]:
        from harness.extensions.blosc2.arrays import THREADS, VERSION

        return {"versions": VERSION, "threads": THREADS, "caches": "none"}
