"""The suite of captures plans streams of two layers, and the row of a stream is that of a write."""

from __future__ import annotations

import numpy as np

from harness.extensions.capture import suite as capture
from harness.extensions.capture.streaming import StreamTask
from harness.extensions.capture.suite import StreamAccess, suite
from harness.run.plan import read_planned, save_plan
from harness.run.subject import Subject
from harness.run.turns import cell_names
from harness.trace.sources import open_trace
from harness.workload import Absent, PlanOptions, WriteAccess
from tests.conftest import TINY

PROTEIN = open_trace("synthetic:layers=3,heads=2,hidden_dim=8,pair_dim=4", 50).manifest


def plan(manifest):
    return suite.plan(manifest, np.random.default_rng(0), PlanOptions())


def test_streaming_takes_two_layers_others_in_each_round():
    (access,) = plan(PROTEIN)
    assert isinstance(access, StreamAccess) and len(access.tensors) == 2
    for first, round_ in enumerate(access.tensors):
        assert {PROTEIN[name].layer for name, _ in round_} == {first, first + 1}


def test_a_trace_of_one_layer_is_not_streamed():
    (absent,) = plan(open_trace("synthetic:layers=1", 32).manifest)
    assert isinstance(absent, Absent) and "fewer than 2 layers" in absent.reason


def test_a_stored_stream_is_understood_without_the_extension(tmp_path):
    (access,) = plan(PROTEIN)
    path = tmp_path / "plan.json"
    save_plan([Subject("synthetic", "synthetic", 50, 50, PROTEIN, (("capture", access),))], path)
    ((found,), _, _) = read_planned(path, TINY)
    ((_, planned),) = found.plans
    assert type(planned) is WriteAccess and planned.tensors == access.tensors
    assert cell_names(planned) == cell_names(access) == ("stream", "stream_durable")
    assert access.task == f"{StreamTask.__module__}:{StreamTask.__name__}"


def test_layers_that_would_fill_the_memory_are_absent_and_say_why(monkeypatch):
    monkeypatch.setattr(capture, "LIMIT_BYTES", 1000)
    (absent,) = plan(PROTEIN)
    assert isinstance(absent, Absent) and "holds them in memory" in absent.reason
