"""Parallel access of a run that asks for all: windows of both kinds and whole layers, warm and cold."""

from __future__ import annotations

import numpy as np

from harness.suite import load_suite
from harness.trace.sources import open_trace
from harness.workload import PlanOptions

MANIFEST = open_trace("synthetic:layers=2,heads=2,hidden_dim=4,pair_dim=4", 40).manifest
WORKERS = (("threads", 1), ("processes", 3))


def planned(parallel):
    options = PlanOptions(attention_windows=6, pair_windows=3, workers=WORKERS, parallel=parallel)
    return load_suite("parallel_access").plan(MANIFEST, np.random.default_rng(0), options)


def test_windows_alone_are_of_attention_and_warm():
    assert {(a.name, a.caches) for a in planned("windows")} == {("window_attention", ("warm",))}


def test_all_adds_pair_windows_and_layers_and_cold_reads():
    found = planned("all")
    assert {a.name for a in found} == {"window_attention", "window_pair", "layers_attention", "layers_pair"}
    assert {a.caches for a in found} == {("warm", "cold")}
    for name in ("layers_attention", "layers_pair"):
        mine = [a for a in found if a.name == name]
        assert [(a.executor, a.workers) for a in mine] == list(WORKERS)
        assert all(a.reads == mine[0].reads for a in mine), "the same work for every number of workers"
        assert len(mine[0].reads) == 3, "a layer for each worker of the largest crew"
