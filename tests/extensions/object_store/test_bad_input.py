"""A store that cannot be used is said to be so in one sentence, within seconds and before anything is measured."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.evidence.bundle import Bundle
from harness.evidence.rerun import rerun_config
from harness.extensions.object_store.checking import check_store
from harness.extensions.object_store.place import S3Place, parse_place
from harness.extensions.object_store.shaper import shaped
from tests.conftest import TINY
from tests.extensions.object_store.fake import FakeStore


def refused(place: S3Place) -> str:
    with pytest.raises(UsageError) as caught:
        check_store(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_store_that_works_is_left_as_it_was(place: S3Place, fake: FakeStore) -> None:
    check_store(place)
    assert not fake.objects


def test_no_such_bucket(place: S3Place) -> None:
    assert "no such bucket" in refused(replace(place, url="s3://elsewhere/x"))


def test_wrong_keys(place: S3Place, fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    assert "refused the keys (InvalidAccessKeyId)" in refused(place)


def test_an_endpoint_that_is_not_there(place: S3Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "cannot be reached" in refused(replace(place, endpoint=f"http://127.0.0.1:{port}"))


def test_a_store_that_ignores_ranges_is_found_out(place: S3Place, fake: FakeStore) -> None:
    fake.ignores_ranges = True
    assert "does not keep to range requests" in refused(place)
    assert not fake.objects


@pytest.mark.parametrize("url", ["http://bucket/x", "s3://", "s3:/bucket", "bucket", "s3://b/x?y=1"])
def test_what_is_no_store(url: str, fake: FakeStore) -> None:
    with pytest.raises(UsageError, match="--store takes s3://BUCKET/PREFIX"):
        parse_place(url, fake.variables())


def test_keys_that_are_missing() -> None:
    with pytest.raises(UsageError, match="AWS_ACCESS_KEY_ID"):
        parse_place("s3://b/x", {})
    assert parse_place("s3://b/x", {"AWS_SKIP_SIGNATURE": "true"}).endpoint == ""


def test_an_endpoint_that_is_none(fake: FakeStore) -> None:
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL has to be a URL"):
        parse_place("s3://b/x", {**fake.variables(), "AWS_ENDPOINT_URL": "localhost"})


def test_nothing_can_be_put_in_front_of_https(place: S3Place) -> None:
    with pytest.raises(UsageError, match="http://"), shaped(replace(place, endpoint="https://x", latency_ms=5)):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store-latency", "5"], "add it"),
        (["--store", "s3://traces/x", "--cache", "warm"], "page cache"),
        (["--store", "s3://traces/x", "--store-fault", "fire"], "KIND"),
        (["--store", "s3://traces/x", "--store-cache", "everything"], "no cache for --store-cache"),
        (["--store", "s3://traces/x", "--store-cache", "blockcache:none"], "--store-cache takes"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], message: str, fake: FakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--preset", "quick", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_bundles_store_is_used_only_where_that_is_allowed(tmp_path: Path) -> None:
    place = S3Place(url="s3://theirs", endpoint="http://evil")
    replace(TINY, store=place).save(tmp_path / "run.json")
    bundle = Bundle({}, {"run.json": (tmp_path / "run.json").read_bytes()}, "")  # type: ignore[typeddict-item]
    with pytest.raises(UsageError, match=r"the store 's3://theirs' at 'http://evil' here.*add --allow-outside"):
        rerun_config(bundle, "again")
    assert rerun_config(bundle, "again", outside=True).store == place


def test_a_run_that_is_resumed_takes_no_other_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--resume", "--out", str(tmp_path), "--store", "s3://a/b"]) == 2
    assert "leave out --store." in capsys.readouterr().err
