"""Ways in which several processes write into one place, through the libraries of the formats: see `many_writers`."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import zarr

from benchmarks.writers_load import Unit, WritersLoad

Promise = Literal["all", "or refuses", "none"]
"""Promise of a case: every block is stored; it is stored or the writer gets an error; or neither."""

BUCKET = "traces"
"""Bucket of the cases that need an object store."""

_PATIENCE = 60.0  # seconds for which a writer retries


Make = Callable[[Path, WritersLoad], None]
Write = Callable[[Path, WritersLoad, int, int, np.ndarray], None]
Read = Callable[[Path, WritersLoad, int, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class WritersCase:
    """One way in which several processes write into one place."""

    # The format, the package that writes it, and what the writers share.
    format: str
    library: str
    name: str
    make: Make  # Takes the path and the load; creates what must exist before the writers begin.
    write: Write  # Takes the path, the load, the writer, the block and its values.
    read: Read  # Takes the path, the load, the writer and the block; returns its values.
    promise: Promise = "none"  # Its promise: "all", "or refuses", "none".
    unit: Unit = "layers"  # What a block is: "layers", "proteins".
    environment: tuple[tuple[str, str], ...] = ()  # Variables of the processes.
    store: bool = False  # Whether it writes into an object store, a server on loopback.

    @property
    def title(self) -> str:
        """Its name in tables."""
        return self.name if self.unit == "layers" else f"{self.unit}: {self.name}"


# Zarr: an array for each writer, or one array for all, with chunks or shards of one writer or shared by several.

Edges = Callable[[WritersLoad], tuple[int, int | None]]


def _chunk_a_block(load: WritersLoad) -> tuple[int, int | None]:
    return load.rows, None


def _chunk_of_two(load: WritersLoad) -> tuple[int, int | None]:
    return 2 * load.rows, None


def _shard_a_block(load: WritersLoad) -> tuple[int, int | None]:
    return load.rows // 2, load.rows


def _shard_of_all(load: WritersLoad) -> tuple[int, int | None]:
    return load.rows, load.writers * load.rows


def _make_zarr(path: Path, load: WritersLoad, edges: Edges) -> None:
    chunk, shard = edges(load)
    zarr.create_array(
        path / "all", shape=load.shape, dtype="float32", fill_value=0, compressors=None, chunks=(chunk, load.width),
        shards=None if shard is None else (shard, load.width),
    )  # fmt: skip


def _write_zarr(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    zarr.open_array(path / "all", mode="r+")[load.part(writer, block)] = array


def _read_zarr(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    return np.asarray(zarr.open_array(path / "all", mode="r")[load.part(writer, block)])


def _make_group(path: Path, load: WritersLoad) -> None:
    zarr.create_group(path)


def _write_own_array(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    zarr.open_group(path, mode="r+").create_array(f"writer_{writer}/block_{block}", data=array, compressors=None)


def _read_own_array(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    return np.asarray(zarr.open_array(path / f"writer_{writer}/block_{block}", mode="r")[:])


# HDF5: one file, which its lock reserves for one process; one file without the lock; a linked file for each writer.


def _make_hdf5(path: Path, load: WritersLoad) -> None:
    with h5py.File(path, "w"):
        pass


def _write_hdf5(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        file[f"writer_{writer}/block_{block}"] = array


def _write_hdf5_patiently(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    """Write, with retries while another process has the file: the only way for several processes to use one file."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            _write_hdf5(path, load, writer, block, array)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def _read_hdf5(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file[f"writer_{writer}/block_{block}"][()])


def _make_linked(path: Path, load: WritersLoad) -> None:
    with h5py.File(path, "w") as file:
        for writer in range(load.writers):
            file[f"writer_{writer}"] = h5py.ExternalLink(f"{path.name}.{writer}", "/")


