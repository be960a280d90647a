"""Every reader of Zarr and of zarr-slim reads the same bits, with the settings that it says, and disturbs no other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from harness.capacity import capacity
from harness.errors import ArchiveError
from harness.formats.archive import write_archive
from harness.formats.base import Format, UnsupportedReader, load_format
from harness.formats.describing import ShowsStorage
from harness.formats.settings import profile_of
from harness.testing import FormatConformance
from harness.testing.conformance import CHECKS
from harness.testing.samples import small_arrays, steps
from harness.trace.schema import tensor
from tests.formats.samples import BACKENDS, assert_same, put

FORMATS = ("zarr", "zarr-slim")
OTHERS = ("npz", "hdf5", "zarr-zip", "blosc2", "icechunk")  # that have settings to race
READERS = [(name, reader) for name in FORMATS for reader in load_format(name).readers if reader != "own"]
PAIR = "activations/layer_0/pair_repr"


def needs(name: str, reader: str) -> None:
    """Skip what a reader of a format cannot do."""
    if missing := load_format(name).readers[reader].missing():
        pytest.skip(f"{reader} {missing}")
    if (name, reader) == ("zarr-slim", "tensorstore"):
        pytest.skip("tensorstore has no pcodec")


def first(name: str, reader: str) -> type[Format]:
    """Make a format that the harness itself reads by one of its readers."""
    base: Any = type(load_format(name))
    return type(f"By{reader}", (base,), {"readers": {reader: base.readers[reader]}})


# What depends on what decodes, beside bits and threads, which the suite of each format checks with every reader.
_READING = ("wrong_selections", "values_outlive", "nothing_is_kept", "handles")
for _name, _reader in READERS:
    _spec = load_format(_name).readers[_reader]
    _why = _spec.missing() or ("has no pcodec" if (_name, _reader) == ("zarr-slim", "tensorstore") else "")
    _suite = f"Test_{_name}_{_reader}".replace("-", "_")
    # tensorstore closes a file on another thread, perhaps after the values have come.
    _checked = _READING[:-1] if _reader == "tensorstore" else _READING
    _left_out = {check for check in CHECKS if not check.removeprefix("test_").startswith(_checked)}
    _facts: dict[str, Any] = {"format": first(_name, _reader), **dict.fromkeys(_left_out)}
    _class = type(_suite, (FormatConformance,), _facts)
    globals()[_suite] = pytest.mark.skipif(bool(_why), reason=f"{_reader} {_why}")(_class)


def test_stock_is_what_a_user_of_zarr_python_gets() -> None:
    for name in FORMATS:
        assert load_format(name).stock == "zarr-python"
        assert [spec.own for spec in load_format(name).readers.values()].count(True) == (name != "zarr")


@pytest.mark.parametrize("name", [param for param in BACKENDS if param.id in (*FORMATS, *OTHERS)])
def test_every_format_states_five_candidates_of_maintained_readers(name: str) -> None:
    """Its stock reader among them, so that its best is never slower for want of it."""
    backend: Any = load_format(name)
    specs = [tensor("pair/layer_0", (300, 300, 128)), tensor("attention/layer_0", (8, 300, 300))]
    assert ("", backend.stock) in backend.candidates
    assert len(set(backend.candidates)) == len(backend.candidates) == 5
    assert not any(backend.readers[reader].own for _, reader in backend.candidates)
    for alternative in {each for each, _ in backend.candidates if each}:
        profiles = "tuned", profile_of(backend, alternative)
        tuned, other = ([backend.layout(spec, profile) for spec in specs] for profile in profiles)
        assert [(laid.codec, laid.chunks) for laid in tuned] != [(laid.codec, laid.chunks) for laid in other], (
            alternative
        )


@pytest.mark.parametrize("profile", ["seed", "matched"])
@pytest.mark.parametrize("reader", load_format("zarr").readers)
def test_zarr_2_and_matched_settings_are_read_by_all(reader: str, profile: Any, tmp_path: Path) -> None:
    needs("zarr", reader)
    arrays = small_arrays()
    path = put(tmp_path, "zarr", arrays, profile)
    with load_format("zarr").reader(path, reader) as opened:
        for name, array in arrays.items():
            assert_same(opened.read(name), array)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("readers"), "zarr", small_arrays())


CLASSES = {"zarr-python": "BatchedCodecPipeline", "fused": "FusedCodecPipeline", "zarrs": "ZarrsCodecPipeline"}


@pytest.mark.parametrize("reader", CLASSES)
def test_a_pipeline_is_that_of_the_reader_and_of_no_other(reader: str, archive: Path) -> None:
    needs("zarr", reader)
    backend, before = load_format("zarr"), zarr.config.get("codec_pipeline.path")
    with backend.reader(archive, reader) as one, backend.reader(archive) as other:
        said: Any = [each.opened(PAIR).reader for each in (one, other) if isinstance(each, ShowsStorage)]
        assert CLASSES[reader] in said[0] and "BatchedCodecPipeline" in said[1]
    assert zarr.config.get("codec_pipeline.path") == before
    assert not zarr.config.get("codec_pipeline.strict", False)


def test_writing_is_by_the_default_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    create = zarr.Group.create_array

    def noted(self: zarr.Group, *arguments: Any, **options: Any) -> Any:
        used.append(create(self, *arguments, **options))
        return used[-1]

    monkeypatch.setattr(zarr.Group, "create_array", noted)
    with zarr.config.set({"codec_pipeline.path": "not.a.Pipeline"}):
        write_archive(steps(small_arrays()), load_format("zarr"), tmp_path / "a.zarr")
    assert {type(array.async_array.codec_pipeline).__name__ for array in used} == {"BatchedCodecPipeline"}


@pytest.mark.parametrize("reader", list(load_format("zarr").readers))
def test_threads_are_those_of_the_budget_and_what_differs_is_shown(
    reader: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("zarr", reader)
    with load_format("zarr").reader(archive, reader) as opened:
        said: Any = opened
        found = said.opened(PAIR).threads
        assert found.count(str(capacity().cores_usable)) >= 2
        if reader != "tensorstore":
            with zarr.config.set({"codec_pipeline.max_workers": 77}):
                assert "max_workers 77" in said.opened(PAIR).threads


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("async.concurrency", 3, "3 requests at once"),
        ("codec_pipeline.batch_size", 5, "batches of 5"),
        ("array.sharding_coalesce_max_gap_bytes", 7, "gaps of 7 bytes"),
        ("array.sharding_coalesce_max_bytes", 9, "up to 9 bytes"),
    ],
)
def test_what_is_said_of_settings_is_what_the_array_has(setting: str, value: int, words: str, archive: Path) -> None:
    if zarr.config.get(setting, None) is None:
        pytest.skip(f"zarr {zarr.__version__} has no {setting}")
    with zarr.config.set({setting: value}), load_format("zarr").reader(archive) as opened:
        said: Any = opened
        assert words in said.opened(PAIR).reader


def test_what_is_said_of_chunks_and_codec_is_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    group.create_array(
        "x", shape=(8, 8), dtype="float32", chunks=(2, 2), shards={"shape": (4, 4), "index_location": "start"},
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=6, shuffle="shuffle"),
    )[...] = np.ones((8, 8), np.float32)  # fmt: skip
    for reader in ("zarr-python", "tensorstore"):
        if load_format("zarr").readers[reader].missing():
            continue
        with load_format("zarr").reader(path, reader) as opened:
            said: Any = opened
            found = said.opened("x")
            assert (found.chunks, found.shards) == ((2, 2), (4, 4))
            assert found.codec == "blosc-zstd-6 byte shuffle, index at the start of a shard"


def test_a_budget_of_cache_is_what_tensorstore_has(archive: Path) -> None:
    needs("zarr", "tensorstore")
    for budget, said in ((None, "up to 0 bytes"), (0, "up to 0 bytes"), (1 << 20, "up to 1048576 bytes")):
        with load_format("zarr").reader(archive, "tensorstore", cache_bytes=budget) as opened:
            reader: Any = opened
            assert said in reader.opened(PAIR).cache


def test_a_codec_that_a_reader_lacks_is_its_reason_not_to_read(tmp_path: Path) -> None:
    needs("zarr", "tensorstore")
    path = put(tmp_path, "zarr-slim", small_arrays())
    with (
        load_format("zarr-slim").reader(path, "tensorstore") as opened,
        pytest.raises(
            UnsupportedReader, match=r"^tensorstore cannot read pair/layer_0: \"numcodecs.pcodec\" is not registered\.$"
        ),
    ):
        opened.read("pair/layer_0")


def test_zarrs_hands_nothing_to_another_pipeline(tmp_path: Path) -> None:
    needs("zarr", "zarrs")
    path = tmp_path / "a.zarr"
    zarr.create_group(path).create_array("x", shape=(3,), dtype="<U3")
    with (
        load_format("zarr").reader(path, "zarrs") as opened,
        pytest.raises(UnsupportedReader, match="zarrs cannot read"),
    ):
        opened.read("x")


@pytest.mark.parametrize(("name", "reader"), READERS)
def test_a_reader_of_no_archive_says_so(name: str, reader: str, tmp_path: Path) -> None:
    needs(name, reader)
    backend = load_format(name)
    with pytest.raises((ArchiveError, FileNotFoundError)), backend.reader(tmp_path / "none", reader) as opened:
        opened.manifest_text()
    path = put(tmp_path, name, small_arrays())
    with backend.reader(path, reader) as opened:
        shutil.rmtree(path)
        with pytest.raises(Exception, match=r"no array|does not exist|no zarr.json|No such file"):
            opened.read("pair/layer_0")


def test_arrays_are_opened_by_their_own_metadata(archive: Path) -> None:
    with load_format("zarr").reader(archive) as opened:
        reader: Any = opened
        reader.read("pair/layer_0")
        assert reader.array("pair/layer_0") is reader.array("pair/layer_0")
        assert sorted(reader.arrays()) == sorted(small_arrays())
    with load_format("zarr").reader(archive, "zarr-python-reopened") as opened:
        reader = opened
        assert reader.array("pair/layer_0") is not reader.array("pair/layer_0")
        assert "opened for each read" in reader.opened("pair/layer_0").reader
