"""Every format reads from a store what it reads from a folder, bit for bit, in few and counted requests."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.extensions.object_store.address import FILE_CACHES, beside
from harness.extensions.object_store.attempts import StoreCounter
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.place import S3Place
from harness.extensions.object_store.remotes import remote_of
from harness.extensions.object_store.shards import StoredFile
from harness.extensions.object_store.stored import S3Archive, StoredFormat
from harness.extensions.object_store.uploads import remove_objects, upload, upload_beside
from harness.formats.archive import verify_archive, write_archive
from harness.formats.base import Format, Reader, load_format
from harness.formats.describing import ListsTensors
from harness.formats.raw import RawFormat
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace
from tests.extensions.object_store.fake import FakeStore, routes_of

ROUTES = [
    (name, profile, route)
    for name, profiles in {
        "raw": ("tuned",), "npz": ("tuned",), "hdf5": ("seed", "tuned", "matched"), "zarr": ("seed", "tuned"),
        "zarr-slim": ("tuned", "matched", "fast"), "hdf5-slim": ("tuned",),
    }.items()
    for profile in profiles
    for route in routes_of(name)
]  # fmt: skip


def written(name: str, profile: str, folder: Path, n_res: int = 40) -> Path:
    backend = load_format(name)
    path = folder / f"a{backend.suffix}"
    write_archive(open_trace("synthetic:layers=2", n_res), backend, path, profile)
    return path


def text_of(reader: Reader) -> str:
    text = reader.manifest_text()
    return text if isinstance(text, str) else text.decode()


@pytest.mark.parametrize(("name", "profile", "route"), ROUTES)
def test_reads_the_same_bits(
    name: str, profile: str, route: str, place: S3Place, fake: FakeStore, tmp_path: Path
) -> None:
    backend, path = load_format(name), written(name, profile, tmp_path)
    keys = upload(place, path, f"run/{path.name}", remote_of(backend).documents(path))
    assert verify_archive(path) == []
    archive = S3Archive(place=place, key=f"run/{path.name}", route=route)
    if route == "reference":
        assert upload_beside(name, path, archive) == ""
        keys.append(beside(archive.key))
    remote = StoredFormat(backend, archive)
    fake.requests.clear()
    counter = StoreCounter()
    with backend.reader(path) as near, remote.reader(path) as far:
        assert text_of(far) == text_of(near)
        assert not isinstance(near, ListsTensors) or far.stored() == near.stored()
        for spec in Manifest.from_json(text_of(near)).tensors:
            assert np.array_equal(far.read(spec.path), near.read(spec.path), equal_nan=True), spec.path
            if spec.shape:
                part = tuple(slice(n // 4, n // 2 + 1) for n in spec.shape)
                assert np.array_equal(far.read(spec.path, part), near.read(spec.path, part)), spec.path
    counts = counter.counts()
    assert counts.requests == len(fake.requests) and counts.retries == 0
    assert counts.bytes_read and counts.bytes_read >= max(len(data) for data in fake.objects.values()) / 2
    remove_objects(place, keys)
    assert not fake.objects


def test_slimmed_zarr_takes_one_request_for_a_layer_in_a_small_file(place: S3Place, tmp_path: Path) -> None:
    path = written("zarr-slim", "tuned", tmp_path)
    upload(place, path, "run/a")
    archive = S3Archive(place=place, key="run/a", route="own")
    with StoredFormat(load_format("zarr-slim"), archive).reader(path) as reader:
        counter = StoreCounter()
        reader.read("activations/layer_0/pair_repr")
        assert counter.counts().requests == 1
        reader.read("activations/layer_0/pair_repr", (slice(0, 8), slice(0, 8), slice(0, 128)))
        assert counter.counts().requests == 1  # the same file, which is held
        reader.read("activations/layer_1/pair_repr")
        assert counter.counts().requests == 2


@pytest.mark.parametrize("size", [300_000, 40 << 20])
def test_pieces_of_a_file_are_those_that_were_asked_for(size: int, place: S3Place, fake: FakeStore) -> None:
    data = np.random.default_rng(size).bytes(size)
    fake.objects["some/prefix/file"] = data
    with closing(Client(place)) as client:
        source = StoredFile(client, "file", at_once=False)
        end, found = source.tail(1000)
        assert (bytes(end), found) == (data[-1000:], size)
        wanted = [(10, 2000), (100_000, 130_000), (size - 5000, size)]
        source.expect(wanted)
        for start, stop in wanted:
            assert bytes(source.read(start, stop, np.empty(stop - start, np.uint8))) == data[start:stop]


@pytest.mark.parametrize("cache", FILE_CACHES)
def test_hdf5_reads_through_every_cache(cache: str, place: S3Place, tmp_path: Path) -> None:
    path = written("hdf5", "tuned", tmp_path)
    upload(place, path, "run/a")
    other = replace(place, file_cache=cache, block_bytes=64 << 10)
    backend = load_format("hdf5")
    with backend.reader(path) as near, StoredFormat(backend, S3Archive(place=other, key="run/a")).reader(path) as far:
        tensor = "activations/layer_1/pair_repr"
        assert np.array_equal(far.read(tensor), near.read(tensor))


def test_an_object_that_changes_while_it_is_read_is_an_error(place: S3Place, fake: FakeStore) -> None:
    fake.objects["some/prefix/file"] = bytes(1000)
    with closing(Client(place)) as client:
        client.range("file", 0, 10)
        fake.objects["some/prefix/file"] = bytes(999) + b"x"
        with pytest.raises(Exception, match="changed in the store while it was read"):
            client.range("file", 990, 10)


def test_a_format_of_anyones_registers_how_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Format):
        name, readers, writer = "other", RawFormat.readers, None

    assert not remote_of(Other()).routes
    point = EntryPoint("other", "harness.extensions.object_store.remotes:npz", "harness.remotes")
    monkeypatch.setattr(registry, "_points", lambda group: {"other": point})
    assert set(remote_of(Other()).routes) == {"ranges", "download"}
