"""Containers of arrays from any program: NPZ, NPY, HDF5 and Zarr."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.files import open_regular
from harness.foreign.containers import Arrays, Container
from harness.foreign.hdf5_datasets import hdf5_arrays, hdf5_names
from harness.foreign.numpy_files import npy_array, npz_arrays
from harness.foreign.source import Gathering
from harness.foreign.zarr_stores import ROOTS, ZarrStore
from harness.zips import DAMAGE, open_zip

__all__ = [
    "ROOTS", "ZarrStore", "hdf5_arrays", "hdf5_file", "hdf5_names", "npy_file", "npz_arrays", "npz_file", "zarr_folder",
]  # fmt: skip


def _starts(path: Path, signature: bytes, *places: int) -> bool:
    """Return whether a regular file has a signature at one of several positions; never raise for other files."""
    try:
        with open_regular(path) as file:
            return any(file.seek(place) == place and file.read(len(signature)) == signature for place in places)
    except (OSError, HarnessError):
        return False


def _is_npz(path: Path) -> bool:
    """Return whether a file is an NPZ: a zip file with at least one ``.npy`` member."""
    if not _starts(path, b"PK\x03\x04", 0):
        return False
    try:
        with open_zip(path) as file:
            return any(name.endswith(".npy") for name in file.namelist())
    except (OSError, HarnessError, *DAMAGE):
        return path.suffix == ".npz"  # reading it reports the damage


def _npz(path: Path) -> Arrays:
    left_out: dict[str, str] = {}
    return Arrays(found=npz_arrays(path, left_out), left_out=left_out)


def _npy(path: Path) -> Arrays:
    return Arrays(found={"": npy_array(path)})


def _hdf5(path: Path) -> Arrays:
    left_out: dict[str, str] = {}
    return Arrays(found=hdf5_arrays(path, left_out), left_out=left_out)


def _zarr(path: Path) -> Arrays:
    left_out: dict[str, str] = {}
    gathering = Gathering(path, "zarr")
    store = ZarrStore(gathering, left_out)
    return Arrays(found=store.arrays, left_out=left_out, notes=gathering.notes)


_HDF5_PLACES = (0, *(512 << power for power in range(12)))  # by the specification of the format

npz_file = Container(name="npz", description="numpy.savez, deflated or not", recognises=_is_npz, arrays=_npz)
npy_file = Container(
    name="npy",
    description="numpy.save, also folders of them",
    recognises=lambda path: _starts(path, b"\x93NUMPY", 0),
    arrays=_npy,
)
hdf5_file = Container(
    name="hdf5",
    description="HDF5 of any layout, netCDF 4",
    recognises=lambda path: _starts(path, b"\x89HDF\r\n\x1a\n", *_HDF5_PLACES),
    arrays=_hdf5,
)
zarr_folder = Container(
    name="zarr",
    description="Zarr 2 and 3, groups and arrays",
    recognises=lambda path: path.is_dir() and any((path / name).is_file() for name in ROOTS),
    arrays=_zarr,
)
