"""Arms of `benchmarks.object_store`: formats in profiles, each with some ways to read it from a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.extensions.object_store.attempts import StoreCounter
from harness.extensions.object_store.place import S3Place
from harness.extensions.object_store.stored import S3Archive, StoredFormat
from harness.formats.base import Reader, load_format
from harness.formats.settings import configured, profile_of
from harness.records import RAW
from harness.sampling.counters import ReadCounts
from harness.sampling.sample import Counter, Opener

TENSORSTORE = "tensorstore"
"""A route that runs do not have: tensorstore has its own client, whose requests are not counted here."""


@dataclass(frozen=True)
class StoreArm:
    """A format in a profile, read by one route."""

    # As in a run.
    format: str
    profile: str
    route: str  # A name of `harness.extensions.object_store.remotes.RemoteFormat`, or `TENSORSTORE`.
    reader: str  # Its reader, in the words of the table.
    drawn: bool = True  # Whether it has a line in the picture.
    own: bool = False  # Whether code of this project reads or decodes it, so that it represents only itself.

    @property
    def label(self) -> str:
        """Its name in rows."""
        return self.format if self.route == "ranges" else f"{self.format}-{self.route}"

    @property
    def column(self) -> str:
        """Its profile in rows; the ceiling has none."""
        return "" if self.format == RAW else self.profile

    def opener(self, place: S3Place, key: str) -> tuple[Opener, Counter]:
        """Return the opener of its archive in a store, and the counter of its requests."""
        if self.route == TENSORSTORE:
            return _Tensorstore(place, key), _Uncounted
        backend = load_format(self.format)
        stored = S3Archive(place=place, key=key, route=self.route)
        return StoredFormat(configured(backend, profile_of(backend, self.profile)), stored), StoreCounter


# Each format by the reader that comes with its library, and by the best maintained one; in addition, this project's
# decoder. Large pages and shards are what the maintainers of HDF5 and Zarr recommend for object stores.
ARMS = (
    StoreArm(RAW, "tuned", "ranges", "ranges of a flat file", own=True),
    StoreArm("npz", "tuned", "ranges", "numpy.load, blocks of 1 MiB, each tensor loaded once", drawn=False),
    StoreArm("npz", "tuned", "download", "numpy.load, downloaded whole, each tensor loaded once"),
    StoreArm("hdf5", "tuned", "ranges", "h5py, blocks of 1 MiB", drawn=False),
    StoreArm("hdf5", "large-pages", "ranges", "h5py, pages and blocks of 1 MiB"),
    StoreArm(
        "hdf5", "tuned", "reference", "zarr-python by reference, chunks decoded by this project's codec", own=True
    ),
    StoreArm("hdf5-slim", "large-pages", "ranges", "h5py, pages and blocks of 1 MiB"),
    StoreArm("zarr", "seed", "ranges", "zarr-python", drawn=False),
    StoreArm("zarr", "tuned", "ranges", "zarr-python", drawn=False),
    StoreArm("zarr", "tuned", "fused", "zarr-python, fused pipeline"),
    StoreArm("zarr", "tuned", TENSORSTORE, "tensorstore"),
    StoreArm("zarr", "sharded", "fused", "zarr-python, fused pipeline", drawn=False),
    StoreArm("zarr", "sharded", TENSORSTORE, "tensorstore", drawn=False),
    StoreArm("zarr-slim", "tuned", "ranges", "zarr-python", drawn=False),
    StoreArm("zarr-slim", "tuned", "fused", "zarr-python, fused pipeline"),
    StoreArm("zarr-slim", "tuned", "own", "this project's decoder", own=True),
)
OWN = "zarr-slim-own"
"""The label of this project's decoder."""


class _Uncounted:
    """Counter that counts nothing: every count is None."""

    def counts(self) -> ReadCounts:
        return ReadCounts(None, None, None)


class _Tensorstore:
    """Plain Zarr in a store as tensorstore's own client reads it."""

    name = "zarr"

    def __init__(self, place: S3Place, key: str) -> None:
        prefix = "/".join(part for part in (place.prefix, key) if part)
        self._store = {
            "driver": "s3", "bucket": place.bucket, "endpoint": place.endpoint, "aws_region": "us-east-1",
            "aws_credentials": {"type": "environment"},
        }  # fmt: skip
        self._prefix = prefix

    def reader(self, path: Path) -> Reader:
        from harness.formats.tensorstore_reader import TensorstoreReader

        store, prefix = self._store, self._prefix

        class Remote(TensorstoreReader):
            def place(self, path: str) -> tuple[str, dict[str, Any]]:
                return "zarr3", {**store, "path": f"{prefix}/{path}/"}

        return Remote(path)
