"""A stand-in for a model hands over every tensor, in order; what was written from it is checked against the source."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.extensions.capture import streaming
from harness.extensions.capture.streaming import StandIn, StreamTask
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.row_files import read_samples
from harness.sampling.worker import Children
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, read_whole
from tests.conftest import allow

TRACE = open_trace("synthetic:layers=3,heads=2,hidden_dim=8,pair_dim=4", 40)
LAYERS = tuple((spec.path, spec.path) for spec in TRACE.manifest.tensors if spec.layer in (1, 2))


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "trace.raw"
    write_archive(TRACE, load_format("raw"), path)
    return path


def stream(raw, name):
    destination = raw.parent / "sample"
    return StreamTask(backend=name, profile="tuned", source=raw, tensors=LAYERS, destination=destination).run(
        Children()
    )


def test_a_stand_in_gives_every_tensor_of_each_layer_in_order_as_a_copy():
    arrays = {spec.path: read_whole(TRACE, spec.path) for spec in TRACE.manifest.tensors}
    given = {}
    StandIn(MemoryTrace("x", TRACE.manifest, arrays)).run(given.__setitem__)
    assert list(given) == list(arrays)
    for path, array in given.items():
        assert array.tobytes() == arrays[path].tobytes() and not np.shares_memory(array, arrays[path])


@pytest.mark.parametrize("name", ["raw", "npz", "hdf5", "zarr", "zarr-slim"])
def test_a_sample_writes_what_was_asked_for_and_leaves_nothing(name, raw):
    written = stream(raw, name)
    assert written.problem == ""
    assert [spec.path for spec in written.manifest.tensors] == [path for path, _ in LAYERS]
    assert written.memory_bytes == sum(spec.nbytes for spec in written.manifest.tensors)
    assert 0 < written.seconds < written.seconds + written.sync_seconds and written.size_bytes > 0
    assert [path.name for path in raw.parent.iterdir()] == ["trace.raw"]


def test_a_format_that_stores_nothing_gives_no_time(raw):
    allow("tests.liars:WritesNothing")
    with pytest.raises(HarnessError, match="nothing"):
        stream(raw, "tests.liars:WritesNothing")


def test_values_that_are_not_the_sources_are_a_problem(raw, monkeypatch):
    monkeypatch.setattr(streaming, "read_whole", lambda trace, path: read_whole(trace, path) + 1)
    assert "other values than the source" in stream(raw, "raw").problem


def test_a_run_records_both_times_of_every_round_and_continues(measure):
    traces = ("synthetic:layers=3,heads=2,hidden_dim=8,pair_dim=4",)
    folder, progress = measure(suites=("capture",), traces=traces, rounds=3)
    rows = read_samples(folder / "samples.csv")
    assert set(rows["access"]) == {"stream", "stream_durable"} and (rows["status"] == "ok").all()
    assert rows["verified"].astype(bool).all() and progress.steps == progress.planned
    times = rows.pivot(index=["format", "round"], columns="access", values="seconds")
    assert len(times) == 9 and (times["stream_durable"] > times["stream"]).all()
    before = (folder / "samples.csv").read_bytes()
    measure(folder, suites=("capture",), traces=traces, rounds=3)
    assert (folder / "samples.csv").read_bytes() == before
