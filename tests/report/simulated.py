"""Timings whose truth is known: simulated interleaved rounds, and recorded ones shuffled until nothing differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.analysis.table import SampleTable
from harness.row_files import read_samples
from harness.run.schedule import blocks

RECORDED = Path(__file__).resolve().parents[2] / "results" / "reference" / "samples.csv"
DRIFT = 0.15


def noise(rng, shape, kind, spread):
    """Return factors on a time: log-normal, and if heavy, a tenth of them slowed down 1.5 to 3 times."""
    factors = np.exp(rng.normal(0, spread, shape))
    slowed = rng.random(shape) < 0.1
    return np.where(slowed, factors * rng.uniform(1.5, 3, shape), factors) if kind == "heavy" else factors


def interleaved(rng, arms, rounds, kind="log-normal", spread=0.03):
    """Return seconds, shape (arms, rounds), of equal arms in blocks on a machine that slows down by 15 % meanwhile."""
    times = np.empty((arms, rounds))
    for number, position, arm in blocks(range(arms), rounds, rng):
        times[arm, number] = 1 + DRIFT * (number * arms + position) / (rounds * arms)
    return times * noise(rng, times.shape, kind, spread)


def recorded_rounds():
    """Return what the reference run took beyond each arm's own median, as a factor: a list of (arms, rounds)."""
    tables = []
    for case in SampleTable.of(read_samples(RECORDED)).cases:
        cells = [case.by_contender[contender] for contender in case.counted if not contender.is_ceiling]
        full = [cell.seconds / np.median(cell.seconds) for cell in cells]
        if len(full) >= 5 and len({len(times) for times in full}) == 1:
            tables.append(np.array(full))
    return tables


def relabelled(rng, table):
    """Return recorded rounds with the arms' names dealt anew in each, so that none differs but by chance."""
    return rng.permuted(table, axis=0)
