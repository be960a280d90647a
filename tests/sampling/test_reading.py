"""A reader that keeps data, or reads it elsewhere, is told by what it reads; what is counted is exact."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from harness import registry
from harness.errors import HarnessError
from harness.formats.archive import write_archive
from harness.formats.raw import RawFormat
from harness.sampling import cache, reading
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.sample import Reading
from harness.sampling.verify import asked_bytes, expectations, least_bytes
from harness.sampling.worker import Children
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace
from harness.workload import Read, ReadAccess
from tests.liars import timing

HEADER_READS = 2
"""Calls by which a reader of raw archives finds its tensors: of the trailer, and of the index before it."""


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
        ("main", 1, 10_000_000, 7_100_000, True),  # what was imported at first is a small part of so much
        ("main", 1, 10_000_000, 7_200_000, False),
        ("threads", 2, 50_000, 2_400, True),
        ("threads", 2, 50_000, 2_500, False),
        ("processes", 2, 50_000, 24_000, True),
        ("processes", 2, 50_000, 25_000, False),
        ("importing", 1, 50_000, 10_000, False),  # its workers import modules when they are new
        ("importing", 1, 10_000_000, 7_000_000, True),
        ("importing", 2, 10_000_000, 400_000, True),
    ],
)
def test_far_fewer_bytes_than_at_first_are_data_that_was_kept(monkeypatch, executor, workers, first, now, kept):
    aside = 128 << 10 if executor == "importing" else 0
    monkeypatch.setattr(
        reading, "load_executor", lambda name: SimpleNamespace(aside=aside, independent=name == "processes")
    )
    access = ReadAccess(name="windows", reads=(), executor=executor, workers=workers)
    assert ("kept from an earlier reader" in kept_data(observed(first), observed(now), access)) is kept


PAIR, ATTENTION = "activations/layer_0/pair_repr", "attention/layer_0"


@pytest.fixture
def task(tmp_path):
    """Make tasks that read an archive of a test's format with one worker or several."""
    path = tmp_path / "archives" / "trace.raw"
    path.parent.mkdir()
    manifest = write_archive(open_trace("synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=16", 64), RawFormat(), path)

    def of(liar: type, *reads: Read, executor: str = "main", workers: int = 1, **settings) -> ReadTask:
        name = f"tests.liars.timing:{liar.__name__}"
        registry.allow(("formats", name))
        expected = expectations(path, manifest, reads)
        access = ReadAccess(name="case", reads=reads, executor=executor, workers=workers)
        return ReadTask(backend=name, profile="tuned", archive=path, access=access, expected=expected, **settings)

    return of


WHOLE = tuple(Read(path=PAIR) for _ in range(8))
MANY = [("main", 1), ("threads", 2), ("threads-shared", 2), pytest.param("processes", 2, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("executor", "workers"), MANY)
def test_a_liar_that_reads_a_copy_outside_its_archive_is_named(task, tmp_path, monkeypatch, executor, workers):
    monkeypatch.setenv(timing.PLACE, str(tmp_path))
    with (
        Children() as children,
        pytest.raises(HarnessError, match=r"^read .*trace.raw, which is outside its archive"),
    ):
        task(timing.KeepsOutside, *WHOLE, executor=executor, workers=workers).run(children)


@pytest.mark.parametrize(("executor", "workers"), MANY[:3])
def test_a_liar_that_reads_a_header_and_returns_what_it_kept_is_caught(task, tmp_path, executor, workers):
    """It is honest in the first access, and has everything for the later ones then."""
    if cache.filesystem(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory, where nothing can be evicted")
    with Children() as children:
        first = task(timing.ReadsTheHeader, Read(path=PAIR)).run(children)
        assert first.reading.problem == ""
        with pytest.raises(HarnessError, match=r"read \d+ bytes of the archive where at least \d+ hold the requested"):
            task(timing.ReadsTheHeader, *WHOLE, executor=executor, workers=workers).run(children)


@pytest.mark.parametrize("state", ["cold", "lukewarm"])
def test_a_liar_that_never_opens_its_archive_again_is_caught_where_the_page_cache_was_emptied(task, tmp_path, state):
    if cache.filesystem(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory, where nothing can be evicted")
    asked = task(timing.ReadsOnce, *WHOLE)
    with Children() as children:
        assert asked.run(children).reading.problem == ""
        with pytest.raises(HarnessError, match="returned data without reading the archive"):
            dataclasses.replace(asked, cache=state).run(children)


def test_an_honest_reader_of_a_mapped_file_is_believed(task):
    with Children() as children:
        found = task(timing.CopiesFromMap, *WHOLE).run(children)
        warm = dataclasses.replace(task(timing.CopiesFromMap, *WHOLE), cache="warm").run(children)
    assert found.reading.problem == warm.reading.problem == ""
    assert found.reading.bytes_read < 1 << 16, "no count of reads shows what was read"


def test_what_hardly_takes_bytes_is_never_expected_to_be_read():
    assert least_bytes(np.zeros(1 << 20, np.float32)) < 1 << 14
    noise = np.random.default_rng(1).integers(0, 256, 1 << 20, np.uint8)
    assert least_bytes(noise) == pytest.approx(noise.nbytes / 4, rel=0.01)
    assert least_bytes(noise[:100]) == least_bytes(np.zeros(())) == 0


@pytest.mark.parametrize(("executor", "workers"), MANY)
def test_opens_requests_and_bytes_are_exact_for_every_executor(task, executor, workers):
    """Held against a format that states what it does: 3 opens a read and 1 a reader, 1 call a read and 2 a reader."""
    readers = 1 if executor == "threads-shared" else workers
    with Children() as children:
        asked = task(timing.OpensOften, *WHOLE, executor=executor, workers=workers)
        first = asked.run(children)
        sample = dataclasses.replace(asked, cache="warm").run(children).reading
    assert first.files_opened == 3 * len(WHOLE) + readers
    assert sample.problem == ""
    header = HEADER_READS * readers
    assert sample.requests == len(WHOLE) + header
    size = asked.archive.stat().st_size
    with timing.OpensOften().reader(asked.archive) as reader:
        text = reader.manifest_text()
    index = size - len(text) - sum(spec.nbytes for spec in Manifest.from_json(text).tensors)
    assert sample.bytes_read == asked_bytes(WHOLE, asked.expected) + readers * index


@pytest.mark.parametrize("why", ["a worker died", ""])
def test_a_rejected_sample_from_a_store_has_no_time(monkeypatch, tmp_path, why):
    taken = dataclasses.replace(observed(100).reading, rejected=why)
    access = ReadAccess(name="all", reads=WHOLE)
    task = ReadTask(
        backend="raw", profile="tuned", archive=tmp_path, access=access, expected={}, cache="remote", stored=object()
    )
    monkeypatch.setattr(ReadTask, "rehearsed", lambda self: None)
    monkeypatch.setattr(ReadTask, "_sample", lambda self, children: taken)
    found = task.run(Children())
    assert (found.reading is None, found.rejected) == (bool(why), why)
