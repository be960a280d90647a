"""How often words are right where the truth is known, and how often a contender leaves: ``python -m benchmarks.words``.

Prints the tables of ``docs/words.md``. Every sample is noise (log-normal) on a factor that all arms of a round share;
what disturbs comes on top. Arms are the baseline, its A/A control and one contender.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analysis.statistics import compare
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge, noise_floor
from harness.run.leaving import decided

BASELINE, CONTROL, CONTENDER = range(3)
_DISTURBANCE = 4.0
_SHARED = 0.05  # deviation of the factor of a round

CASES: dict[str, dict[str, Any]] = {
    "noise 1 %": {"noise": 0.01},
    "noise 3 %": {"noise": 0.03},
    "one 4x": {"noise": 0.03, "disturbed": 1},
    "two 4x": {"noise": 0.03, "disturbed": 2},
    "busy: noise 30 %": {"noise": 0.3},
    "busy, 30 % of samples slowed 1.5 to 4x": {"noise": 0.3, "slowed": 0.3},
    "busy, one arm 3x slower in 4 rounds": {"noise": 0.3, "long": 3.0},
}
"""Machines, by what disturbs them."""


def log_times(
    rng: np.random.Generator,
    draws: int,
    true: float,
    noise: float,
    *,
    rounds: int = VERDICT_ROUNDS,
    disturbed: int = 0,
    arm: int | None = None,
    burst: float = 1.0,
    drift: float = 0.0,
    slowed: float = 0.0,
    long: float = 1.0,
) -> np.ndarray:
    """Draw logarithms of times, shape (draws, 3, rounds).

    Parameters
    ----------
    rng, draws, rounds
        From what, how many cells, and rounds of each.
    true : float
        The contender's time over the baseline's.
    noise : float
        Deviation of each sample.
    disturbed, arm : int
        Rounds in which one arm takes 4 times as long, drawn for each cell; which one, None for any.
    burst : float
        How many times as long all arms take in one round.
    drift : float
        By what part the machine slows down from the first round to the last, within rounds too.
    slowed : float
        Share of samples that take 1.5 to 4 times as long.
    long : float
        How many times as long one arm takes in 4 rounds that follow each other.
    """
    logs = rng.normal(0, noise, (draws, 3, rounds)) + rng.normal(0, _SHARED, (draws, 1, rounds))
    every = np.arange(draws)
    places = rng.permuted(np.tile(np.arange(rounds), (draws, 1)), axis=1)
    for place in places.T[:disturbed]:
        logs[every, rng.integers(3, size=draws) if arm is None else arm, place] += np.log(_DISTURBANCE)
    logs[every, :, places[:, -1]] += np.log(burst)
    order = rng.permuted(np.tile(np.arange(3)[:, None], (draws, 1, rounds)), axis=1)
    logs += np.log1p(drift * (3 * np.arange(rounds) + order) / (3 * rounds))
    logs += np.where(rng.random(logs.shape) < slowed, np.log(rng.uniform(1.5, 4, logs.shape)), 0)
    begins = rng.integers(-3, rounds, (draws, 1))
    within = (np.arange(rounds) >= begins) & (np.arange(rounds) < begins + 4)
    logs[every, rng.integers(3, size=draws)] += within * np.log(long)
    logs[:, CONTENDER] += np.log(true)
    return logs


def shares(true: float, noise: float, *, draws: int, floor: bool = True, seed: int = 1, **how: Any) -> Counter[str]:
    """Return the share of each word; without a floor the A/A control is judged, as a report judges it."""
    times = np.exp(log_times(np.random.default_rng(seed), draws, true, noise, **how))
    found: Counter[str] = Counter()
    for cell in times:
        control = compare(cell[CONTROL], cell[BASELINE])
        compared = compare(cell[CONTENDER], cell[BASELINE]) if floor else control
        found[judge([compared], [noise_floor(control) if floor else Floor()])[0]] += 1
    return Counter({word: count / draws for word, count in found.items()})


def together(trues: Sequence[float], noise: float, *, seed: int = 1, **how: Any) -> list[str]:
    """Return the words of a run with a cell of each of these true ratios, judged together as a report does."""
    rng = np.random.default_rng(seed)
    cells = [np.exp(log_times(rng, 1, true, noise, **how)[0]) for true in trues]
    floors = [noise_floor(compare(cell[CONTROL], cell[BASELINE])) for cell in cells]
    return list(judge([compare(cell[CONTENDER], cell[BASELINE]) for cell in cells], floors))


def leaving_rates(true: float, draws: int, *, seed: int = 1, **how: Any) -> tuple[float, float]:
    """Return the share of cells that a contender leaves, and of its rounds that are not taken."""
    logs = log_times(np.random.default_rng(seed), draws, true, **how)
    ratios, equal = logs[:, CONTENDER] - logs[:, BASELINE], logs[:, CONTROL] - logs[:, BASELINE]
    rounds = ratios.shape[1]
    taken = [
        next((r for r in range(1, rounds) if decided(mine[:r], theirs[:r])), rounds)
        for mine, theirs in zip(ratios, equal, strict=True)
    ]
    return float(np.mean(np.array(taken) < rounds)), float(1 - np.mean(taken) / rounds)


def main(draws: int = 2000) -> None:
    """Print the tables."""
    print(f"| true ratio, noise | machine | faster | slower | equivalent | inconclusive |\n|{'---|' * 6}")
    machines: dict[str, dict[str, Any]] = {
        "quiet": {}, "baseline 4x in one round": {"disturbed": 1, "arm": BASELINE},
        "A/A 4x in one round": {"disturbed": 1, "arm": CONTROL},
        "contender 4x in one round": {"disturbed": 1, "arm": CONTENDER}, "4x in two rounds": {"disturbed": 2},
        "all arms 4x in one round": {"burst": 4.0}, "drift of 15 %": {"drift": 0.15},
    }  # fmt: skip
    for true in (1.0, 1.02, 1.05, 1.1, 1.5):
        for noise in (0.01, 0.03):
            for name, how in machines.items():
                found = shares(true, noise, draws=draws, **how)
                cells = " | ".join(f"{100 * found[w]:.1f}" for w in ("faster", "slower", "equivalent", "inconclusive"))
                print(f"| {true:g}, {noise:.0%} | {name} | {cells} |", flush=True)
    print(f"\n| machine | wrong | 3x | 10x | 50x |\n|{'---|' * 5}")
    for name, how in CASES.items():
        wrong = leaving_rates(1.0, 50 * draws, **how)[0]
        saved = " | ".join(f"{leaving_rates(true, draws, **how)[1]:.0%}" for true in (3.0, 10.0, 50.0))
        print(f"| {name} | {wrong:.3%} | {saved} |", flush=True)


if __name__ == "__main__":
    main()
