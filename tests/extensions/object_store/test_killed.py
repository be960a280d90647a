"""A run that is killed leaves objects in its store, and its next session takes them away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest

from benchmarks.seaweed import seaweed, weed
from harness.cli import main
from harness.extensions.object_store.client import Client
from harness.extensions.object_store.place import parse_place
from harness.extensions.object_store.uploads import UPLOADED, remove_objects
from harness.row_files import read_samples
from tests.extensions.object_store.fake import BUCKET, FakeStore

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fake_keys(fake: FakeStore) -> Callable[[], set[str]]:
    return lambda: {key.removeprefix("x/") for key in list(fake.objects)}


@pytest.fixture
def real_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], set[str]]]:
    if weed() is None:
        pytest.skip("needs trace-format-harness[s3-server]")
    with seaweed(BUCKET) as server:
        for name, value in server.variables().items():
            monkeypatch.setenv(name, value)
        store = Client(parse_place(f"s3://{BUCKET}/x")).store
        yield lambda: {found["path"] for part in obstore.list(store) for found in part}


def killed(folder: Path, reached: Callable[[], bool]) -> None:
    """Start a run and kill it as soon as it has got so far."""
    options = ["--quiet", "--preset", "quick", "--sizes", "32", "--rounds", "2", "--suites", "layer_read"]
    options += ["--formats", "hdf5,zarr", "--baseline", "hdf5", "--trace", "synthetic:layers=1"]
    command = [sys.executable, "-m", "harness", "run", *options, "--store", f"s3://{BUCKET}/x", "--out", str(folder)]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not reached() and run.poll() is None:
        time.sleep(0.01)
    assert run.poll() is None
    run.kill()
    run.wait()


@pytest.mark.parametrize(
    ("store", "when"), [("fake_keys", "uploading"), ("fake_keys", "reading"), ("real_keys", "reading")]
)
def test_what_a_killed_run_left_in_the_store_goes_with_its_resumption(
    tmp_path: Path, request: pytest.FixtureRequest, store: str, when: str
) -> None:
    keys: Callable[[], set[str]] = request.getfixturevalue(store)
    folder = tmp_path / "run"
    samples = folder / "samples.csv"

    def uploading() -> bool:
        return any("harness-check" not in key for key in keys())

    def reading() -> bool:
        return samples.exists() and len(samples.read_text().splitlines()) > 2

    killed(folder, {"uploading": uploading, "reading": reading}[when])
    left = json.loads((folder / UPLOADED).read_text())
    assert left["store"] == f"s3://{BUCKET}/x"
    assert keys() and keys() <= set(left["keys"]) and all(key.startswith("harness-run-") for key in keys())
    assert main(["run", "--quiet", "--resume", "--out", str(folder)]) == 0
    assert not keys() and not (folder / UPLOADED).exists()
    rows = read_samples(samples)
    assert set(rows["status"]) == {"ok"} and (rows.groupby(["access", "format"]).size() == 2).all()


def test_objects_that_are_not_there_can_be_removed(real_keys: Callable[[], set[str]]) -> None:
    place = parse_place(f"s3://{BUCKET}/x")
    obstore.put(Client(place).store, "a/b", b"1")
    assert real_keys() == {"a/b"}
    remove_objects(place, ["a/b", "a/c", "d"])
    assert real_keys() == set()


def test_a_record_that_is_damaged_is_said(
    tmp_path: Path, fake_keys: Callable[[], set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    killed(folder, lambda: bool(fake_keys()) and (folder / UPLOADED).exists())
    (folder / UPLOADED).write_text("[]")
    assert main(["run", "--quiet", "--resume", "--out", str(folder)]) == 2
    assert (
        "uploaded.json: at $ expected object, got array; remove from the store what the run left there"
        in capsys.readouterr().err
    )
