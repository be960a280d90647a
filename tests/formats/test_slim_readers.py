"""Slimmed Zarr is read alike by its own reader, by zarr-python, and by implementations that share no code."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ArchiveError
from harness.formats import shard_reads
from harness.formats.archive import detect, open_archive, verify_archive, write_archive
from harness.formats.base import Layout, Profile, load_format
from harness.formats.settings import profile_of
from harness.formats.shard import sealed, shard_shape
from harness.formats.threads import ThreadTeam
from harness.formats.zarr_slim import ZarrSlimFormat
from harness.slimming.narrowing import by_name
from harness.testing.samples import StepTrace, bfloat16_exact, random_bits, specials
from harness.trace.schema import DTYPES, Role, TensorSpec, tensor
from tests.formats.samples import assert_same, put, selections, slim_place, slim_shard

Arrays = Mapping[str, np.ndarray]
Stored = Callable[[Path, str], np.ndarray]

SETTINGS = ["tuned", "fast", "portable", "cold"]


def through(path: Path, name: str, stored: Stored) -> np.ndarray:
    """Do what the attributes tell any reader to do: find the array, read it, widen its values."""
    array, index = slim_place(path, name)
    attributes = json.loads((path / array / "zarr.json").read_text())["attributes"]
    values = by_name(attributes["dtype"], attributes["narrowing"]).widen(stored(path, array))
    return values if index is None else values[index]


def by_zarr(path: Path, name: str) -> np.ndarray:
    return np.asarray(zarr.open_group(path, mode="r")[name][...])


@contextmanager
def zarrs_pipeline() -> Iterator[None]:
    """Let zarr-python read through the Rust implementation, which has to decode everything by itself."""
    pytest.importorskip("zarrs", reason="the independent reader zarrs is not installed: pip install zarrs")
    pipeline = {"path": "zarrs.ZarrsCodecPipeline", "strict": True}
    with zarr.config.set({"codec_pipeline": {**zarr.config.get("codec_pipeline"), **pipeline}}):
        yield


def by_tensorstore(path: Path, name: str) -> np.ndarray:
    reason = "the independent reader tensorstore is not installed: pip install tensorstore"
    tensorstore = pytest.importorskip("tensorstore", reason=reason)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / name}/"}}
    return np.asarray(tensorstore.open(spec, open=True).result().read().result())


def codecs(path: Path, name: str) -> str:
    return (path / name / "zarr.json").read_text()


@pytest.fixture(scope="module", params=SETTINGS)
def written(request: pytest.FixtureRequest, sample: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp(request.param), "zarr-slim", sample, request.param)


def test_zarr_python_reads_every_tensor(written: Path, sample: Arrays) -> None:
    for name, array in sample.items():
        assert_same(through(written, name, by_zarr), array)


def test_zarrs_reads_every_tensor(written: Path, sample: Arrays) -> None:
    with zarrs_pipeline():
        array: Any = zarr.open_group(written, mode="r")[slim_place(written, "attention/layer_0")[0]]
        assert type(array.async_array.codec_pipeline).__name__ == "ZarrsCodecPipeline"
        for name, array in sample.items():
            assert_same(through(written, name, by_zarr), array)


def test_tensorstore_reads_every_tensor_without_pcodec_and_shuffle(written: Path, sample: Arrays) -> None:
    """All in the settings fast and portable; in the others, only what these codecs do not take."""
    read = 0
    for name, array in sample.items():
        if "numcodecs." not in codecs(written, slim_place(written, name)[0]):
            assert_same(through(written, name, by_tensorstore), array)
            read += 1
    assert read >= 5
    assert (read == len(sample)) == (written.parent.name.startswith(("fast", "portable")))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_checksum_stands_behind_every_chunk(setting: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-slim", small, setting)
    assert all('"crc32c"' in codecs(path, "/".join(file.relative_to(path).parts[:-1])) for file in path.rglob("c*"))
    shard = slim_shard(path, "attention/layer_0")
    data = bytearray(shard.read_bytes())
    data[-4 - 16 - 4 - 1] ^= 1  # the last byte of the last chunk, ahead of checksum and index
    shard.write_bytes(data)
    with open_archive(path) as (_, reader, _):
        with pytest.raises(Exception, match="do not match the checksum stored after them"):
            reader.read("attention/layer_0")
        assert_same(reader.read("pair/layer_0"), small["pair/layer_0"])
    with pytest.raises(Exception, match=r"[Cc]hecksum"):
        by_zarr(path, "attention/layer_0")
    with zarrs_pipeline(), pytest.raises(Exception, match=r"[Cc]hecksum"):
        by_zarr(path, "attention/layer_0")


def test_a_damaged_or_lost_shard_is_noticed(small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-slim", small)
    shard = slim_shard(path, "pair/layer_0")
    whole = shard.read_bytes()
    index = len(whole) - 4 - 16
    beyond = np.array([len(whole), 8], "<u8").tobytes()
    damaged = {
        "shorter than its index": whole[:10],
        "do not match the checksum": whole[:index] + bytes(20),
        "names bytes outside": whole[:index] + sealed(beyond),
    }
    for message, data in damaged.items():
        shard.write_bytes(data)
        with open_archive(path) as (_, reader, _), pytest.raises(Exception, match=message):
            reader.read("pair/layer_0")
    shard.unlink()
    with open_archive(path) as (_, reader, _), pytest.raises(FileNotFoundError):
        reader.read("pair/layer_0")


def test_what_no_slimmed_archive_has_is_refused(small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-slim", small)
    root = json.loads((path / "zarr.json").read_text())
    nodes = root["consolidated_metadata"]["metadata"]
    nodes["attention/layer_0"]["codecs"][0]["configuration"]["codecs"] = [{"name": "bytes"}, {"name": "gzip"}]
    (path / "zarr.json").write_text(json.dumps(root))
    with open_archive(path) as (_, reader, _):
        with pytest.raises(ArchiveError, match="attention/layer_0 is stored in a way that slimmed archives do not use"):
            reader.read("attention/layer_0")
        assert_same(reader.read("pair/layer_0"), small["pair/layer_0"])
    del root["consolidated_metadata"]
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ArchiveError, match="has no consolidated metadata"), open_archive(path):
        pass


def test_an_archive_of_the_version_before_slimming_was_a_layer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.slim.zarr"
    with zipfile.ZipFile(Path(__file__).parent / "archives" / "zarr-slim-version-2.zip") as file:
        file.extractall(path)
    assert detect(path).name == "zarr-slim" and verify_archive(path) == []
    with open_archive(path) as (_, reader, manifest):
        assert [spec.path for spec in manifest.tensors][:2] == ["pair/layer_0", "pair/layer_1"]
        assert_same(reader.read("activations/layer_0/pair_repr"), reader.read("pair/layer_0"))
        assert_same(reader.read("pair/layer_1", np.s_[2:4, 0:6, 1:2]), -reader.read("pair/layer_0")[2:4, :, 1:2])
        assert_same(reader.read("outputs/labels"), np.arange(-3, 9))
        assert_same(reader.read("outputs/doubles"), np.array([0.5, -0.0, np.inf]))
        assert_same(reader.read("structure/ptm"), np.array(0.75, np.float32))


@pytest.mark.parametrize("setting", SETTINGS)
def test_threads_that_share_a_reader_read_the_same(
    setting: str, tmp_path: Path, sample: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_reads, "ALONE", 0)  # so that helpers are at work for every read of more than one chunk
    path = put(tmp_path, "zarr-slim", sample, setting)
    with open_archive(path) as (_, reader, _), ThreadPoolExecutor(6) as pool:
        reader._crew = ThreadTeam(3)  # also on a machine of one core
        for _ in range(5):
            found = pool.map(lambda key: (key, reader.read(key)), list(sample) * 2)
            for key, array in found:
                assert_same(array, sample[key])


def test_a_crew_raises_what_a_task_raised_and_leaves_no_thread_at_work() -> None:
    crew, done = ThreadTeam(3), []

    def work(tasks: Iterator[int]) -> None:
        for task in tasks:
            if task == 5:
                raise ValueError("five")
            done.append(task)

    with pytest.raises(ValueError, match="five"):
        crew.share(range(10), work)
    assert 5 not in done and len(done) == len(set(done))
    crew.share([7], work)
    assert done[-1] == 7
    crew.share([], work)
    crew.close()


class AnyChunks(ZarrSlimFormat):
    """Slimmed Zarr in a given setting, with chunks of a given extent."""

    def __init__(self, like: ZarrSlimFormat, setting: str, edge: int) -> None:
        self._like, self._edge, self._profile = like, edge, profile_of(like, setting)

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        plain = self._like.layout(spec, self._profile)
        chunks = tuple(min(self._edge, n) or 1 for n in spec.shape)
        return (
            plain
            if not spec.shape
            else Layout(
                chunks=chunks, shards=shard_shape(spec.shape, chunks), codec=plain.codec, origin="chosen", why="drawn"
            )
        )


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["bits", "zeros", "special", "small", "bfloat16"]))
    if kind == "special" and np.dtype(dtype).kind == "f":
        return rng.choice(specials(dtype), shape)
    if kind == "bfloat16" and dtype == "float32":
        return bfloat16_exact(random_bits(rng, shape, dtype))
    if kind == "small":
        return rng.integers(0, 2, shape).astype(dtype)
    return np.zeros(shape, dtype) if kind == "zeros" else random_bits(rng, shape, dtype)


@pytest.mark.parametrize("setting", SETTINGS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_whatever_is_written_is_read_by_both_readers(
    setting: str, data: st.DataObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threads, gaps and the length of a run must make no difference; the defaults would leave small arrays to one run.
    for constant, values in {"ALONE": [0, 1 << 20], "_GAP": [0, 40, 1 << 14], "_RUN": [1, 100, 1 << 20]}.items():
        monkeypatch.setattr(shard_reads, constant, data.draw(st.sampled_from(values), label=constant))
    like: Any = load_format("zarr-slim")
    backend = AnyChunks(like, setting, data.draw(st.integers(1, 6), label="edge"))
    first = data.draw(arrays())
    values = [first, data.draw(arrays()), first.copy()]
    prefix = data.draw(st.sampled_from(["", "layer_"]))
    held = {tensor(f"activations/{prefix}{k}", a.shape, a.dtype, role=Role.ACTIVATION): a for k, a in enumerate(values)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        write_archive(StepTrace(held, rows=data.draw(st.sampled_from([None, 1, 4]))), backend, path)
        with open_archive(path) as (_, reader, _):
            for spec, array in held.items():
                assert_same(reader.read(spec.path), array)
                selection = data.draw(selections(spec.shape))
                assert_same(reader.read(spec.path, selection), array[selection])
        for spec, array in held.items():
            assert_same(through(path, spec.path, by_zarr), array)
