"""The rules do what they promise where the truth is known: on simulated rounds, and on recorded ones without a truth.

Every limit is what a reader of the report is promised; none is what a simulation happened to give.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from harness.analysis.statistics import compare, interval_ends
from harness.analysis.verdict import DETECTION_POWER, Floor, judge, noise_floor, smallest_detectable_effect
from tests.report.simulated import DRIFT, interleaved, noise, recorded_rounds, relabelled

RUNS = 500
KINDS = ["log-normal", "heavy"]


def cover(values, truth):
    low, high = interval_ends(np.sort(values, axis=-1))
    return np.mean((low <= truth) & (truth <= high))


def words(times):
    """Judge arms 2, 3, ... against arm 0, whose control is arm 1."""
    floor = noise_floor(compare(times[1], times[0]))
    others = [compare(arm, times[0]) for arm in times[2:]]
    return judge(others, [floor] * len(others))


def different(found):
    return sum(word in ("faster", "slower") for word in found)


@cache
def true_median(kind, spread):
    return np.median(noise(np.random.default_rng(0), 1_000_000, kind, spread))


@pytest.fixture(scope="module")
def recorded():
    tables = recorded_rounds()
    assert len(tables) > 20
    return tables


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.03, 0.15])
@pytest.mark.parametrize("rounds", [10, 11, 13, 20, 21, 40])
def test_intervals_of_times_cover_the_true_median(kind, spread, rounds):
    rng = np.random.default_rng(rounds)
    assert 0.93 <= cover(noise(rng, (3000, rounds), kind, spread), true_median(kind, spread)) <= 0.975


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [0.03, 0.15])
@pytest.mark.parametrize("rounds", [10, 20, 40])
def test_intervals_of_ratios_cover_under_a_drift_that_both_arms_share(kind, spread, rounds):
    rng = np.random.default_rng(100 + rounds)
    drift = 1 + DRIFT * (2 * np.arange(rounds)[:, None] + rng.permuted(np.tile([0, 1], (3000, rounds, 1)), axis=-1))
    times = (1 + (drift - 1) / (2 * rounds)) * noise(rng, (3000, rounds, 2), kind, spread)
    assert 0.93 <= cover(np.log(1.2 * times[..., 0]) - np.log(times[..., 1]), np.log(1.2)) <= 0.975


@pytest.mark.parametrize("rounds", [10, 20, 40])
def test_intervals_cover_the_median_of_recorded_times(recorded, rounds):
    rng = np.random.default_rng(200)
    pool = np.concatenate([table.ravel() for table in recorded])
    drawn = rng.choice(pool, (3000, rounds))
    assert 0.93 <= cover(drawn, np.median(pool)) <= 0.975
    logs = np.log(drawn) - np.log(rng.choice(pool, (3000, rounds)))
    assert 0.93 <= cover(logs, 0.0) <= 0.975


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [10, 20])
def test_equal_formats_are_not_called_different_under_drift(kind, rounds):
    rng = np.random.default_rng(300 + rounds)
    found = [word for _ in range(RUNS) for word in words(interleaved(rng, 6, rounds, kind))]
    assert different(found) <= 0.01 * len(found)


@pytest.mark.parametrize("kind", KINDS)
def test_not_even_when_a_run_compares_only_two(kind):
    rng = np.random.default_rng(400)
    found = [word for _ in range(2 * RUNS) for word in words(interleaved(rng, 3, 10, kind))]
    assert different(found) <= 0.01 * len(found)


def test_equal_formats_are_not_called_different_in_recorded_rounds(recorded):
    rng = np.random.default_rng(500)
    tables = rng.integers(len(recorded), size=2 * RUNS)
    found = [word for index in tables for word in words(relabelled(rng, recorded[index]))]
    assert different(found) <= 0.01 * len(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_forty_cells_has_no_false_difference_in_95_of_100_runs(kind):
    rng = np.random.default_rng(600)
    wrong = []
    for _ in range(200):
        cells = [interleaved(rng, 3, 10, kind) for _ in range(40)]
        floors = [noise_floor(compare(times[1], times[0])) for times in cells]
        wrong.append(different(judge([compare(times[2], times[0]) for times in cells], floors)))
    assert np.mean(np.array(wrong) > 0) <= 0.05


def test_a_recorded_run_of_forty_equal_cells_has_none_either(recorded):
    rng = np.random.default_rng(700)
    wrong = []
    for _ in range(200):
        cells = [relabelled(rng, recorded[index]) for index in rng.choice(len(recorded), 40)]
        floors = [noise_floor(compare(times[1], times[0])) for times in cells]
        wrong.append(different(judge([compare(times[2], times[0]) for times in cells], floors)))
    assert np.mean(np.array(wrong) > 0) <= 0.05


@pytest.mark.parametrize(("rounds", "slowdown"), [(20, 1.05), (20, 1 / 1.05), (10, 1.10), (10, 1 / 1.10)])
@pytest.mark.parametrize("formats", [1, 4])
def test_a_true_difference_is_found_and_has_its_direction(rounds, slowdown, formats):
    """5 % in 20 rounds and 10 % in 10, under 3 % noise and 15 % drift, alone and among equal formats."""
    rng = np.random.default_rng(800)
    found = []
    for _ in range(2 * RUNS):
        times = interleaved(rng, 2 + formats, rounds)
        times[2] *= slowdown
        found.append(words(times)[0])
    right, wrong = ("slower", "faster") if slowdown > 1 else ("faster", "slower")
    assert found.count(right) >= 0.9 * len(found)
    assert wrong not in found


def test_equal_times_are_mostly_called_equivalent_and_eight_percent_never():
    rng = np.random.default_rng(900)
    equal = [word for _ in range(RUNS) for word in words(interleaved(rng, 3, 20, spread=0.01))]
    assert equal.count("equivalent") > 0.9 * RUNS
    for spread in (0.01, 0.03, 0.15):
        apart = [words(interleaved(rng, 3, 20, spread=spread) * [[1], [1], [1.08]])[0] for _ in range(RUNS)]
        assert apart.count("equivalent") < 0.01 * RUNS


@pytest.mark.parametrize("kind", KINDS)
def test_an_arm_that_is_disturbed_as_a_whole_is_not_called_different(kind):
    """Placement slows each arm by its own few percent, in all rounds alike; the control shows how much that can be."""
    rng = np.random.default_rng(1000)
    found, without = [], []
    for _ in range(RUNS):
        times = interleaved(rng, 6, 20, kind, spread=0.01) * rng.choice([0.98, 1.02], 6)[:, None]
        times[1] = times[0] * noise(rng, 20, kind, 0.014) * rng.choice([0.96, 1.04])
        found += words(times)
        without += judge([compare(arm, times[0]) for arm in times[2:]], [Floor()] * 4)
    assert different(found) <= 0.1 * different(without)


@pytest.mark.parametrize(
    ("kind", "rounds", "power"),
    [
        ("log-normal", 10, DETECTION_POWER),
        ("log-normal", 20, DETECTION_POWER),
        ("heavy", 20, DETECTION_POWER),
        ("heavy", 10, 0.6),
    ],
)
def test_an_effect_of_the_smallest_detectable_size_is_detected(kind, rounds, power):
    rng = np.random.default_rng(1100)
    found, promised = [], []
    for _ in range(2 * RUNS):
        times = interleaved(rng, 3, rounds, kind)
        control = compare(times[1], times[0])
        effect = smallest_detectable_effect(compare(times[2], times[0]), control)
        again = interleaved(rng, 3, rounds, kind)
        again[2] *= 1 + effect
        found += words(again)
        promised.append(effect)
    assert power <= found.count("slower") / len(found)
    # Nor is it safe by being enormous: half of it is usually missed.
    half = [words(interleaved(rng, 3, rounds, kind) * [[1], [1], [1 + effect / 2]])[0] for effect in promised]
    assert half.count("slower") < power * len(half)
