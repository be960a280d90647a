"""``harness run --store``: archives are uploaded, read from the store, counted, reported, and taken away again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.formats.zarr_pipelines import missing
from harness.records import SCHEMA_VERSION
from harness.row_files import read_samples
from harness.run.experiment import Experiment
from tests.extensions.object_store.fake import FakeStore, fake_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, FakeStore]]:
    folder = tmp_path_factory.mktemp("store") / "results" / "far"
    with pytest.MonkeyPatch.context() as patch, fake_store() as store:
        for name, value in store.variables().items():
            patch.setenv(name, value)
        code = main(
            ["run", "--quiet", "--preset", "quick", "--sizes", "32", "--rounds", "2",
             "--suites", "size,layer_read,parallel_access", "--workers", "2",
             "--trace", "synthetic:layers=1", "--store", "s3://traces/some/prefix", "--store-latency", "1",
             "--store-bandwidth", "500", "--store-fault", "503:every=9", "--store-cache", "readahead:256",
             "--out", str(folder)]
        )  # fmt: skip
        assert code == 0
        yield folder, store


def remote(folder: Path) -> pd.DataFrame:
    samples = read_samples(folder / "samples.csv")
    return samples[samples["cache"] == "remote"]


def test_every_read_is_verified_and_counted(done: tuple[Path, FakeStore]) -> None:
    rows = remote(done[0])
    labels = {"raw", "npz", "npz-download", "hdf5", "hdf5-reference", "zarr", "zarr-slim", "a/a"}
    assert set(rows["format"]) == labels | {"zarr-fused", "zarr-slim-fused"}
    lacking = {"zarr-fused", "zarr-slim-fused"} if missing("fused") else set()
    assert set(rows["format"][rows["status"] == "skipped"]) == lacking
    rows = rows[~rows["format"].isin(lacking)]
    assert (rows["status"] == "ok").all()
    assert (rows["requests"] > 0).all() and (rows["bytes_read"] > 0).all()
    assert rows["retries"].sum() > 0
    downloads = rows[(rows["format"] == "npz-download") & (rows["workers"] == 1)]
    assert (downloads["requests"] - downloads["retries"] == 1).all()
    assert set(rows["schema_version"]) == {SCHEMA_VERSION}


def test_several_workers_read_the_store(done: tuple[Path, FakeStore]) -> None:
    rows = remote(done[0])
    together = rows[rows["suite"] == "parallel_access"]
    assert set(together["executor"]) == {"threads", "threads-shared", "processes"}
    assert (together["workers"] == 2).all() and together["latency_p50_seconds"].notna().all()


def test_nothing_stays_in_the_store(done: tuple[Path, FakeStore]) -> None:
    _, store = done
    assert not store.objects
    put = {key for method, key, _ in store.requests if method == "PUT"}
    assert put and all(key.startswith("some/prefix/harness-") for key in put)


def test_the_store_and_its_settings_are_stated_without_keys(done: tuple[Path, FakeStore]) -> None:
    folder, store = done
    assert json.loads((folder / "run.json").read_text())["store"] == {
        "url": "s3://traces/some/prefix", "endpoint": store.endpoint, "latency_ms": 1, "bandwidth": 5e8,
        "fault": "503:every=9", "file_cache": "readahead", "block_bytes": 256 << 10,
    }  # fmt: skip
    page = (folder / "report.md").read_text()
    ledger = pd.read_csv(folder / "ledger.csv").set_index("format")["caches"]
    for text in (page, ledger["zarr"].iloc[0]):
        assert "1 ms added to each request, at most 500 MB/s, with the fault '503:every=9'" in text
    assert "readahead in blocks of 256 KiB" in ledger["hdf5"].iloc[0]
    for file in folder.rglob("*"):
        assert not file.is_file() or b"testkey" not in file.read_bytes()


def test_the_bundle_of_such_a_run_is_checked(done: tuple[Path, FakeStore], tmp_path: Path) -> None:
    bundle = tmp_path / "far.bundle.zip"
    assert main(["bundle", str(done[0]), "--out", str(bundle)]) == 0
    assert main(["check", str(bundle)]) == 0


def test_an_interrupted_run_leaves_nothing_in_the_store(
    tmp_path: Path, fake: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def interrupted(*_: object) -> None:
        seen.append(len(fake.objects))
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "_read", interrupted)
    options = ["--quiet", "--preset", "quick", "--sizes", "32", "--suites", "layer_read", "--formats", "npz,zarr"]
    code = main(["run", *options, "--baseline", "npz", "--store", "s3://traces/x", "--out", str(tmp_path / "run")])
    assert code == 130
    assert seen[0] > 2 and not fake.objects


def test_a_store_that_is_not_there_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_store() as store:
        variables = store.variables()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "run"
    options = ["--quiet", "--preset", "quick", "--sizes", "32", "--store", "s3://traces/x", "--out", str(out)]
    assert main(["run", *options]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert not out.exists()
