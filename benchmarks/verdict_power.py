"""Rates of right verdicts and of early decisions, simulated with known truth: ``python -m benchmarks.verdict_power``.

Prints the tables of ``docs/verdicts.md``. Every sample is log-normal noise on a factor that all arms of a round share,
with disturbances on top. Arms are the baseline, its A/A control and one contender; in a race, they are its candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.ranking import over_cells
from harness.analysis.statistics import Comparison, compare
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge, noise_floor
from harness.records import CellKey, Mark, RaceSample
from harness.row_files import read_rows
from harness.run.completeness import RACES, race_times
from harness.run.early_decision import decided, stays
from harness.run.subject import Arm
from harness.run.turns import RACE, RACE_ROUNDS, Turns, winners
from harness.workload import ReadAccess

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
"""Simulated machines, by their disturbance."""

RACING: dict[str, Sequence[float]] = {
    "0, 2, 5, 10 and 50 %": (1.0, 1.02, 1.05, 1.1, 1.5),
    "0, 5, 5 and 5 %": (1.0, 1.05, 1.05, 1.05),
    "0, 10, 10 and 10 %": (1.0, 1.1, 1.1, 1.1),
    "0, 50, 50 and 50 %": (1.0, 1.5, 1.5, 1.5),
}
"""Candidates of a race, by how much longer each takes than the fastest."""

RACE_NOISE = (0.02, 0.09, 0.16)
"""Noise that a tenth, half and three quarters of the candidates in the races of the reference run have at most."""

_REFERENCE = Path(__file__).parent.parent / "results" / "reference"


def log_times(
    rng: np.random.Generator,
    draws: int,
    trues: Sequence[float],
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
    """Draw logarithms of times, shape (draws, arms, rounds).

    Parameters
    ----------
    rng, draws, rounds
        Random generator, number of cells, and number of rounds of each.
    trues : sequence of float
        The true time of each arm.
    noise : float
        Standard deviation of each sample's logarithm.
    disturbed, arm : int
        Number of rounds in which one arm takes 4 times as long, drawn for each cell; and which arm, None for any.
    burst : float
        Factor by which all arms take longer in one round.
    drift : float
        Fraction by which the machine slows down from the first round to the last, within rounds too.
    slowed : float
        Share of samples that take 1.5 to 4 times as long.
    long : float
        Factor by which one arm takes longer in 4 consecutive rounds.
    """
    arms = len(trues)
    logs = rng.normal(0, noise, (draws, arms, rounds)) + rng.normal(0, _SHARED, (draws, 1, rounds))
    every = np.arange(draws)
    places = rng.permuted(np.tile(np.arange(rounds), (draws, 1)), axis=1)
    for place in places.T[:disturbed]:
        logs[every, rng.integers(arms, size=draws) if arm is None else arm, place] += np.log(_DISTURBANCE)
    logs[every, :, places[:, -1]] += np.log(burst)
    order = rng.permuted(np.tile(np.arange(arms)[:, None], (draws, 1, rounds)), axis=1)
    logs += np.log1p(drift * (arms * np.arange(rounds) + order) / (arms * rounds))
    logs += np.where(rng.random(logs.shape) < slowed, np.log(rng.uniform(1.5, 4, logs.shape)), 0)
    begins = rng.integers(-3, rounds, (draws, 1))
    within = (np.arange(rounds) >= begins) & (np.arange(rounds) < begins + 4)
    logs[every, rng.integers(arms, size=draws)] += within * np.log(long)
    return logs + np.log(trues)[:, None]


def shares(true: float, noise: float, *, draws: int, floor: bool = True, seed: int = 1, **how: Any) -> Counter[str]:
    """Return the share of each verdict; without `floor`, the A/A control is judged, as a report judges it."""
    times = np.exp(log_times(np.random.default_rng(seed), draws, (1, 1, true), noise, **how))
    found: Counter[str] = Counter()
    for cell in times:
        control = compare(cell[CONTROL], cell[BASELINE])
        compared = compare(cell[CONTENDER], cell[BASELINE]) if floor else control
        found[judge([compared], [noise_floor(control) if floor else Floor()])[0]] += 1
    return Counter({word: count / draws for word, count in found.items()})


def together(trues: Sequence[float], noise: float, *, seed: int = 1, **how: Any) -> list[str]:
    """Return the verdicts of a run with one cell for each true ratio, judged together as in a report."""
    rng = np.random.default_rng(seed)
    cells = [np.exp(log_times(rng, 1, (1, 1, true), noise, **how)[0]) for true in trues]
    floors = [noise_floor(compare(cell[CONTROL], cell[BASELINE])) for cell in cells]
    return list(judge([compare(cell[CONTENDER], cell[BASELINE]) for cell in cells], floors))


def _over_cells(logs: np.ndarray) -> Comparison:
    found = over_cells([(Comparison.of(cell), 1) for cell in logs])
    assert found is not None
    return found


def beside_the_best(
    trues: Sequence[float], noise: float, *, cells: int, draws: int, seed: int = 1, **how: Any
) -> tuple[float, float]:
    """Return how often verdicts of a criterion are wrong, and how often right, if its best is chosen by its times.

    Parameters
    ----------
    trues : sequence of float
        The true time of each format; the A/A control repeats the first.
    noise : float
        Deviation of each sample.
    cells : int
        Number of cells of the criterion.
    draws : int
        Number of criteria.
    seed, **how
        As for `log_times`.

    Returns
    -------
    wrong : float
        Share of criteria in which a format that is not slower than the best is called slower.
    found : float
        Share of the formats slower than the fastest that are called slower; NaN if there are none.
    """
    rng, wrong, found = np.random.default_rng(seed), 0, []
    for _ in range(draws):
        logs = log_times(rng, cells, (trues[0], *trues), noise, **how)
        control, formats = logs[:, 0] - logs[:, 1], logs[:, 1:]
        best = int(np.median(formats, axis=2).mean(axis=0).argmin())
        floor = noise_floor(_over_cells(control))
        others = [place for place in range(len(trues)) if place != best]
        ratios = [_over_cells(formats[:, place] - formats[:, best]) for place in others]
        words = judge(ratios, [floor] * len(others))
        behind = [place for place, word in zip(others, words, strict=True) if word == "slower"]
        wrong += any(trues[place] <= trues[best] for place in behind)
        found += [place in behind for place in range(len(trues)) if trues[place] > min(trues)]
    return wrong / draws, float(np.mean(found)) if found else float("nan")


def leaving_rates(true: float, draws: int, *, seed: int = 1, **how: Any) -> tuple[float, float]:
    """Return the share of cells that a contender leaves early, and the share of its rounds that this saves."""
    logs = log_times(np.random.default_rng(seed), draws, (1, 1, true), **how)
    ratios, equal = logs[:, CONTENDER] - logs[:, BASELINE], logs[:, CONTROL] - logs[:, BASELINE]
    rounds = ratios.shape[1]
    taken = [
        next((r for r in range(1, rounds) if decided(mine[:r], theirs[:r])), rounds)
        for mine, theirs in zip(ratios, equal, strict=True)
    ]
    return float(np.mean(np.array(taken) < rounds)), float(1 - np.mean(taken) / rounds)


def _race(candidates: int) -> Turns:
    """Return a race of `candidates` arms for one format's best."""
    arms = [Arm(label="f", backend="f", profile=f"{number}", raced=True) for number in range(candidates)]
    place: dict[str, Any] = {"suite": "s", "access": "a", "trace": "t", "n_res": None}
    cells = {
        arm: (CellKey(**place, cache="warm", executor="main", workers=1, **arm.contender._asdict()),) for arm in arms
    }
    access, subject = ReadAccess(name="a", reads=()), ("t", None)
    return Turns(
        suite="s", access=access, state="warm", cells=cells, rounds=RACE_ROUNDS, drawn=(), subject=subject, what=RACE
    )


