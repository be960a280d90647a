"""Histories whose truth is known: runs that were never measured, with noise as real runs have it."""

from __future__ import annotations

import numpy as np

from harness.history.machine_kind import MachineKind
from harness.history.record import CellFigures, Definition, RunRecord
from harness.history.series import Series, arrange
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
    return CellFigures(key=place, **figures | more)


def sized(nbytes, files=1, name="hdf5"):
    return CellFigures(key=key(name, "archive", suite="size"), samples=1, size_bytes=nbytes, files=files)


def run(number, cells, **changes):
    values = {
        "run_id": f"run{number:02d}",
        "started": f"2026-11-{1 + number // 24:02d} {number % 24:02d}:00 UTC",
        "commit": f"{number:07x}" + "0" * 33,
        "dirty": False,
        "machine": MACHINE,
        "libraries": {"zarr": "3.1.6"},
        "definition": SAME,
        "samples_sha256": f"{number:064x}",
        "cells": tuple(cells),
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


PLACES, CELLS = 25, 100


def noisy_logs(rng, runs, own=(0.01, 0.08)):
    """Return logarithms of times without any step: shape (cells, runs) of formats, and of the raw ceiling of each place.

    All share a machine that drifts (an autoregressive process, 4 % wide, that keeps 80 % from run to run) and is
    disturbed as a whole by 10 to 50 % in 7 % of runs, of which each cell takes 0.7 to 1.3 times. Each has noise of its
    own, of 1 to 8 %, with the heavy tails of Student's t of 3 degrees, and is disturbed alone by 20 to 100 % in 2 %.
    """
    drift = np.zeros(runs)
    drift[0] = rng.normal()
    for i in range(1, runs):
        drift[i] = 0.8 * drift[i - 1] + 0.6 * rng.normal()
    machine = 0.04 * drift + np.where(rng.random(runs) < 0.07, rng.uniform(0.1, 0.5, runs), 0)

    def rows(count):
        spread = np.exp(rng.uniform(*np.log(own), count))[:, None]
        noise = spread * rng.standard_t(3, (count, runs)) / np.sqrt(3)
        alone = np.where(rng.random((count, runs)) < 0.02, rng.uniform(0.2, 1, (count, runs)), 0)
        return rng.uniform(0.7, 1.3, count)[:, None] * machine + noise + alone

    return rows(CELLS), rows(PLACES)


def series_of(formats, ceilings) -> Series:
    """Put logarithms of times into runs: four formats at each place, and its ceiling."""
    names = ["npz", "hdf5", "zarr", "zarr-slim"]
    keys = [key(names[i // PLACES], f"case{i % PLACES}") for i in range(CELLS)]
    keys += [key("raw", f"case{i}") for i in range(PLACES)]
    times = np.exp(np.vstack([formats, ceilings])) / 100
    runs = [run(j, [timed(k, float(t)) for k, t in zip(keys, times[:, j], strict=True)]) for j in range(times.shape[1])]
    (found,) = arrange(runs)
    return found
