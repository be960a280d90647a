"""What goes wrong between a store and its reader ends in a retry or in a clear error, never in wrong data."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError
from harness.extensions.object_store.address import parse_fault
from harness.extensions.object_store.attempts import StoreCounter
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.place import S3Place
from harness.extensions.object_store.shaper import shaped
from harness.extensions.object_store.stored import S3Archive, StoredFormat
from harness.extensions.object_store.uploads import upload, upload_beside
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.sampling.sample import Reading, take
from harness.sampling.verify import Expected, expectations
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.workload import Read
from tests.extensions.object_store.fake import FakeStore, routes_of

PASSING = ("drop", "500", "503", "truncate")


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_tried_again_and_counted(kind: str, place: S3Place, fake: FakeStore) -> None:
    data = bytes(range(256)) * 1000
    fake.objects["some/prefix/file"] = data
    with shaped(replace(place, fault=f"{kind}:every=2")) as near, closing(Client(near)) as client:
        counter = StoreCounter()
        assert bytes(client.range("file", 100, 100_000)) == data[100:100_100]
        assert bytes(client.whole("file")) == data
        assert counter.counts().retries == 2
        assert counter.counts().requests == 4


@pytest.mark.parametrize("kind", [*PASSING, "norange"])
def test_a_fault_that_stays_is_a_clear_error(kind: str, place: S3Place, fake: FakeStore) -> None:
    fake.objects["some/prefix/file"] = bytes(100_000)
    with shaped(replace(place, fault=f"{kind}:every=1")) as near, closing(Client(near)) as client:
        with pytest.raises(HarnessError, match="file") as caught:
            client.range("file", 100, 50_000)
        assert "\n" not in str(caught.value)


FORMATS = ("raw", "npz", "hdf5", "zarr", "zarr-slim")


@dataclass(frozen=True)
class Written:
    """One trace in every format, and what reading it has to give."""

    paths: dict[str, Path]
    reads: tuple[Read, ...]
    expected: dict[str, Expected]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    trace, folder = open_trace("synthetic:layers=1", 40), tmp_path_factory.mktemp("archives")
    paths = {name: folder / f"a{load_format(name).suffix}" for name in FORMATS}
    for name, path in paths.items():
        manifest = write_archive(trace, load_format(name), path)
    reads = tuple(Read(path=spec.path) for spec in manifest.tensors if spec.role in (Role.PAIR, Role.ATTENTION))
    return Written(paths, reads, expectations(paths["raw"], manifest, reads))


READ = tuple((name, route) for name in FORMATS for route in routes_of(name) if route != "download")


def sample(written: Written, name: str, route: str, place: S3Place) -> Reading:
    path, backend = written.paths[name], load_format(name)
    upload(place, path, path.name)
    upload_beside(name, path, S3Archive(place=place, key=path.name, route=route))
    with shaped(place) as near:
        stored = StoredFormat(backend, S3Archive(place=near, key=path.name, route=route))
        return take(stored, path, written.reads, written.expected, counter=StoreCounter)


@pytest.mark.parametrize("kind", [*PASSING, "norange"])
@pytest.mark.parametrize(("name", "route"), READ)
def test_every_format_reads_right_through_faults_that_pass(
    name: str, route: str, kind: str, written: Written, place: S3Place
) -> None:
    found = sample(written, name, route, replace(place, fault=f"{kind}:every=2"))
    assert not found.problem
    assert found.retries


@pytest.mark.parametrize(("name", "route"), READ)
def test_wrong_bytes_are_an_error_or_a_failed_sample(name: str, route: str, written: Written, place: S3Place) -> None:
    try:
        found = sample(written, name, route, replace(place, fault="flip:every=1"))
    except HarnessError as error:
        assert "\n" not in str(error)
    else:
        assert found.problem


def test_faults_are_read_from_text() -> None:
    assert (parse_fault("drop"), parse_fault("drop:every=3")) == (("drop", 5), ("drop", 3))
    for text in ("drip", "drop:every=0", "drop:often", "drop:every=x"):
        with pytest.raises(UsageError, match="KIND"):
            parse_fault(text)
