"""HDF5 by reference: what a reference can say is read bit for bit, and what it cannot is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import h5py
import hdf5plugin
import numcodecs
import numpy as np
import pytest

from harness.errors import ArchiveError, HarnessError
from harness.extensions.object_store.address import beside
from harness.extensions.object_store.attempts import StoreCounter
from harness.extensions.object_store.hdf5_reference import references
from harness.extensions.object_store.place import S3Place
from harness.extensions.object_store.stored import S3Archive, StoredFormat
from harness.extensions.object_store.uploads import upload, upload_beside
from harness.formats.archive import write_archive
from harness.formats.base import UnsupportedProfile, load_format
from harness.trace.sources import open_trace
from tests.extensions.object_store.fake import FakeStore

KEY = "run/a.h5"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.h5"
    write_archive(open_trace("synthetic:layers=1", 24), load_format("hdf5"), found)
    return found


def far(path: Path, place: S3Place) -> Any:
    upload(place, path, KEY)
    archive = S3Archive(place=place, key=KEY, route="reference")
    assert upload_beside("hdf5", path, archive) == ""
    return StoredFormat(load_format("hdf5"), archive).reader(path)


def bools(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random(shape) > 0.5


DATASETS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "gzip": (np.arange(630, dtype="<f4").reshape(70, 9), {"chunks": (16, 4), "compression": "gzip", "shuffle": True}),
    "bitshuffle": (np.arange(105, dtype="<i8").reshape(7, 5, 3), {"chunks": (4, 5, 2), **hdf5plugin.Bitshuffle()}),
    "zstd": (bools((30, 3)), {"chunks": (7, 3), **hdf5plugin.Zstd()}),
    "plain": (np.arange(50, dtype="<f2"), {"chunks": (8,)}),
    "contiguous": (np.arange(3_000_001, dtype=np.uint8), {}),
    "nan": (np.full((5, 5), np.nan, "<f4"), {"chunks": (2, 2), **hdf5plugin.Blosc()}),
    # Blosc makes the first chunk no smaller, and is left out of it.
    "some": (np.concatenate([np.random.default_rng(0).integers(0, 256, 100, np.uint8), np.zeros(100, np.uint8)]),
             {"chunks": (100,), **hdf5plugin.Blosc()}),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATASETS)
def test_every_filter_is_decoded(kind: str, path: Path, place: S3Place, fake: FakeStore) -> None:
    values, options = DATASETS[kind]
    with h5py.File(path, "a") as file:
        file.create_dataset("pair/x", data=values, **options)
        file.create_dataset("pair/empty", (0, 3), "<f4")
        file.create_dataset("pair/unwritten", (6, 3), "<f4", chunks=(4, 3))
    with far(path, place) as reader:
        found = reader.read("pair/x")
        assert found.dtype == values.dtype and found.tobytes() == values.tobytes()
        part = tuple(slice(n // 3, n // 2 + 1) for n in values.shape)
        assert reader.read("pair/x", part).tobytes() == values[part].tobytes()
        assert reader.read("pair/empty").shape == (0, 3)
        assert not reader.read("pair/unwritten").any()


def test_opening_is_one_request_and_a_chunk_another(path: Path, place: S3Place, fake: FakeStore) -> None:
    with h5py.File(path, "a") as file:
        file.create_dataset("pair/x", data=np.arange(64, dtype="<f4"), chunks=(16,))
    fake.requests.clear()
    counter = StoreCounter()
    with far(path, place) as reader:
        assert counter.counts().requests == 2 + 1  # the uploads, and the references
        assert counter.counts().bytes_read == len(fake.objects[f"some/prefix/{beside(KEY)}"])
        reader.read("pair/x", (slice(20, 40),))
        assert counter.counts().requests == 2 + 1 + 2
        assert len(fake.requests) == counter.counts().requests


def test_the_references_are_kerchunks(path: Path) -> None:
    files = fsspec.filesystem("reference", fo=json.loads(references(path)), template_overrides={"u": str(path)})
    metadata = json.loads(files.cat(".zmetadata"))["metadata"]["activations/layer_0/pair_repr/.zarray"]
    stored = files.cat("activations/layer_0/pair_repr/0.0.0")
    decoded = numcodecs.get_codec(metadata["compressor"]).decode(stored).view(metadata["dtype"])
    with load_format("hdf5").reader(path) as reader:
        whole = reader.read("activations/layer_0/pair_repr")
    first = whole[tuple(slice(0, edge) for edge in metadata["chunks"])]
    assert np.array_equal(decoded.reshape(metadata["chunks"])[tuple(map(slice, first.shape))], first)


def unknown_filter(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(300, h5py.h5z.FLAG_OPTIONAL, ())
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), properties)


def half_filtered(file: h5py.File) -> None:
    dataset = file.create_dataset("x", (4,), "<f4", chunks=(4,), compression="gzip", shuffle=True)
    dataset.id.write_direct_chunk((0,), bytes(16), 2)


def bare_and_as_long(file: h5py.File) -> None:
    dataset = file.create_dataset("x", (8,), "<f4", chunks=(4,), compression="gzip")
    dataset.id.write_direct_chunk((0,), bytes(16), 1)
    dataset.id.write_direct_chunk((4,), bytes(16), 0)


def in_the_header(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), properties)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (unknown_filter, "x has the HDF5 filter 300, which cannot be decoded here"),
        (half_filtered, "x has chunks without some of its filters"),
        (bare_and_as_long, "x has chunks without some of its filters"),
        (in_the_header, "x is in its header"),
    ],
)
def test_what_no_reference_can_say_is_refused(
    make: Callable[[h5py.File], None], message: str, path: Path, place: S3Place, fake: FakeStore
) -> None:
    with h5py.File(path, "a") as file:
        make(file)
    with pytest.raises(UnsupportedProfile, match=message):
        references(path)
    assert message in upload_beside("hdf5", path, S3Archive(place=place, key=KEY, route="reference"))
    assert not fake.objects


@pytest.mark.parametrize("text", ["none", "[]", '{"version": 1}', '{"version": 1, "refs": {"a": ["u", -1, 5]}}'])
def test_references_that_are_none(text: str, path: Path, place: S3Place, fake: FakeStore) -> None:
    far(path, place).close()
    fake.objects[f"some/prefix/{beside(KEY)}"] = text.encode()
    with pytest.raises(ArchiveError, match="holds no references"):
        StoredFormat(load_format("hdf5"), S3Archive(place=place, key=KEY, route="reference")).reader(path)


@pytest.mark.parametrize("profile", ["tuned", "matched"])
def test_references_to_other_bytes_are_an_error(profile: Any, tmp_path: Path, place: S3Place, fake: FakeStore) -> None:
    path = tmp_path / "b.h5"
    write_archive(open_trace("synthetic:layers=1", 24), load_format("hdf5"), path, profile)
    far(path, place).close()
    document = json.loads(references(path))
    document["refs"]["activations/layer_0/pair_repr/0.0.0"][1] -= 4
    fake.objects[f"some/prefix/{beside(KEY)}"] = json.dumps(document).encode()
    with (
        StoredFormat(load_format("hdf5"), S3Archive(place=place, key=KEY, route="reference")).reader(path) as reader,
        pytest.raises(HarnessError, match="not of the size that its reference says"),
    ):
        reader.read("activations/layer_0/pair_repr")
