"""HDF5 through h5py, with the filters of hdf5plugin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import h5py
import hdf5plugin
import numpy as np

from harness import registry
from harness.errors import UsageError
from harness.files import forget_writes, open_regular
from harness.formats.base import Codec, Elsewhere, Format, Layout, Profile, Reader, ReaderSpec, Writer
from harness.formats.extents import Extent
from harness.formats.hdf5_file import MANIFEST, link_out, open_hdf5, overstated_chunk
from harness.formats.hdf5_reader import Hdf5Reader, ReopeningHdf5Reader
from harness.formats.hdf5_recovery import RecoveredHdf5Reader, place_of, stored_extents
from harness.formats.layout import chosen_layout, chunk_space, in_eights, matched_layout, named
from harness.formats.recovered import Place
from harness.formats.seal import BLANK
from harness.formats.settings import TUNED_ROLES, Parameter, SearchSpace, TunableFormat
from harness.formats.style import Style
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, TensorSpec

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # the smallest that HDF5 allows; it holds the seal
_PAGES = {"none": 0, "4 KiB": 4 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20}  # bytes
_CODECS = named(
    (
        Codec(name="bitshuffle-lz4"),
        Codec(name="blosc-lz4", level=5, shuffle="byte"),
        Codec(name="blosc-lz4", level=5, shuffle="bit"),
        Codec(name="blosc-zstd", level=1, shuffle="bit"),
        Codec(name="blosc-zstd", level=3, shuffle="byte"),
        Codec(name="blosc-zstd", level=9, shuffle="bit"),
        Codec(name="zstd", level=9, shuffle="byte"),
        None,
    )
)
_CONTIGUOUS, _FLETCHER = "contiguous", "fletcher32"
_ALSO = (
    Parameter(
        name="storage", about="chunks, or one piece without a codec", default="chunked", values=("chunked", _CONTIGUOUS)
    ),
    Parameter(name="checks", about="checksum of each chunk", default="none", values=("none", _FLETCHER)),
    Parameter(name="pages", about="pages of the file; the largest of all roles", default="none", values=tuple(_PAGES)),
)  # fmt: skip
_ERRNO = re.compile(r"\berrno = (\d+)")  # in HDF5's message about a system call


def _filter(codec: Codec | None) -> Mapping[str, Any]:
    """Translate a codec into the keyword arguments of h5py's ``create_dataset``."""
    if codec is None:
        return {}
    if codec.name == "bitshuffle-lz4":
        return hdf5plugin.Bitshuffle(cname="lz4")
    if codec.name == "zstd":
        return {**hdf5plugin.Zstd(clevel=codec.level), "shuffle": codec.shuffle == "byte"}
    shuffle = hdf5plugin.Blosc.BITSHUFFLE if codec.shuffle == "bit" else hdf5plugin.Blosc.SHUFFLE
    compressor: Literal["lz4", "zstd"] = "lz4" if codec.name == "blosc-lz4" else "zstd"
    return hdf5plugin.Blosc(cname=compressor, clevel=codec.level, shuffle=shuffle)


def _at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(len(_SIGNATURE))


@contextmanager
def _told_by_system() -> Iterator[None]:
    """Raise `OSError` if the system refused a flush, which h5py reports only by a number in a page of text."""
    try:
        yield
    except RuntimeError as error:
        if found := _ERRNO.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        raise


class Hdf5Writer(Writer):
    """Writes each tensor as a dataset, slab by slab."""

    def __init__(self, path: Path, backend: Hdf5Format, profile: Profile) -> None:
        # Measured for reads, including opening: `libver` latest and h5py's default, and a user block and none, differ
        # by no more than repetitions do, so that neither is a factor of stock. Latest saves 0.2 % of the bytes.
        page = max(_PAGES[str(backend.values(role, profile)["pages"])] for role in TUNED_ROLES)
        paged = {"fs_strategy": "page", "fs_page_size": page} if page else {}  # the user block is then at least a page
        self._file = open_hdf5(path, "x", libver="latest", userblock_size=page or _USER_BLOCK, **paged)
        self._path, self._backend, self._profile = path, backend, profile
        self._ended: list[str] = []

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        layout = self._backend.layout(spec, self._profile)
        chunked: dict[str, Any] = {}
        if layout.chunks and spec.items:
            chunked = {"chunks": layout.chunks, "fletcher32": layout.checked, **_filter(layout.codec)}
        dataset = self._file.create_dataset(spec.path, spec.shape, spec.dtype, track_times=False, **chunked)
        row = 0
        for block in blocks:
            if block.ndim == 0:
                dataset[()] = block
            elif block.size:
                dataset.write_direct(block, dest_sel=np.s_[row : row + len(block)])
                row += len(block)
        with _told_by_system():
            dataset.flush()  # closing would also write its last chunks, but h5py does not report when that fails
        self._ended.append(spec.path)

    def checkpoint(self) -> dict[str, Place]:
        ended, self._ended = self._ended, []
        return {path: place_of(self._file, path) for path in ended}

    def commit(self, manifest: Manifest) -> None:
        text = np.frombuffer(manifest.to_json().encode(), np.uint8)
        self._file.create_dataset(MANIFEST, data=text, track_times=False)
        self._file["metadata"].attrs.update(manifest.attributes())
        with _told_by_system():
            self._file.flush()  # after a failure here, `abort` is still possible
        self._file.close()
        with self._path.open("r+b") as file:
            file.write(BLANK.encode())

    def abort(self) -> None:
        # HDF5 crashes the process at exit if it could not close a file, as on a full disk. So its writes during the
        # close go to memory, and are dropped.
        forget_writes(self._file.id.get_vfd_handle())
        self._file.close()


