"""NPZ: one zip member per tensor, written as a stream and read with ``numpy.load``."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from numpy.lib import format as npy

from harness.files import forget_writes
from harness.formats.base import (
    Codec,
    Elsewhere,
    Format,
    Layout,
    Profile,
    Reader,
    ReaderSpec,
    UnsupportedProfile,
    Writer,
)
from harness.formats.extents import Extent
from harness.formats.layout import chosen_layout, named
from harness.formats.npz_reader import MANIFEST, NpzReader
from harness.formats.npz_recovery import RecoveredNpzReader
from harness.formats.recovered import Place
from harness.formats.seal import BLANK
from harness.formats.settings import TUNED_ROLES, Parameter, SearchSpace, TunableFormat
from harness.formats.style import Style
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import split
from harness.zips import DAMAGE, open_zip

_SEED, _TUNED = Codec(name="deflate", level=6), Codec(name="deflate", level=1)
_CODECS = named((_TUNED, None, *(Codec(name="deflate", level=level) for level in (3, 6, 9))))


def write_member(member: IO[bytes], spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
    """Write a tensor as ``numpy.save`` does, but not held in memory: its header, then the bytes of its blocks."""
    header = {"descr": npy.dtype_to_descr(np.dtype(spec.dtype)), "fortran_order": False, "shape": spec.shape}
    npy.write_array_header_1_0(member, header)
    for block in blocks:
        for part in split(np.ascontiguousarray(block).reshape(-1).view(np.uint8)):
            member.write(part.data)  # in parts, as the deflated bytes of one write are held in memory


class NpzWriter(Writer):
    """Writes each tensor as a ``.npy`` member, as `numpy.savez_compressed` does, without holding it in memory."""

    def __init__(self, path: Path, backend: NpzFormat, profile: Profile) -> None:
        self._backend, self._profile = backend, profile
        self._zip = zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED)
        self._member: IO[bytes] | None = None
        self._ended: dict[str, Place] = {}

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        codec = self._backend.layout(spec, self._profile).codec
        self._zip.compression = zipfile.ZIP_STORED if codec is None else zipfile.ZIP_DEFLATED
        self._zip.compresslevel = None if codec is None else codec.level
        # By name: zipfile then gives the member the archive's current level and a fixed date, so that equal traces give
        # equal bytes.
        self._member = self._zip.open(f"{spec.path}.npy", "w", force_zip64=True)
        write_member(self._member, spec, blocks)
        self._member.close()
        self._member = None
        info = self._zip.infolist()[-1]
        # `start_dir` is where this member ends and the next one will start; the directory follows the last member.
        place = {"offset": info.header_offset, "length": self._zip.start_dir - info.header_offset, "crc": info.CRC}
        self._ended[spec.path] = place

    def checkpoint(self) -> dict[str, Place]:
        assert self._zip.fp is not None
        self._zip.fp.flush()
        ended, self._ended = self._ended, {}
        return ended

    def commit(self, manifest: Manifest) -> None:
        self._zip.compression = zipfile.ZIP_DEFLATED
        self._zip.compresslevel = (_SEED if self._profile == "seed" else _TUNED).level
        with self._zip.open(MANIFEST, "w") as member:
            member.write(manifest.to_json().encode())
        self._zip.comment = BLANK.encode()
        self._zip.close()

    def abort(self) -> None:
        if self._zip.fp is not None:
            forget_writes(self._zip.fp.fileno())  # else failed writes are reported again at collection
        if self._member is not None:
            self._member.close()
        self._zip.close()


def _by_offset(path: Path) -> Reader:
    """Open an archive with the reader of uncompressed members at their offsets."""
    from harness.formats.npz_offset import OffsetNpzReader

    return OffsetNpzReader(path)


class NpzFormat(TunableFormat, Format):
    """NumPy's own archive."""

    name = "npz"
    description = "NumPy zip archive, deflate"
    suffix = ".npz"
    style = Style(order=10, colour="#E69F00", marker="^", dash=(0, (4, 1.2)), hatch="///")
    standing = "default"
    streams = True
    elsewhere = Elsewhere(library="numpy")
    readers: ClassVar = {
        "numpy.load": ReaderSpec(open=NpzReader, about="numpy.load"),
        "offset": ReaderSpec(
            open=_by_offset,
            about="os.preadv of stored members without their checksum; numpy.load of deflated ones",
            verifies=False,
            own=True,  # numpy reads the header; this project's code finds the rows of a window
        ),
    }
    alternatives: ClassVar = {
        "savez": {role: {"codec": "none"} for role in TUNED_ROLES},
        "savez-compressed": {role: {"codec": str(_SEED)} for role in TUNED_ROLES},
        "deflate-3": {role: {"codec": "deflate-3"} for role in TUNED_ROLES},
        "deflate-9": {role: {"codec": "deflate-9"} for role in TUNED_ROLES},
    }
    candidates: ClassVar = (
        ("", "numpy.load"), ("savez", "numpy.load"), ("deflate-3", "numpy.load"), ("savez-compressed", "numpy.load"),
        ("deflate-9", "numpy.load"),
    )  # fmt: skip

    unmeasured = ("numpy.memmap", "other readers of deflate")
    objections = (
        (
            "numpy.load verifies the CRC-32 of a complete member in every read, which others do not.",
            "It does, and no maintained reader goes around it: a stored pair layer takes 30 ms by numpy.load, 12 by "
            "this project's reader without the check (docs/settings.md), which is never graded.",
        ),
        (
            "Four of the five candidates differ in the level of deflate alone.",
            "numpy.load has no other codec, no chunks and no options to choose from.",
        ),
    )

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            raise UnsupportedProfile("npz has neither chunks nor blosc, so it cannot take the matched settings")
        if profile == "seed":
            return Layout(codec=_SEED, checked=True, origin="seed", why="numpy.savez_compressed")
        why = "deflate is the only compressor numpy.load reads at speed; level 1 writes several times faster than 6"
        return replace(chosen_layout(self, spec, profile, _CODECS, why), chunks=None, checked=True)

    def search_space(self) -> SearchSpace:
        codec = Parameter(name="codec", about="compressor and level", default=str(_TUNED), values=tuple(_CODECS))
        return dict.fromkeys(TUNED_ROLES, (codec,))

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> NpzWriter:
        return NpzWriter(path, self, profile)

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> RecoveredNpzReader:
        return RecoveredNpzReader(path, manifest, places)

    def unchecked(self, path: Path, tensor: str, place: Place) -> tuple[Extent, ...]:
        return ()  # zip has a checksum of every member

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with contextlib.suppress(*DAMAGE):  # recognised all the same: reading it will report the damage
            open_zip(path).close()  # raises if the archive could take any amount of memory
        return True

    def foreign(self, path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as file:
                return MANIFEST not in file.namelist()
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
            return False

    def settings(self) -> dict[str, str]:
        return {"versions": f"numpy {np.__version__}", "threads": "1", "caches": "none"}
