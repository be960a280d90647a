"""Histories whose truth is known: runs that were never measured."""

from __future__ import annotations

import numpy as np

from harness.extensions.history.record import Definition, MachineKind, RunRecord
from harness.records import CellKey

MACHINE = MachineKind(
    cpu="Made Up", cores=2, memory_gib=24, filesystem="ext4", kernel="Linux 6", python="CPython 3.11", virtual=True
)
SAME = Definition(seed=0, rounds=10, plans={"synthetic of 64 residues": "p"}, data={"synthetic of 64 residues": "d"})


def key(name="hdf5", access="head", n_res=64, suite="layer_read"):
    profile = "" if name == "raw" else "tuned"
    cache = "" if suite == "size" else "warm"
    return CellKey(suite, access, "synthetic:layers=1", n_res, name, profile, cache, "main", 1)


def timed(place, seconds, **more):
    figures = {"samples": 10, "median_seconds": seconds, "ci_low": 0.97 * seconds, "ci_high": 1.03 * seconds}
    return place, figures | more


def sized(nbytes, files=1, name="hdf5"):
    return key(name, "archive", suite="size"), {"samples": 1, "size_bytes": nbytes, "files": files}


def run(number, cells, **changes):
    values = {
        "run_id": f"run{number:02d}",
        "started": f"2026-11-{1 + number // 24:02d} {number % 24:02d}:00 UTC",
        "commit": f"{number:07x}" + "0" * 33,
        "dirty": False,
        "machine": MACHINE,
        "load_average": 1.0,
        "libraries": {"zarr": "3.1.6"},
        "definition": SAME,
        "samples_sha256": f"{number:064x}",
        "cells": dict(cells),
    }
    return RunRecord(**values | changes)


def ratios(values, base=0.01):
    """One run for each value, with two cells whose raw ceiling never changes: one takes that value, one is steady."""
    rng = np.random.default_rng(len(values))
    wobble = np.exp(rng.normal(0, 0.005, (3, len(values))))
    return [
        run(
            i,
            [
                timed(key(), base * value * wobble[0, i]),
                timed(key("npz"), base * wobble[1, i]),
                timed(key("raw"), base / 10 * wobble[2, i]),
            ],
        )
        for i, value in enumerate(values)
    ]
