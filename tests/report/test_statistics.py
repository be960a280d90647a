"""Intervals cover, equal arms are not called different, and a slowdown is found; all on simulated timings."""

from __future__ import annotations

import numpy as np
import pytest

from harness.report.statistics import (
    Interval,
    compare,
    discoveries,
    median_interval,
    noise_floor,
    sign_flip_p,
    word,
)

NOISE = 0.03
DRIFT = 0.15


def rounds(rng, arms, count, factors):
    """Simulate interleaved rounds on a machine whose speed drifts by 15 % from first to last."""
    times = {arm: np.empty(count) for arm in arms}
    total, position = count * len(arms), 0
    for number in range(count):
        for arm in rng.permutation(arms):
            drift = 1 + DRIFT * position / total
            times[arm][number] = drift * factors.get(arm, 1.0) * np.exp(rng.normal(0, NOISE))
            position += 1
    return times


def verdicts(runs, count, slowdown, seed):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        times = rounds(rng, ["base", "twin", "other"], count, {"other": slowdown})
        floor = noise_floor(compare(times["twin"], times["base"]))
        comparison = compare(times["other"], times["base"])
        discovered = bool(discoveries(np.array([sign_flip_p(comparison.log_ratios, floor)]))[0])
        found.append(word(comparison, floor, discovered))
    return found


def test_equal_formats_are_not_called_different_under_drift():
    found = verdicts(200, 10, 1.0, seed=1)
    assert sum(v in ("faster", "slower") for v in found) <= 2


def test_a_slowdown_of_ten_percent_is_found_and_has_its_direction():
    found = verdicts(100, 20, 1.10, seed=2)
    assert found.count("slower") >= 90 and "faster" not in found


def test_formats_within_five_percent_are_mostly_called_equivalent():
    assert verdicts(100, 20, 1.0, seed=3).count("equivalent") >= 90


def test_the_interval_of_a_median_covers_it():
    rng = np.random.default_rng(4)
    hits = sum(
        interval.low <= 1.0 <= interval.high
        for interval in (median_interval(np.exp(rng.normal(0, NOISE, 15)), seed=k) for k in range(400))
    )
    assert 0.90 <= hits / 400 <= 0.99


def test_the_same_samples_give_the_same_interval():
    values = np.random.default_rng(5).normal(10, 1, 12)
    assert median_interval(values) == median_interval(values)
    assert median_interval(np.array([3.0])) == Interval(3.0, 3.0, 3.0)


def test_pairing_by_round_removes_what_rounds_share():
    shared = np.exp(np.random.default_rng(6).normal(0, 0.5, 12))
    comparison = compare(2 * shared, shared)
    assert comparison.ratio.low == pytest.approx(2) == comparison.ratio.high


def test_below_ten_rounds_nothing_is_decided():
    comparison = compare(np.full(9, 5.0), np.full(9, 1.0))
    assert word(comparison, 0.0, True) == "inconclusive"


def test_a_difference_below_the_floor_is_not_reported():
    comparison = compare(np.full(12, 1.08), np.full(12, 1.0))
    assert word(comparison, np.log(1.10), True) == "inconclusive"
    assert word(comparison, np.log(1.02), True) == "slower"
    assert word(comparison, np.log(1.02), False) == "inconclusive"


def test_exact_p_of_all_rounds_agreeing_is_two_in_all_patterns():
    assert sign_flip_p(np.linspace(0.5, 1.0, 10), 0.0) == pytest.approx(2 / 2**10)
    assert sign_flip_p(np.zeros(10), 0.0) == 1.0


def test_discoveries_follow_benjamini_and_hochberg():
    # The worked example: with 5 tests at 0.05 the thresholds are 0.01, 0.02, 0.03, 0.04, 0.05.
    assert discoveries(np.array([0.028, 0.9, 0.001, 0.02, 0.045])).tolist() == [True, False, True, True, False]
    assert not discoveries(np.array([0.5, 0.6])).any()
