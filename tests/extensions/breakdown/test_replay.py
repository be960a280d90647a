"""A read that is taken apart and put together again gives every bit, and needs the bytes that it names."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import registry
from harness.extensions.breakdown import blosc
from harness.extensions.breakdown.hdf5 import replay_dataset
from harness.extensions.breakdown.replay import Replay, Replayer, contiguous, replayer_of
from harness.extensions.breakdown.zarr import replay_array
from harness.formats.archive import open_archive
from harness.formats.base import Format, Profile, Reader, load_format
from harness.formats.raw import RawFormat
from harness.formats.selection import whole
from harness.formats.slimmed import SlimmedFormat
from harness.testing.samples import sample_arrays
from tests.formats.samples import LACKING, WRITABLE, assert_same, put, selections


def replayed(name: str) -> bool:
    """Say whether something is registered that takes reads of a format apart; of others whole reads are timed."""
    backend = load_format(name)
    if isinstance(backend, SlimmedFormat):
        backend = backend.of
    return registry.of_format("replays", type(backend)) is not None


REPLAYED = [param for param in WRITABLE if replayed(str(param.values[0]))]

Arrays = Mapping[str, np.ndarray]
Write = Callable[[str, Profile], Path]


@pytest.fixture(scope="module")
def sample() -> Arrays:
    return sample_arrays(LACKING)


@pytest.fixture(scope="module")
def write(sample: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write the sample once for each format and profile."""
    done: dict[tuple[str, Profile], Path] = {}

    def once(name: str, profile: Profile) -> Path:
        if (name, profile) not in done:
            done[name, profile] = put(tmp_path_factory.mktemp(name), name, sample, profile)
        return done[name, profile]

    return once


@contextmanager
def replaying(path: Path) -> Iterator[tuple[Reader, Replayer]]:
    with open_archive(path) as (backend, reader, _):
        replayer = replayer_of(backend, path, reader)
        assert replayer is not None
        with closing(replayer):
            yield reader, replayer


def stored(replay: Replay) -> list[bytes]:
    """Read every extent."""
    found = []
    for extent in replay.extents:
        with extent.file.open("rb") as file:
            file.seek(extent.offset)
            found.append(file.read(extent.length))
            assert len(found[-1]) == extent.length > 0
    return found


def result(replay: Replay) -> np.ndarray:
    return replay.place(replay.decode(replay.load(stored(replay))))


@pytest.mark.parametrize(("name", "profile"), REPLAYED)
def test_whole_tensors_are_replayed_bit_for_bit(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    with replaying(write(name, profile)) as (_, replayer):
        for path, array in sample.items():
            replayer.locate(path)
            replay = replayer.replay(path)
            assert replay is not None
            assert_same(result(replay), array)
            assert type(result(replay)) is np.ndarray


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), REPLAYED)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_parts_are_replayed_bit_for_bit(
    name: str, profile: Profile, write: Write, sample: Arrays, data: st.DataObject
) -> None:
    with replaying(write(name, profile)) as (reader, replayer):
        for path in data.draw(st.lists(st.sampled_from(list(sample)), min_size=2, max_size=4)):
            selection = data.draw(selections(sample[path].shape))
            replay = replayer.replay(path, selection)
            assert replay is not None
            assert_same(result(replay), reader.read(path, selection))


@pytest.mark.parametrize(("name", "profile"), REPLAYED)
def test_every_extent_is_needed(name: str, profile: Profile, write: Write, sample: Arrays) -> None:
    with replaying(write(name, profile)) as (_, replayer):
        replay = replayer.replay("attention/layer_0", (slice(1, 2), slice(3, 35), slice(3, 35)))
        assert replay is not None
        pieces, right = stored(replay), result(replay)
        for number, piece in enumerate(pieces):
            if name.startswith("zarr-slim") and number == 0:
                continue  # the shard's index: it was needed to find the chunks
            broken = [*pieces[:number], bytes(len(piece)), *pieces[number + 1 :]]
            try:
                found = replay.place(replay.decode(replay.load(broken)))
            except Exception:  # noqa: BLE001 - a codec that refuses has noticed
                continue
            assert found.tobytes() != right.tobytes()


def test_chunks_of_the_fill_value_alone_need_no_bytes(write: Write, sample: Arrays) -> None:
    for name in ("zarr", "zarr-slim"):
        with replaying(write(name, "tuned")) as (_, replayer):
            replay = replayer.replay("attention/triangle_start/layer_0")
            assert replay is not None
            assert len(replay.extents) == (1 if name == "zarr-slim" else 0)  # a shard that holds only its index
            assert_same(result(replay), sample["attention/triangle_start/layer_0"])


HOLE = (slice(1, 5), slice(2, 7))


