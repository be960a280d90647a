"""What readers say of opened archives is what was asked of the writers, and what they hold stays open."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from harness import registry
from harness.formats.archive import write_archive
from harness.formats.base import PROFILES, UnsupportedProfile, load_format
from harness.formats.hdf5_filters import filters_in_words
from harness.trace.sources import open_trace

TRACE = "synthetic:layers=1,n_res=48"
FORMATS = [row.name for row in registry.listing("formats") if not row.missing]

# What can be read back of a codec: a zip member does not tell its level.
STORED = {"npz": {f"deflate-{level}": "deflate" for level in range(1, 10)}}
CHECKSUM = re.compile(r"(^|, )(crc32c?|fletcher32 \(\) \(filter 3\))$")


def compressor(found: str) -> str:
    """Leave out the number of an HDF5 filter, a checksum, and pcodec's defaults."""
    found = re.sub(r" \(filter \d+\)$", "", CHECKSUM.sub("", found)) or "none"
    return re.sub(r"^numcodecs\.pcodec level (\d+) .*", r"pcodec-\1", found)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", FORMATS)
def test_an_opened_archive_is_as_it_was_asked_for(name, profile, tmp_path):
    backend, trace = load_format(name), open_trace(TRACE)
    try:
        layouts = {spec.path: backend.layout(spec, profile) for spec in trace.manifest.examples().values()}
    except UnsupportedProfile as error:
        pytest.skip(str(error))
    write_archive(trace, backend, tmp_path / f"a{backend.suffix}", profile)
    with backend.reader(tmp_path / f"a{backend.suffix}") as reader:
        for path, layout in layouts.items():
            found = reader.opened(path)
            codec = found.codec.removesuffix(", index at the end of a shard")
            assert found is not None and found.reader, path
            chunks = found.chunks
            if chunks and layout.chunks and len(chunks) == len(layout.chunks) + 1:  # one of a stack of layers
                assert chunks[0] == 1
                chunks = chunks[1:]
            assert chunks == layout.chunks, path
            assert bool(CHECKSUM.search(codec)) == layout.checked, path
            asked = "none" if layout.codec is None else str(layout.codec)
            assert compressor(codec) == STORED.get(name.removesuffix("-slim"), {}).get(asked, asked), path


@pytest.mark.parametrize(
    ("name", "reader"), [(name, reader) for name in ("hdf5", "zarr") for reader in load_format(name).readers]
)
def test_checked_settings_have_a_checksum_that_every_reader_compares(name, reader, tmp_path):
    backend, trace = load_format(name), open_trace(TRACE)
    if missing := backend.readers[reader].missing():
        pytest.skip(f"{reader} {missing}")
    path, settings = tmp_path / f"a{backend.suffix}", backend.alternative("checked")
    write_archive(trace, backend, path, settings)
    pair = "activations/layer_0/pair_repr"
    assert backend.layout(trace.manifest[pair], settings).checked
    with backend.reader(path, reader) as opened:
        assert CHECKSUM.search(opened.opened(pair).codec)
        sound = opened.read(pair)
    stored = [path] if path.is_file() else [file for file in (path / pair / "c").rglob("*") if file.is_file()]
    chunk = min(stored)
    data = bytearray(chunk.read_bytes())
    at = len(data) // 2 if path.is_dir() else _first_chunk(path, pair)
    data[at] ^= 1
    chunk.write_bytes(data)
    with (
        pytest.raises(Exception, match=r"(?i)checksum|crc32c|fletcher|filter|read"),
        backend.reader(path, reader) as opened,
    ):
        opened.read(pair)
    assert sound.any()


def _first_chunk(path: Path, name: str) -> int:
    """Return the place of a byte within the first chunk of a data set."""
    with h5py.File(path) as file:
        found = file[name].id.get_chunk_info(0)
        return found.byte_offset + found.size // 2


def test_matched_settings_differ_in_the_container_alone(tmp_path):
    """The same chunks and codec, and no checksum behind a chunk: one that is read costs what decoding costs."""
    trace, found = open_trace(TRACE), {}
    for name in ("hdf5", "zarr", "zarr-slim"):
        backend = load_format(name)
        write_archive(trace, backend, tmp_path / f"a{backend.suffix}", "matched")
        with backend.reader(tmp_path / f"a{backend.suffix}") as reader:
            opened = reader.opened("activations/layer_0/pair_repr")
        found[name] = opened.chunks[-3:], re.sub(r", index at .*| \(filter \d+\)", "", opened.codec)
    assert len(set(found.values())) == 1, found


@pytest.mark.parametrize(
    ("name", "reader", "profile", "budget", "kept"),
    [
        ("hdf5", "h5py", "tuned", None, 8 << 20),
        ("hdf5", "h5py", "tuned", 0, 0),
        ("hdf5", "h5py", "seed", None, 0),  # contiguous
        ("hdf5", "h5py-reopened", "tuned", None, 0),
        ("zarr", "zarr-python", "tuned", None, 0),
        ("zarr", "tensorstore", "tuned", None, 0),
        ("zarr", "tensorstore", "tuned", 1 << 20, 1 << 20),
        ("npz", "numpy.load", "tuned", None, 0),
    ],
)
def test_a_reader_states_how_much_it_keeps_decoded(name, reader, profile, budget, kept, tmp_path):
    backend, trace = load_format(name), open_trace(TRACE)
    if missing := backend.readers[reader].missing():
        pytest.skip(f"{reader} {missing}")
    path = tmp_path / f"a{backend.suffix}"
    write_archive(trace, backend, path, profile)
    with backend.reader(path, reader, cache_bytes=budget) as opened:
        assert opened.opened("activations/layer_0/pair_repr").cache_bytes == kept


def test_hdf5_keeps_the_decoded_chunks_of_a_data_set_between_reads(tmp_path):
    backend, trace = load_format("hdf5"), open_trace(TRACE)
    write_archive(trace, backend, tmp_path / "a.h5")
    window = np.s_[0:8, 0:8, :]
    with backend.reader(tmp_path / "a.h5") as reader:
        reader.read("activations/layer_0/pair_repr", window)
        before = read_bytes()
        for _ in range(10):
            reader.read("activations/layer_0/pair_repr", window)
        assert read_bytes() - before < 1000  # those of the file that says so


def read_bytes() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_hdf5_holds_no_more_data_sets_than_it_says(tmp_path):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for number in range(100):
            file[f"d{number}"] = np.arange(4.0)
    with load_format("hdf5").reader(tmp_path / "many.h5") as reader:
        for number in range(100):
            np.testing.assert_array_equal(reader.read(f"d{number}"), np.arange(4.0))
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_DATASET) <= 64


def test_zarr_looks_an_array_up_once(tmp_path):
    backend, trace = load_format("zarr"), open_trace(TRACE)
    write_archive(trace, backend, tmp_path / "a.zarr")
    with backend.reader(tmp_path / "a.zarr") as reader:
        assert reader.array("activations/layer_0/pair_repr") is reader.array("activations/layer_0/pair_repr")


def test_an_unknown_filter_is_named_as_hdf5_names_it():
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_deflate(4)
    assert filters_in_words(plist) == "deflate (4,) (filter 1)"
