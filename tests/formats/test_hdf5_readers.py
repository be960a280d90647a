"""Readers of HDF5: all of them return what h5py does, also of files that this harness does not write."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from harness.errors import ArchiveError
from harness.formats import hdf5_direct
from harness.formats.base import load_format
from harness.formats.hdf5_reader import cache_slots
from harness.formats.threads import ThreadTeam
from harness.testing.comparing import parts
from harness.testing.samples import specials
from tests.formats.samples import assert_same, put

READERS = list(load_format("hdf5").readers)
VALUES = np.random.default_rng(0).integers(0, 50, (45, 45, 6)).astype(np.float32)
VALUES.reshape(-1)[:13] = specials("float32")
CHUNKED: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "gzip, shuffled and checked": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "checked": {"fletcher32": True},
    "blosc-zstd": dict(hdf5plugin.Blosc(cname="zstd", clevel=3, shuffle=hdf5plugin.Blosc.SHUFFLE)),
    "blosc-lz4, checked": {"fletcher32": True, **hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.BITSHUFFLE)},
    "lzf": {"compression": "lzf"},
    "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="lz4")),
}
FALLS_BACK = {"lzf": "filter 32000", "bitshuffle": "filter 32008"}


def assert_as_h5py(path: Path, names: list[str]) -> dict[str, str]:
    """Compare every reader with h5py, whole and in parts; return what `h5py-direct` says of itself."""
    backend, rng = load_format("hdf5"), np.random.default_rng(1)
    with h5py.File(path) as file:
        expected = {name: file[name][()] for name in names}
    said = {}
    for kind in READERS:
        with backend.reader(path, kind) as reader:
            if isinstance(reader, hdf5_direct.DirectHdf5Reader):
                reader._crew.close()
                reader._crew = ThreadTeam(3)  # also on a machine of one core
            for name, array in expected.items():
                assert_same(reader.read(name), array)
                for part in parts(array.shape, rng):
                    assert_same(reader.read(name, part), array[part])
                said[name] = reader.opened(name).reader  # type: ignore[attr-defined]
    return said


@pytest.mark.parametrize("alone", [0, 1 << 30])
def test_every_filter_is_read_bit_for_bit_and_what_is_not_decoded_here_says_so(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(hdf5_direct, "ALONE", alone)  # on several threads, and on one
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in CHUNKED.items():
            file.create_dataset(name, data=VALUES, chunks=(16, 32, 6), **options)
    said = assert_as_h5py(tmp_path / "a.h5", list(CHUNKED))
    for name, reader in said.items():
        assert ("numcodecs" in reader) == (name not in FALLS_BACK), name
        assert reader.endswith(FALLS_BACK.get(name, "decodes them")), name


def test_filter_masks_missing_chunks_and_fill_values_are_obeyed(tmp_path):
    fill = np.array([0x7FA00001], np.uint32).view(np.float32)[0]  # a NaN with a payload
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        options: Any = {"chunks": (4, 4), "dtype": "f4", "fillvalue": fill, "shuffle": True, "compression": "gzip"}
        masked = file.create_dataset("masked", (10, 10), fletcher32=True, **options)
        masked[:4] = 1.5
        plain = np.arange(16, dtype="f4")
        masked.id.write_direct_chunk((4, 4), plain.tobytes(), 0b111)
        masked.id.write_direct_chunk((4, 8), plain.reshape(-1, 1).view("u1").T.tobytes(), 0b110)
        file.create_dataset("never", (10, 10), **options)
        file.create_dataset("never contiguous", (3, 2), "f4", fillvalue=fill)
        file.create_dataset("empty", (0, 7), "f4", chunks=(4, 7), maxshape=(None, 7))
        file["contiguous"], file["scalar"] = VALUES, np.float64(-0.0)
        file.create_dataset("flags", data=VALUES > 20, chunks=(7, 45, 6), compression="gzip")
        names = list(file)
    said = assert_as_h5py(tmp_path / "a.h5", names)
    assert all("numcodecs" in reader for reader in said.values())
    with load_format("hdf5").reader(tmp_path / "a.h5", "h5py-direct") as reader:
        assert_same(reader.read("masked", (slice(4, 8), slice(4, 8))), plain.reshape(4, 4))
        assert_same(reader.read("masked", (slice(4, 8), slice(8, 10))), plain.reshape(4, 4)[:, :2])
        assert (reader.read("never").view(np.uint32) == 0x7FA00001).all()


def test_what_lies_elsewhere_or_is_of_another_type_is_read_by_h5py(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((5,))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, plist)
        file["compact"][...] = np.arange(5)
        kind = h5py.h5t.IEEE_F32LE.copy()
        kind.set_offset(3)  # a float of which four bits are used differently
        kind.set_precision(29)
        kind.set_fields(31, 23, 8, 3, 20)
        h5py.h5d.create(file.id, b"odd", kind, space)
        file["odd"][...] = np.arange(5)
        file["big"] = np.arange(5, dtype=">f4")
        names = list(file)
    said = assert_as_h5py(tmp_path / "a.h5", names)
    assert "elsewhere" in said["compact"] and "values of type" in said["odd"] and "numcodecs" in said["big"]


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_chunk_that_differs_from_its_checksum_or_is_cut_off_is_refused(tmp_path, damage):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("d", data=VALUES, chunks=(16, 32, 6), fletcher32=True)
        info = data.id.get_chunk_info(3)
        window = tuple(slice(at, at + 1) for at in info.chunk_offset)
    with load_format("hdf5").reader(path, "h5py-direct") as reader:
        reader.read("d", window)
        if damage == "cut":
            os.truncate(path, info.byte_offset + info.size - 1)
        else:
            with path.open("r+b") as raw:
                raw.seek(info.byte_offset + 100)
                byte = raw.read(1)
                raw.seek(-1, 1)
                raw.write(bytes([byte[0] ^ 8]))
        with pytest.raises(ArchiveError, match="checksum" if damage == "flip" else "ends at"):
            reader.read("d", window)


@pytest.mark.parametrize("name", [name for name, spec in load_format("hdf5").readers.items() if spec.cached])
def test_the_budget_of_decoded_chunks_is_that_of_all_data_sets(name, tmp_path):
    path = put(tmp_path, "hdf5", {f"pair/layer_{k}": VALUES for k in range(4)})
    chunk, whole = 23 * 23 * 6 * 4, 4 * 23 * 23 * 6 * 4
    for budget in (0, chunk, 3 * whole, 1 << 30, None):
        with load_format("hdf5").reader(path, name, cache_bytes=budget) as reader:
            caches = []
            for k in range(4):
                assert_same(reader.read(f"pair/layer_{k}"), VALUES)
                caches.append(reader.dataset(f"pair/layer_{k}").id.get_access_plist().get_chunk_cache())
                assert str(caches[-1][1]) in reader.opened(f"pair/layer_{k}").cache
        if budget is None:
            assert {nbytes for _, nbytes, _ in caches} == {h5py.h5p.create(h5py.h5p.FILE_ACCESS).get_cache()[2]}
        else:
            assert sum(nbytes for _, nbytes, _ in caches) == min(budget, 4 * whole)
            assert all(slots == (cache_slots(nbytes // chunk) if nbytes else 0) for slots, nbytes, _ in caches)


def test_slots_are_a_prime_of_about_a_hundred_times_the_chunks():
    assert [cache_slots(chunks) for chunks in (0, 1, 2, 83)] == [101, 101, 211, 8311]


def reads(work: Callable[[], object]) -> int:
    """Count bytes that a call reads from files, in this thread."""
    counts = Path("/proc/thread-self/io")
    before = int(counts.read_text().split()[1])
    work()
    return int(counts.read_text().split()[1]) - before


def test_a_budget_of_nothing_holds_for_readers_of_several_threads(tmp_path):
    """They share a data set, and its cache is that of whoever opened it first."""
    path = put(tmp_path, "hdf5", {"pair/layer_0": VALUES}, "matched")
    window = (slice(0, 8), slice(0, 8), slice(0, 6))

    def read(_: int) -> int:
        with load_format("hdf5").reader(path, "h5py", cache_bytes=0) as reader:
            first = reads(lambda: reader.read("pair/layer_0", window))
            return min(first, reads(lambda: [reader.read("pair/layer_0", window) for _ in range(4)]) // 4)

    with ThreadPoolExecutor(4) as threads:
        assert min(threads.map(read, range(200))) > 1000


def test_only_what_is_held_keeps_decoded_chunks(tmp_path):
    path = put(tmp_path, "hdf5", {"pair/layer_0": VALUES}, "matched")
    window, found = (slice(0, 8), slice(0, 8), slice(0, 6)), {}
    for kind in READERS:
        with load_format("hdf5").reader(path, kind) as reader:
            reader.read("pair/layer_0", window)
            found[kind] = reads(lambda: [reader.read("pair/layer_0", window) for _ in range(20)])
    assert found["h5py"] < 1000 < 5000 < min(found["h5py-reopened"], found["h5py-direct"])
