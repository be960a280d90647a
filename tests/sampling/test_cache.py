"""The page cache is brought into the state that is asked for, and what a process reads is counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.capacity import capacity
from harness.errors import UsageError
from harness.sampling import cache
from harness.sampling.counters import count_opens, fetched_bytes, peak_rss, read_counts, reset_peak_rss

SIZE = 3 << 20


@pytest.fixture
def folder(tmp_path):
    if cache.filesystem(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory, where nothing can be evicted")
    for name in ("a/one", "b/two"):
        file = tmp_path / "archive" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * SIZE)
    return tmp_path / "archive"


def test_eviction_and_loading_show_in_residency(folder):
    cache.load(folder)
    assert cache.residency(folder, every_file=True) == 1.0
    cache.evict(folder)
    assert cache.residency(folder, every_file=True) == 0.0
    cache.load(folder / "a")
    assert cache.residency(folder, every_file=True) == pytest.approx(0.5)
    cache.load(folder)
    assert cache.residency(folder / "a" / "one", every_file=True) == 1.0


def test_residency_of_a_file_in_several_windows(folder, monkeypatch):
    monkeypatch.setattr(cache, "_WINDOW", 1 << 20)
    cache.evict(folder)
    assert cache.residency(folder, every_file=True) == 0.0
    cache.load(folder / "b")
    assert cache.residency(folder, every_file=True) == pytest.approx(0.5)


def test_residency_of_a_file_that_is_larger_than_memory(folder):
    file = folder / "sparse"
    with file.open("wb") as opened:
        opened.truncate(capacity().memory_bytes + (1 << 30))
    assert cache.residency(file, every_file=True) == 0.0


def reader(path, nbytes, after=lambda: None):
    def read() -> None:
        with (path / "a" / "one").open("rb", buffering=0) as file:
            file.read(nbytes)
        after()

    return read


def test_archives_are_warmed_by_reading_all_alike_or_none(monkeypatch):
    monkeypatch.setattr(cache, "capacity", lambda: SimpleNamespace(memory_usable_bytes=100))
    assert cache.read_little([26, 10], 12)
    assert not cache.read_little([26, 10], 13)
    assert not cache.read_little([25, 10], 4)
    assert not cache.read_little([], 4)
    monkeypatch.setattr(cache, "capacity", lambda: SimpleNamespace(memory_usable_bytes=None))
    assert not cache.read_little([26, 10], 4)


def test_warming_by_reading_brings_in_what_is_read_alone(folder):
    assert cache.warm(folder, reader(folder, SIZE // 4)) == (1.0, "")
    assert 0 < cache.residency(folder, every_file=True) < 0.5
    assert cache.warm(folder) == (1.0, "")
    assert cache.residency(folder, every_file=True) == 1.0


def test_what_is_read_of_a_large_archive_must_stay(folder):
    read = reader(folder, SIZE // 4, after=lambda: cache.evict(folder))
    resident, rejected = cache.warm(folder, read)
    assert resident < 0.99 and "of what is read stays in the page cache: memory is too small" in rejected


def test_a_page_of_another_file_does_not_count_against_a_small_read(folder, monkeypatch):
    fetched = iter([100 << 10, 4096])  # 4 % of what was fetched at first
    monkeypatch.setattr(cache, "_fetched_by", lambda read: next(fetched))
    resident, rejected = cache.warm(folder, lambda: None)
    assert resident == pytest.approx(0.96) and rejected == ""


def test_an_archive_larger_than_memory_is_not_loaded_to_be_read_whole(folder, monkeypatch):
    monkeypatch.setattr(cache, "capacity", lambda: SimpleNamespace(memory_usable_bytes=SIZE))
    monkeypatch.setattr(cache, "load", lambda path: pytest.fail("loaded"))
    cache.evict(folder)
    assert "memory is too small" in cache.warm(folder)[1]


def test_bytes_from_the_disk_are_counted_apart_from_those_in_memory(folder):
    cache.evict(folder)
    start = fetched_bytes()
    (folder / "a" / "one").read_bytes()
    fetched = fetched_bytes()
    (folder / "a" / "one").read_bytes()
    assert fetched - start >= SIZE and fetched_bytes() == fetched


def test_many_files_are_sampled(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x")
    monkeypatch.setattr(cache, "_MANY_FILES", 5)
    assert cache.residency(tmp_path, every_file=False) == 1.0


def test_cold_reads_on_a_filesystem_in_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "filesystem", lambda path: "tmpfs")
    with pytest.raises(UsageError, match="Cold reads cannot be measured on tmpfs"):
        cache.require_evictable(tmp_path)


def test_the_filesystem_of_a_folder_is_that_of_the_nearest_mount(tmp_path, monkeypatch):
    (tmp_path / "my data" / "run").mkdir(parents=True)
    spaced = str(tmp_path / "my data").replace(" ", "\\040")
    mounted = "rw,size=8g,lowerdir=/private,clientaddr=10.0.0.1,user_id=1000,name=admin,fsuuid=1"
    lines = [
        "1 0 8:1 / / rw,noatime - ext4 /dev/a rw,data=ordered",
        f"2 1 0:1 / {spaced} rw shared:1 - tmpfs none {mounted}",
    ]
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(cache, "_MOUNTS", tmp_path / "mountinfo")
    assert cache.filesystem(tmp_path) == "ext4"
    assert cache.mount_of(tmp_path).options == "rw,noatime,data=ordered"
    assert cache.mount_of(tmp_path / "my data").options == "rw,size=8g", "neither folders nor addresses"
    assert cache.filesystem(tmp_path / "my data") == cache.filesystem(tmp_path / "my data" / "run") == "tmpfs"
    monkeypatch.setattr(cache, "_MOUNTS", tmp_path / "none")
    assert cache.filesystem(tmp_path) == "" == cache.mount_of(tmp_path).options


def test_bytes_and_calls_of_reads_are_counted_exactly(tmp_path):
    file = tmp_path / "data"
    file.write_bytes(b"x" * 12345)
    with file.open("rb", buffering=0) as handle:
        before = read_counts()
        handle.read(10000)
        handle.read(2345)
        counts = read_counts().since(before)
    assert (counts.bytes_read, counts.requests) == (12345, 2)


def test_opens_are_counted_each_time_and_in_every_folder(folder):
    with count_opens(folder) as opens:
        for _ in range(3):
            (folder / "a" / "one").read_bytes()
        (folder / "b" / "two").read_bytes()
    assert opens.count == 4


def test_peak_memory_sees_an_array_that_is_gone():
    reset_peak_rss()
    before = peak_rss()
    np.ones(64 << 20, np.uint8)
    assert peak_rss() - before > 48 << 20
    reset_peak_rss()
    assert peak_rss() - before < 48 << 20
