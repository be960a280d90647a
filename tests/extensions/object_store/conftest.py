from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("obstore", reason="needs trace-format-harness[s3]")
pytest.importorskip("fsspec", reason="needs trace-format-harness[s3]")

from harness.extensions.object_store import attempts
from harness.extensions.object_store.place import S3Place, parse_place
from tests.extensions.object_store.fake import BUCKET, FakeStore, fake_store


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStore]:
    monkeypatch.setattr(attempts, "_FIRST_PAUSE", 0.001)
    with fake_store() as store:
        for name, value in store.variables().items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture
def place(fake: FakeStore) -> S3Place:
    return parse_place(f"s3://{BUCKET}/some/prefix")