def _hollow(array: zarr.Array | h5py.Dataset) -> np.ndarray:
    array[2:4, 3:6] = np.arange(6).reshape(2, 3)  # one chunk of (2, 3), and no other
    values = np.full((5, 7), 2.5, np.float32)
    values[2:4, 3:6] = np.arange(6).reshape(2, 3)
    return values


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_chunks_that_are_missing_are_filled(tmp_path: Path, zarr_format: int) -> None:
    group = zarr.create_group(tmp_path / "a", zarr_format=zarr_format)
    array = group.create_array("x/y", shape=(5, 7), chunks=(2, 3), dtype="f4", fill_value=2.5, compressors=None)
    values = _hollow(array)
    replay = replay_array(tmp_path / "a", array, HOLE)
    assert replay is not None
    assert [extent.length for extent in replay.extents] == [24]
    assert_same(result(replay), values[HOLE])


def test_zarr_arrays_with_a_codec_not_known_or_several_shards_have_no_replay(tmp_path: Path) -> None:
    layout = {"shape": (8, 8), "chunks": (2, 2), "dtype": "f4"}
    zstd = zarr.create_array(tmp_path / "zstd", **layout, compressors=zarr.codecs.ZstdCodec())
    assert replay_array(tmp_path / "zstd", zstd, None) is None
    shards = zarr.create_array(tmp_path / "shards", **layout, shards=(4, 4), compressors=None)
    assert replay_array(tmp_path / "shards", shards, None) is None


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("options", [{}, hdf5plugin.Blosc(), hdf5plugin.Bitshuffle(), {"compression": "gzip"}])
def test_hdf5_chunks_that_are_missing_are_filled(tmp_path: Path, options: Mapping[str, object], userblock: int) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=userblock) as file:
        values = _hollow(file.create_dataset("x", (5, 7), "f4", chunks=(2, 3), fillvalue=2.5, **options))
        file.create_dataset("never", (3, 2), "f4", fillvalue=1.5)
    with h5py.File(path) as file:
        replay = replay_dataset(path, file["x"], HOLE)
        assert replay is not None and len(replay.extents) == 1
        assert_same(result(replay), values[HOLE])
        never = replay_dataset(path, file["never"], None)
        assert never is not None and never.extents == ()
        assert_same(result(never), np.full((3, 2), 1.5, np.float32))


def test_a_chunk_that_blosc_could_not_shrink_is_stored_as_it_is(tmp_path: Path) -> None:
    noise = np.frombuffer(np.random.default_rng(0).bytes(4000), np.uint8).reshape(2, 2000)
    noise = np.concatenate([noise, np.zeros((2, 2000), np.uint8)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=noise, chunks=(2, 2000), **hdf5plugin.Blosc(shuffle=0))
    with h5py.File(tmp_path / "a.h5") as file:
        replay = replay_dataset(tmp_path / "a.h5", file["x"], None)
        assert replay is not None
        assert [file["x"].id.get_chunk_info(k).filter_mask for k in range(2)] == [1, 0]
        assert_same(result(replay), noise)


def test_values_in_the_header_of_a_dataset_have_no_replay(tmp_path: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, space, plist)
        assert replay_dataset(tmp_path / "a.h5", file["x"], None) is None


def test_what_is_decoded_in_memory_leaves_nothing_open(write: Write) -> None:
    with replaying(write("hdf5", "tuned")) as (_, replayer):
        replayer.locate("pair/layer_0")  # the data set that is read stays open, as the reader holds it
        gc.collect()
        before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL)
        for _ in range(3):
            replay = replayer.replay("pair/layer_0")
            assert replay is not None
            result(replay)
        del replay
        gc.collect()
        assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_ALL) == before


def test_a_whole_tensor_that_is_stored_as_it_is_is_one_extent(tmp_path: Path) -> None:
    replay = contiguous(tmp_path / "f", 100, (3, 4), "float32", None)
    assert [(extent.offset, extent.length) for extent in replay.extents] == [(100, 48)]
    assert contiguous(tmp_path / "f", 0, (), "float64", None).extents[0].length == 8
    assert whole((3, 0), None) == (slice(0, 3), slice(0, 0))


class Other(Format):
    name, readers, writer = "other", RawFormat.readers, None


def test_a_format_that_nothing_is_registered_for_has_none(write: Write) -> None:
    path = write("raw", "tuned")
    with open_archive(path) as (_, reader, _):
        assert replayer_of(Other(), path, reader) is None
        assert replayer_of(load_format("hdf5"), path, reader) is None  # its readers are others


def test_a_format_of_anyones_registers_what_takes_its_reads_apart(
    write: Write, sample: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("other", "harness.extensions.breakdown.flat:FlatReplayer", "harness.replays")
    monkeypatch.setattr(registry, "_points", lambda group: {"other": point})
    path = write("raw", "tuned")
    with RawFormat().reader(path) as reader:
        replayer = replayer_of(Other(), path, reader)
        assert replayer is not None
        replay = replayer.replay("pair/layer_0")
        assert replay is not None
        assert_same(result(replay), sample["pair/layer_0"])


def test_blosc_is_left_as_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (None, True, False):
        monkeypatch.setattr(blosc.blosc, "use_threads", found)
        assert blosc.decompress([blosc.blosc.compress(b"abc", b"zstd", 1)]) == [b"abc"]
        assert blosc.blosc.use_threads is found
