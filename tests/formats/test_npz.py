"""What is special about NPZ: one open zip file, whose members some versions of Python let disturb each other."""

from __future__ import annotations

import io
import threading
import zipfile

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.formats import archive, npz_forward, npz_offset, npz_reader, opening
from harness.formats.base import load_format
from tests.formats.samples import put

ARRAYS = {f"pair/layer_{k}": np.random.default_rng(k).normal(size=(24, 24, 8)).astype(np.float32) for k in range(6)}


def read_together(path, workers=8, times=6):
    """Read with one reader on several threads; return what went wrong."""
    wrong = []
    with load_format("npz").reader(path) as reader:

        def work(first):
            for k in range(times * len(ARRAYS)):
                name = f"pair/layer_{(first + k) % len(ARRAYS)}"
                try:
                    if not np.array_equal(reader.read(name), ARRAYS[name]):
                        wrong.append(name)
                except Exception as error:  # noqa: BLE001 - whatever it raises is wrong
                    wrong.append(repr(error))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return wrong


@pytest.mark.parametrize("apart", [None, False])
def test_threads_that_share_a_reader_read_what_was_written(tmp_path, monkeypatch, apart):
    if apart is not None:  # as in a Python whose members disturb each other, whatever this one's do
        monkeypatch.setattr(npz_reader, "members_are_apart", lambda: apart)
    path = put(tmp_path, "npz", ARRAYS)
    assert read_together(path) == []


def test_a_python_whose_members_disturb_each_other_is_recognised():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a", b"123")
        file.writestr("b", b"456")
    with zipfile.ZipFile(buffer) as file, file.open("a") as first, file.open("b") as second:
        first.read(1)
        second.seek(1)
        assert npz_reader.members_are_apart() is (second.read(1) == b"5")


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A reader to which each of the tensors is large, and what its own decoder decoded of which member."""
    monkeypatch.setattr(npz_reader, "LARGE_BYTES", 1000)
    taken = []
    real = npz_forward._Member.take
    monkeypatch.setattr(
        npz_forward._Member, "take", lambda self, *part: (taken.append((self.name, *part)), real(self, *part))[1]
    )
    with load_format("npz").reader(put(tmp_path, "npz", ARRAYS)) as reader:
        yield reader, taken


def rows_of(start, stop):
    return (slice(start, stop), slice(0, 24), slice(0, 8))


def test_consecutive_blocks_of_a_large_tensor_decode_its_member_once(large):
    reader, taken = large
    opened, real = [], reader._forward._opened
    reader._forward._opened = lambda name: (opened.append(name), real(name))[1]
    parts = [reader.read("pair/layer_2", rows_of(start, min(start + 7, 24))) for start in range(0, 24, 7)]
    assert np.array_equal(np.concatenate(parts), ARRAYS["pair/layer_2"])
    assert opened == ["pair/layer_2.npy"] and len(taken) == 4


def test_parts_of_one_row_are_blocks_too(large):
    reader, taken = large
    parts = [(slice(1, 2), slice(start, start + 12), slice(0, 8)) for start in (0, 12)]
    reader.read("pair/layer_2", rows_of(0, 1))
    found = [reader.read("pair/layer_2", part) for part in parts]
    assert np.array_equal(np.concatenate(found, axis=1), ARRAYS["pair/layer_2"][1:2]) and len(taken) == 3


def test_windows_of_large_tensors_are_read_by_numpy_in_any_order(large):
    reader, taken = large
    for name, start in [("pair/layer_0", 0), ("pair/layer_0", 4), ("pair/layer_5", 3), ("pair/layer_0", 4)]:
        window = (slice(start, start + 4), slice(2, 9), slice(0, 8))
        found = reader.read(name, window)
        assert np.array_equal(found, ARRAYS[name][window]) and found.base is None
    assert np.array_equal(reader.read("pair/layer_3", rows_of(5, 9)), ARRAYS["pair/layer_3"][5:9])
    assert np.array_equal(reader.read("pair/layer_1"), ARRAYS["pair/layer_1"])
    assert not taken  # not one of them begins a member, or follows the part before it


def test_a_share_of_blocks_goes_on_from_its_second_one(large):
    reader, taken = large
    parts = [reader.read("pair/layer_2", rows_of(start, start + 6)) for start in (12, 18)]
    assert np.array_equal(np.concatenate(parts), ARRAYS["pair/layer_2"][12:])
    assert [name for name, *_ in taken] == ["pair/layer_2.npy"]


@pytest.mark.parametrize(("most", "own"), [(24 * 24 * 8 * 4, False), (24 * 24 * 8 * 4 - 1, True)])
def test_the_header_of_a_member_does_not_make_its_tensor_large(large, monkeypatch, most, own):
    reader, taken = large
    monkeypatch.setattr(npz_reader, "LARGE_BYTES", most)
    assert reader.zip.getinfo("pair/layer_0.npy").file_size > most
    reader.read("pair/layer_0", rows_of(0, 12))
    assert bool(taken) is own
    assert ("own decoder" in reader.opened("pair/layer_0").reader) is own


def test_the_checksum_is_compared_for_a_window_of_a_large_tensor(large):
    reader, _ = large
    reader._file.zip.getinfo("pair/layer_0.npy").CRC ^= 1
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        reader.read("pair/layer_0", (slice(0, 4), slice(2, 9), slice(0, 8)))


def test_a_large_member_with_a_flipped_bit_is_refused_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_reader, "LARGE_BYTES", 1000)
    path = put(tmp_path, "npz", {"pair/layer_0": ARRAYS["pair/layer_0"]}, "tuned")
    with load_format("npz").reader(path) as reader:
        reader._file.zip.getinfo("pair/layer_0.npy").CRC ^= 1
        reader.read("pair/layer_0", rows_of(0, 12))
        with pytest.raises((HarnessError, zipfile.BadZipFile), match="CRC"):
            reader.read("pair/layer_0", rows_of(12, 24))


def test_a_large_tensor_is_verified_by_blocks(tmp_path, monkeypatch):
    for module in (npz_reader, opening):
        monkeypatch.setattr(module, "LARGE_BYTES", 1000)
    path = put(tmp_path, "npz", ARRAYS)
    asked = []
    real = npz_reader.NpzReader.read
    monkeypatch.setattr(
        npz_reader.NpzReader, "read", lambda self, path, part=None: (asked.append(part), real(self, path, part))[1]
    )
    assert archive.verify_archive(path) == []
    assert asked and None not in asked


@pytest.mark.parametrize(
    ("save", "said"), [(np.savez, "3 for runs of 32 MiB and more, else 1"), (np.savez_compressed, "")]
)
def test_the_reader_by_offset_says_on_how_many_threads_it_reads(tmp_path, monkeypatch, save, said):
    monkeypatch.setattr(npz_offset, "cores", lambda: 3)
    save(tmp_path / "a.npz", x=np.arange(4.0))
    with npz_offset.OffsetNpzReader(tmp_path / "a.npz") as reader:
        assert reader.opened("x").threads == said
