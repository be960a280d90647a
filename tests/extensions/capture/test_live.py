"""Tensors go from a model to writers in order, each to all of them, and few of them are held at once."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.extensions.capture import session
from harness.extensions.capture.live import Feed, LiveTrace, Stopped
from harness.extensions.capture.plan import layer_bytes
from harness.extensions.capture.session import Destination, record
from harness.formats.archive import open_archive, verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.npz import NpzWriter
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import SchemaError, tensor
from harness.trace.stream import digest
from tests.extensions.capture.fake import FakeModel, query, settings

FORMATS = {"npz": "a.npz", "hdf5": "a.h5", "zarr": "a.zarr", "zarr-slim": "a.slim.zarr"}


def destinations(folder: Path, names=tuple(FORMATS)) -> list[Destination]:
    return [Destination(load_format(name), folder / FORMATS[name]) for name in names]


def manifest_of(count: int) -> Manifest:
    tensors = tuple(tensor(f"activations/t{k}", (10,), "float32") for k in range(count))
    return Manifest(tensors=tensors, provenance=Provenance(source="test"))


def test_every_format_gets_every_tensor_bit_for_bit(tmp_path):
    model = FakeModel(settings(), query())
    manifests = record(model, destinations(tmp_path))
    wanted = dict(model.values())
    assert set(wanted) == {spec.path for spec in model.manifest.tensors}
    for destination, manifest in zip(destinations(tmp_path), manifests, strict=True):
        assert verify_archive(destination.path) == []
        assert manifest.digests == {path: digest(array) for path, array in wanted.items()}
        with open_archive(destination.path) as (_, reader, stored):
            assert stored.tensors == model.manifest.tensors and stored.provenance.trained is False
            for path, array in wanted.items():
                found = reader.read(path)
                assert found.dtype == array.dtype and found.tobytes() == array.tobytes(), path


@pytest.mark.parametrize("limit", [0, 40, 100, 80])
def test_no_more_is_held_than_the_limit_whoever_is_slow(limit):
    count, manifest = 50, manifest_of(50)
    feed = Feed(manifest, 2, limit)
    arrays = {spec.path: np.full(10, k, np.float32) for k, spec in enumerate(manifest.tensors)}
    seen: dict[int, list[float]] = {0: [], 1: []}

    def consume(writer: int) -> None:
        for spec in manifest.tensors:
            (block,) = LiveTrace("live", manifest, feed, writer).blocks(spec.path)
            seen[writer].append(float(block[0]))

    threads = [threading.Thread(target=consume, args=(writer,)) for writer in seen]
    for thread in threads:
        thread.start()
    for path, array in arrays.items():
        feed.push(path, array)
    feed.finish()
    for thread in threads:
        thread.join()
    assert seen[0] == seen[1] == list(range(count))
    assert 40 <= feed.most_held <= max(limit, 40)


def test_a_tensor_is_held_until_the_last_writer_has_finished_with_it():
    manifest = manifest_of(2)
    feed = Feed(manifest, 2, 80)
    feed.push("activations/t0", np.zeros(10, np.float32))
    feed.push("activations/t1", np.zeros(10, np.float32))
    feed.take(0)
    feed.release(0)
    feed.take(1)
    assert feed.held == 80
    feed.release(1)
    assert feed.held == 40


def test_a_model_that_gives_something_else_is_refused():
    manifest = manifest_of(2)
    with pytest.raises(HarnessError, match="gave activations/t1 where activations/t0 was expected"):
        Feed(manifest, 1, 100).push("activations/t1", np.zeros(10, np.float32))
    with pytest.raises(SchemaError, match=r"activations/t0: expected shape \(10,\)"):
        Feed(manifest, 1, 100).push("activations/t0", np.zeros(9, np.float32))
    feed = Feed(manifest, 1, 100)
    feed.push("activations/t0", np.zeros(10, np.float32))
    with pytest.raises(HarnessError, match=r"ended without activations/t1"):
        feed.finish()
    feed = Feed(manifest_of(1), 1, 100)
    feed.push("activations/t0", np.zeros(10, np.float32))
    with pytest.raises(HarnessError, match="nothing more was expected"):
        feed.push("activations/t1", np.zeros(10, np.float32))


def test_a_live_trace_gives_each_tensor_once():
    manifest = manifest_of(2)
    feed = Feed(manifest, 1, 100)
    trace = LiveTrace("live", manifest, feed, 0)
    for spec in manifest.tensors:
        feed.push(spec.path, np.zeros(10, np.float32))
    assert len(list(trace.blocks("activations/t0"))) == 1
    with pytest.raises(HarnessError, match="once, in order: activations/t1 is next, not activations/t0"):
        list(trace.blocks("activations/t0"))


def test_whoever_waits_is_stopped_by_the_first_error():
    feed = Feed(manifest_of(2), 1, 100)
    feed.fail(ValueError("first"))
    feed.fail(ValueError("second"))
    for wait in (lambda: feed.take(0), lambda: feed.push("activations/t0", np.zeros(10, np.float32))):
        with pytest.raises(Stopped) as caught:
            wait()
        assert str(caught.value.__cause__) == "first"


@pytest.mark.parametrize(
    ("stopped_by", "said"),
    [
        (RuntimeError("out of memory\nin detail"), "fake failed running: RuntimeError: out of memory"),
        (HarnessError("chunking is on"), "chunking is on"),
        (KeyboardInterrupt(), ""),
    ],
)
def test_a_model_that_ends_early_leaves_its_whole_layers(tmp_path, stopped_by, said):
    first_layer = threading.Event()

    def before(path: str) -> None:
        if path == "attention/row/layer_1":
            assert first_layer.wait(60)
            raise stopped_by

    def written(path: str) -> None:
        if path == "pair/layer_0":
            first_layer.set()

    model = FakeModel(settings(recycles=0), query(), before)
    with pytest.raises((HarnessError, KeyboardInterrupt)) as caught:
        record(model, destinations(tmp_path), label="fake", written=written)
    assert str(caught.value) == said and isinstance(caught.value, KeyboardInterrupt) == (not said)
    assert threading.active_count() == 1 + others()
    left = check_incomplete(tmp_path, model)
    assert tmp_path / "a.npz.incomplete" in left  # the first destination, which had written the layer


def check_incomplete(folder: Path, model: FakeModel) -> list[Path]:
    """Check that every archive that was left says that it is incomplete, and holds what the model gave."""
    given, left = dict(model.values()), list(folder.iterdir())
    for path in left:
        assert path.name.endswith(".incomplete")
        with open_archive(path) as (_, reader, manifest):
            assert manifest.incomplete is not None and manifest.incomplete.last_layer
            for spec in manifest.tensors:
                np.testing.assert_array_equal(reader.read(spec.path), given[spec.path])
    return left


def others() -> int:
    """Threads of libraries that outlive what they were started for."""
    return sum(not thread.name.startswith("writing") for thread in threading.enumerate()) - 1


def test_a_full_disk_stops_the_model_and_is_what_is_reported(tmp_path, monkeypatch):
    given = []
    write = NpzWriter.write

    def full(self, spec, blocks):
        if len(given) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, spec, blocks)

    monkeypatch.setattr(NpzWriter, "write", full)
    model = FakeModel(settings(blocks=30), query(), given.append)
    with pytest.raises(HarnessError, match=r"npz failed writing .*: No space left on device"):
        record(model, destinations(tmp_path, ("npz", "hdf5")))
    check_incomplete(tmp_path, model)
    assert len(given) < len(model.manifest.tensors)


def test_an_archive_that_differs_from_what_was_given_is_removed(tmp_path, monkeypatch):
    def changed(trace, backend, path, profile, **options):
        manifest = write_archive(trace, backend, path, profile, **options)
        return dataclasses.replace(manifest, digests={**manifest.digests, "pair/layer_1": "0" * 32})

    monkeypatch.setattr(session, "write_archive", changed)
    with pytest.raises(HarnessError, match="differs from the output of the model, and was removed"):
        record(FakeModel(settings(), query()), destinations(tmp_path, ("hdf5",)))
    assert list(tmp_path.iterdir()) == []


def test_the_unit_of_what_is_held_is_the_largest_block_of_a_pass():
    tensors = FakeModel(settings(), query()).manifest.tensors
    assert layer_bytes(tensors) == 4 * 49 * (3 + 2 + 2 + 5)
