"""A reader that keeps data is told by the bytes it reads, of which a worker may read some for itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.sampling import reading
from harness.sampling.reading import Observed, kept_data
from harness.sampling.sample import Reading
from harness.workload import ReadAccess


def observed(nbytes: int) -> Observed:
    return Observed(
        reading=Reading(
            seconds=1.0,
            open_seconds=0.1,
            bytes_returned=nbytes,
            bytes_read=nbytes,
            requests=1,
            peak_rss_bytes=None,
            problem="",
        )
    )


@pytest.mark.parametrize(
    ("executor", "workers", "first", "now", "kept"),
    [
        ("main", 1, 50_000, 24_000, True),
        ("main", 1, 50_000, 25_000, False),
        ("processes", 2, 50_000, 2_400, True),
        ("processes", 2, 50_000, 2_500, False),
        ("importing", 1, 50_000, 10_000, False),  # its workers import modules when they are new
        ("importing", 1, 10_000_000, 4_000_000, True),
        ("importing", 2, 10_000_000, 400_000, True),
    ],
)
def test_far_fewer_bytes_than_at_first_are_data_that_was_kept(monkeypatch, executor, workers, first, now, kept):
    aside = 128 << 10 if executor == "importing" else 0
    monkeypatch.setattr(reading, "load_executor", lambda name: SimpleNamespace(aside=aside))
    access = ReadAccess(name="windows", reads=(), executor=executor, workers=workers)
    assert ("kept from reader to reader" in kept_data(observed(first), observed(now), access)) is kept