def _write_linked(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    with h5py.File(path.with_name(f"{path.name}.{writer}"), "a") as file:
        file[f"block_{block}"] = array


# NPZ: a zip file has one directory, at its end, which every appending writer writes again.


def _make_npz(path: Path, load: WritersLoad) -> None:
    with zipfile.ZipFile(path, "w"):
        pass


def _write_npz(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    with zipfile.ZipFile(path, "a") as file, file.open(f"writer_{writer}/block_{block}.npy", "w") as member:
        np.lib.format.write_array(member, array)


def _read_npz(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file[f"writer_{writer}/block_{block}"])


# Icechunk: a transaction for each block, rebased onto what others have committed meanwhile. Icechunk itself warns that
# a file system is "not safe for concurrent commits", and recommends object stores, whose writes can be conditional.


def _repository(path: Path, *, new: bool = False) -> Any:
    os.environ.setdefault("ICECHUNK_LOG", "error")  # else it logs the warning above whenever one is opened
    import icechunk  # an optional package

    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        storage = icechunk.s3_storage(
            bucket=BUCKET, prefix=path.as_posix().strip("/"), endpoint_url=endpoint, allow_http=True,
            force_path_style=True, from_env=True, region=os.environ["AWS_REGION"],
        )  # fmt: skip
    else:
        storage = icechunk.local_filesystem_storage(str(path))
    return icechunk.Repository.create(storage) if new else icechunk.Repository.open(storage)


def _make_icechunk(path: Path, load: WritersLoad) -> None:
    session = _repository(path, new=True).writable_session("main")
    zarr.create_array(
        session.store, shape=load.shape, dtype="float32", fill_value=0, compressors=None,
        chunks=(load.rows, load.width),
    )  # fmt: skip
    session.commit("an empty array")


def _write_icechunk(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    import icechunk

    session = _repository(path).writable_session("main")
    zarr.open_array(session.store, mode="r+")[load.part(writer, block)] = array
    session.commit(f"block {block}", rebase_with=icechunk.ConflictDetector(), rebase_tries=1000)


def _read_icechunk(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    store = _repository(path).readonly_session("main").store
    return np.asarray(zarr.open_array(store, mode="r")[load.part(writer, block)])


_OWN_ARRAY = partial(
    WritersCase, format="zarr", library="zarr", make=_make_group, write=_write_own_array, read=_read_own_array
)
_HDF5 = partial(WritersCase, format="hdf5", library="h5py", make=_make_hdf5, write=_write_hdf5, read=_read_hdf5)
_NPZ = WritersCase(
    format="npz", library="numpy", name="one file, appended", make=_make_npz, write=_write_npz, read=_read_npz
)
_ICECHUNK = partial(
    WritersCase, format="icechunk", library="icechunk", make=_make_icechunk, write=_write_icechunk, read=_read_icechunk
)


def _zarr(name: str, edges: Edges, promise: Promise, **more: Any) -> WritersCase:
    make = partial(_make_zarr, edges=edges)
    return WritersCase(
        format="zarr", library="zarr", name=name, make=make, write=_write_zarr, read=_read_zarr, promise=promise, **more
    )


CASES = (
    _OWN_ARRAY(name="an array for each block", promise="all"),
    _zarr("one array, each block a chunk", _chunk_a_block, "all"),
    _zarr("one array, chunks of two blocks", _chunk_of_two, "none"),
    _zarr("one array, each block a shard", _shard_a_block, "all"),
    _zarr("one array, shards of all writers' blocks", _shard_of_all, "none"),
    _HDF5(name="one file, tried once", promise="or refuses"),
    _HDF5(name="one file, tried until free", write=_write_hdf5_patiently, promise="all"),
    _HDF5(name="one file, lock off", environment=(("HDF5_USE_FILE_LOCKING", "FALSE"),)),
    _HDF5(name="a file for each writer, linked", make=_make_linked, write=_write_linked, promise="all"),
    _NPZ,
    _ICECHUNK(name="one array in a folder, a commit for each block"),
    _ICECHUNK(name="one array in S3, a commit for each block", promise="all", store=True),
    # Proteins have different lengths, so that neighbours in one array share chunks.
    _OWN_ARRAY(name="an array for each", promise="all", unit="proteins"),
    _zarr("one array, one after the other", _chunk_a_block, "none", unit="proteins"),
    _HDF5(name="one file, tried until free", write=_write_hdf5_patiently, promise="all", unit="proteins"),
    _ICECHUNK(name="one array in S3, one after the other", promise="or refuses", store=True, unit="proteins"),
)
