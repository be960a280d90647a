"""The same with a real server, where it is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.seaweed import Server, seaweed, weed
from harness.errors import UsageError
from harness.extensions.object_store.address import beside
from harness.extensions.object_store.checking import check_store
from harness.extensions.object_store.place import parse_place
from harness.extensions.object_store.shaper import shaped
from harness.extensions.object_store.stored import S3Archive, StoredFormat
from harness.extensions.object_store.uploads import remove_objects, upload, upload_beside
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace

pytestmark = pytest.mark.skipif(weed() is None, reason="needs trace-format-harness[s3-server]")


@pytest.fixture(scope="module")
def server() -> object:
    with seaweed() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.variables().items():
            patch.setenv(name, value)
        yield running


def test_formats_read_from_it_through_the_shaper(server: Server, tmp_path: Path) -> None:
    place = parse_place(f"s3://{server.bucket}/a/b")
    check_store(place)
    routes = [("raw", "ranges"), ("npz", "ranges"), ("hdf5", "ranges"), ("hdf5", "reference")]
    for name, route in [*routes, ("zarr", "ranges"), ("zarr-slim", "ranges")]:
        backend = load_format(name)
        path = tmp_path / f"{route}{backend.suffix}"
        write_archive(open_trace("synthetic:layers=1", 40), backend, path)
        keys = upload(place, path, path.name)
        upload_beside(name, path, S3Archive(place=place, key=path.name, route=route))
        keys += [beside(path.name)] if route == "reference" else []
        with (
            shaped(replace(place, latency_ms=1, fault="drop:every=3")) as near,
            backend.reader(path) as local,
            StoredFormat(backend, S3Archive(place=near, key=path.name, route=route)).reader(path) as far,
        ):
            for spec in Manifest.from_json(local.manifest_text()).tensors:
                np.testing.assert_array_equal(far.read(spec.path), local.read(spec.path))
        remove_objects(place, keys)


def test_its_refusals_are_put_into_words(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such bucket"):
        check_store(parse_place("s3://elsewhere/x"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UsageError, match="refused the keys"):
        check_store(parse_place(f"s3://{server.bucket}/x"))


def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "import time\nfrom benchmarks.seaweed import seaweed\n"
        "with seaweed() as s:\n print(s.endpoint, flush=True)\n time.sleep(99)"
    )
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip().rpartition(":")[2]
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while f"-s3.port={port}" in "".join(_commands()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"-s3.port={port}" not in "".join(_commands())


def _commands() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_text())
        except OSError:
            continue
    return found