def lost(trues: Sequence[float], noise: float, *, draws: int, seed: int = 1, **how: Any) -> np.ndarray:
    """Return the fraction by which each race's winner is truly slower than its fastest candidate, shape (draws,).

    Parameters
    ----------
    trues : sequence of float
        The true times of the candidates.
    noise, draws, seed, **how
        As for `log_times`.
    """
    race = _race(len(trues))
    keys, true = race.block, dict(zip(race.cells, trues, strict=True))
    times = np.exp(log_times(np.random.default_rng(seed), draws, trues, noise, rounds=race.rounds, **how))
    chosen = []
    for taken in times.tolist():
        rows = {key: dict(enumerate(seconds)) for key, seconds in zip(keys, taken, strict=True)}
        out = stays(race, {key: {0: Mark("ok", seconds=row[0])} for key, row in rows.items()})
        (winner,) = winners(race, {key: row for key, row in rows.items() if key not in out})
        chosen.append(true[winner])
    return np.round(np.array(chosen) / min(trues) - 1, 9)


def recorded_noise(run: Path) -> np.ndarray:
    """Return the standard deviation of each candidate's logarithms of times in the races of a run."""
    times = race_times(read_rows(run / RACES, RaceSample)).values()
    return np.array([np.std(np.log([*rounds.values()]), ddof=1) for rounds in times if len(rounds) == RACE_ROUNDS])


def _print_races(draws: int) -> None:
    found = np.percentile(recorded_noise(_REFERENCE), [10, 50, 75, 90])
    print(f"\nNoise of candidates in races of the reference: {', '.join(f'{each:.1%}' for each in found)}")
    print("(10, 50, 75 and 90 % of them have at most this)\n")
    print(f"| true times | noise | machine | more than 2 % | more than 5 % | median |\n|{'---|' * 6}")
    for name, trues in RACING.items():
        for noise in RACE_NOISE:
            for machine, disturbed in (("quiet", 0), ("one 4x", 1)):
                slower = lost(trues, noise, draws=draws, disturbed=disturbed)
                shown = " | ".join(f"{np.mean(slower > limit):.1%}" for limit in (0.02, 0.05))
                print(f"| {name} | {noise:.0%} | {machine} | {shown} | {np.median(slower):.0%} |", flush=True)


STANDING: dict[str, Sequence[float]] = {
    "2 equal": (1.0, 1.0),
    "4 equal": (1.0, 1.0, 1.0, 1.0),
    "8 equal": (1.0,) * 8,
    "2 equal, 2 slower by 2 %": (1.0, 1.0, 1.02, 1.02),
    "2 equal, 2 slower by 5 %": (1.0, 1.0, 1.05, 1.05),
    "2 equal, 2 slower by 10 %": (1.0, 1.0, 1.1, 1.1),
}
"""Formats of a criterion, by how much longer each takes than the fastest."""


def _print_standings(draws: int) -> None:
    print(f"\n| formats | cells | noise | machine | wrong | found |\n|{'---|' * 6}")
    for name, trues in STANDING.items():
        for cells in (2, 20):
            for noise, disturbed in ((0.03, 0), (0.03, 1), (0.09, 0)):
                wrong, found = beside_the_best(trues, noise, cells=cells, draws=draws, disturbed=disturbed)
                machine = "one 4x" if disturbed else "quiet"
                print(f"| {name} | {cells} | {noise:.0%} | {machine} | {wrong:.1%} | {found:.0%} |", flush=True)


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
    _print_races(draws)
    _print_standings(draws // 5)


if __name__ == "__main__":
    main()
