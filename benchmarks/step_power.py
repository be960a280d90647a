"""Rates of false alarms and of found steps of the rule for a step in a history, simulated with known truth.

Run as ``python -m benchmarks.step_power [HISTORIES]``; counts have their 95 % Wilson intervals.
"""

from __future__ import annotations

import sys

import numpy as np

from harness.extensions.history.record import CellFigures, Definition, MachineKind, RunRecord
from harness.extensions.history.series import Series, arrange
from harness.extensions.history.steps import find_steps
from harness.records import CellKey

PLACES, CELLS = 25, 100
AFTER = 5

_MACHINE = MachineKind(
    cpu="simulated", cores=2, memory_gib=24, filesystem="ext4", kernel="Linux 6", python="CPython 3.11", virtual=True
)


def noisy_logs(rng: np.random.Generator, runs: int, own: tuple[float, float] = (0.01, 0.08)) -> np.ndarray:
    """Return logarithms of times without any step, shape (CELLS + PLACES, runs), the raw ceilings last.

    All series share a machine that drifts (an autoregressive process, 4 % wide, that keeps 80 % from run to run) and is
    disturbed by 10 to 50 % in 7 % of runs. Each series takes 0.7 to 1.3 times of both. Each has its own noise, of a
    width within ``own``, with the heavy tails of Student's t of 3 degrees of freedom, and is disturbed alone by 20 to
    100 % in 2 % of runs.
    """
    count = CELLS + PLACES
    drift = np.zeros(runs)
    drift[0] = rng.normal()
    for i in range(1, runs):
        drift[i] = 0.8 * drift[i - 1] + 0.6 * rng.normal()
    machine = 0.04 * drift + np.where(rng.random(runs) < 0.07, rng.uniform(0.1, 0.5, runs), 0)
    spread = np.exp(rng.uniform(np.log(own[0]), np.log(own[1]), count))[:, None]
    noise = spread * rng.standard_t(3, (count, runs)) / np.sqrt(3)
    alone = np.where(rng.random((count, runs)) < 0.02, rng.uniform(0.2, 1, (count, runs)), 0)
    logs: np.ndarray = rng.uniform(0.7, 1.3, count)[:, None] * machine + noise + alone
    return logs


def series_of(logs: np.ndarray) -> Series:
    """Return logarithms of times as a series of runs: four formats at each place, and its ceiling."""
    names = ("npz", "hdf5", "zarr", "zarr-slim", "raw")
    keys = [
        CellKey("layer_read", f"case{i % PLACES}", "simulated", 64, names[i // PLACES], "", "warm", "main", 1)
        for i in range(len(logs))
    ]
    definition = Definition(seed=0, rounds=10, plans={}, data={})
    runs = [
        RunRecord(
            run_id=f"run{number}",
            started=f"{number:06d}",
            commit=None,
            dirty=False,
            machine=_MACHINE,
            load_average=None,
            libraries={},
            definition=definition,
            samples_sha256=str(number),
            cells={key: CellFigures(samples=10, median_seconds=float(t)) for key, t in zip(keys, times, strict=True)},
        )
        for number, times in enumerate(np.exp(logs.T))
    ]
    (found,) = arrange(runs)
    return found


def false_alarms(histories: int, runs: int, seed: int = 0) -> int:
    """Count the histories without any step in which the rule finds one in a cell."""
    rng = np.random.default_rng(seed)
    return sum(any(step.key for step in find_steps(series_of(noisy_logs(rng, runs)))) for _ in range(histories))


def found(histories: int, runs: int, ratio: float, own: float, seed: int = 1) -> tuple[int, int, int]:
    """Count slowed cells that are found, those found at the exact run, and all: a fifth is slower in the last runs."""
    rng = np.random.default_rng(seed)
    slowed = range(0, CELLS, 5)
    hits = exact = 0
    for _ in range(histories):
        logs = noisy_logs(rng, runs, (own, own * 1.0001))
        logs[:CELLS:5, runs - AFTER :] += np.log(ratio)
        series = series_of(logs)
        steps = {step.key: step for step in find_steps(series) if step.regression}
        mine = [steps[series.keys[i]] for i in slowed if series.keys[i] in steps]
        hits, exact = hits + len(mine), exact + sum(step.place == runs - AFTER for step in mine)
    return hits, exact, histories * len(slowed)


def _share(count: int, of: int) -> str:
    """Return a count as text, with its 95 % interval (Wilson 1927)."""
    z, p = 1.96, count / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return f"{count} of {of} ({100 * max(0, middle - half):.1f} to {100 * min(1, middle + half):.1f} %)"


def main(histories: int) -> None:
    """Print the rates of the rule."""
    for runs in (12, 30):
        print(f"no step, {runs} runs: false alarm in {_share(false_alarms(histories, runs), histories)}", flush=True)
    for own in (0.01, 0.02, 0.03, 0.05):
        for ratio in (1.10, 1.25):
            hits, exact, of = found(max(1, histories // 20), 30, ratio, own)
            text = f"{ratio} times slower for {AFTER} of 30 runs, own noise {own:.0%}"
            print(f"{text}: found {_share(hits, of)}, at the very run {exact}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