def _direct(path: Path, *, cache_bytes: int | None = None) -> Reader:
    """Open an archive with the reader that avoids h5py's lock; only this loads numcodecs."""
    from harness.formats.hdf5_direct import DirectHdf5Reader

    return DirectHdf5Reader(path, cache_bytes=cache_bytes)


def _lacks_numcodecs() -> str:
    try:
        registry.imported("Decoding by numcodecs", "harness.formats.hdf5_direct:DirectHdf5Reader")
    except UsageError as error:
        return str(error).rstrip(".")
    return ""


class Hdf5Format(TunableFormat, Format):
    """HDF5."""

    name = "hdf5"
    description = "HDF5 through h5py"
    suffix = ".h5"
    style = Style(order=20, colour="#0072B2", marker="s", dash=(0, (1, 1)))
    standing = "default"
    # Filters below 32000 are part of HDF5; the others are plug-ins.
    elsewhere = Elsewhere(library="h5py", besides={"(filter 32": "'import hdf5plugin'"})
    readers: ClassVar = {
        "h5py": ReaderSpec(open=Hdf5Reader, about="h5py, data sets held open", cached=True),
        "h5py-reopened": ReaderSpec(open=ReopeningHdf5Reader, about="h5py, the data set opened for each read"),
        "h5py-direct": ReaderSpec(
            open=_direct,
            about="h5py's chunk index, os.preadv, and decoding by numcodecs on all threads of the budget; what these "
            "cannot decode is read by h5py",
            cached=True,
            own_since=10,
            own=True,  # h5py locates values; this project's code reads and decodes them on threads
            missing=_lacks_numcodecs,
        ),
    }
    # Chosen by processor time over a layer, a head and windows (docs/settings.md): `tuned` for all; LZ4 in Blosc;
    # small chunks for windows, in pages for cold reads; without a codec; and the smallest, for size.
    alternatives: ClassVar = {
        "blosc-lz4": {role: {"codec": "blosc-lz4-5 byte shuffle"} for role in TUNED_ROLES},
        "paged": {Role.PAIR: {"edge": 16, "pages": "4 KiB"}},
        "uncompressed": {role: {"storage": _CONTIGUOUS} for role in TUNED_ROLES},
        "zstd": {role: {"codec": "zstd-9 byte shuffle"} for role in TUNED_ROLES},
        "checked": {role: {"checks": _FLETCHER} for role in TUNED_ROLES},  # to compare with formats that always check
        "large-pages": {Role.PAIR: {"pages": "1 MiB"}},  # for object stores: metadata lie together
    }
    candidates: ClassVar = (
        ("", "h5py"), ("blosc-lz4", "h5py"), ("paged", "h5py"), ("uncompressed", "h5py"), ("zstd", "h5py"),
    )  # fmt: skip

    unmeasured = ("reading threads of HDF5 2.3", "ros3", "MPI", "SWMR")
    objections = (
        (
            "Direct reads of chunks on several threads are what HDF5 recommends for speed.",
            "No maintained package does them. The reader h5py-direct does, by code of this project: it is measured on "
            "request (--readers h5py-direct or all), and never graded.",
        ),
        (
            "Users have gzip.",
            "It takes about four to seven times as long in every read (docs/settings.md), and nothing in such a chunk "
            "states its length, so that a damaged archive could not be refused before it is decoded.",
        ),
    )

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            return matched_layout(spec)
        if profile == "seed":
            return Layout(origin="seed", why="contiguous, no compression, no checksum")
        if not spec.shape:
            return Layout(origin="default", why="a scalar has no chunks")
        why = "bitshuffle-lz4 reads twice as fast as blosc zstd-3 at 0.9 of its ratio; small chunks for windows"
        found, values = chosen_layout(self, spec, profile, _CODECS, why), self.values(spec.role, profile)
        if values.get("storage") == _CONTIGUOUS:
            return replace(found, chunks=None, codec=None)
        chunks = found.chunks or ()
        if found.codec and found.codec.shuffle == "bit":
            chunks = in_eights(chunks)
        # HDF5 accepts no chunk that is longer than its tensor.
        chunks = tuple(min(c, n or 1) for c, n in zip(chunks, spec.shape, strict=True))
        return replace(found, chunks=chunks, checked=values.get("checks") == _FLETCHER)

    def search_space(self) -> SearchSpace:
        return chunk_space(pair=32, attention=128, least=32 << 10, codecs=tuple(_CODECS.values()), also=_ALSO)

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Hdf5Writer:
        return Hdf5Writer(path, self, profile)

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> RecoveredHdf5Reader:
        return RecoveredHdf5Reader(path, manifest, places)

    def unchecked(self, path: Path, tensor: str, place: Place) -> list[Extent]:
        return stored_extents(path, place)

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            # HDF5 searches its signature at 0, 512, 1024, ...; in files of this harness it follows the user block.
            return any(_at(file, place) == _SIGNATURE for place in (0, _USER_BLOCK, *_PAGES.values()))

    def foreign(self, path: Path) -> bool:
        try:
            with open_hdf5(path) as file:
                return not link_out(file) and MANIFEST not in file
        except (OSError, RuntimeError, ValueError, KeyError):
            return False

    def leads_out(self, path: Path) -> str:
        with open_hdf5(path) as file:
            return link_out(file)

    def overstated(self, path: Path) -> str:
        with open_hdf5(path) as file, open_regular(path) as bytes_of_it:
            return overstated_chunk(file, bytes_of_it.fileno())

    def settings(self) -> dict[str, str]:
        versions = {"h5py": h5py.version.version, "HDF5": h5py.version.hdf5_version, "hdf5plugin": hdf5plugin.version}
        return {
            "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
            "threads": "1: h5py holds one lock per process",
            "caches": "HDF5's chunk cache, for as long as a data set is held",
        }
