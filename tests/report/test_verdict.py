"""A word needs enough rounds, a difference beyond that of equal arms, and more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.statistics import compare
from harness.analysis.verdict import Floor, doubt, judge, noise_floor, smallest_detectable_effect, word


def constant(factor, rounds=12):
    return compare(np.full(rounds, factor), np.ones(rounds))


def around(factor, spread=0.02, rounds=12):
    return compare(factor * np.exp(spread * np.linspace(-1, 1, rounds)), np.ones(rounds))


def test_below_ten_rounds_nothing_is_decided():
    assert word(constant(5.0, rounds=9), Floor(), True) == "inconclusive"
    assert judge([constant(5.0, rounds=9)], [Floor()]) == ["inconclusive"]


def test_a_difference_below_that_of_equal_arms_is_not_reported():
    def floor(difference, excess):
        return Floor(difference=np.log(difference), excess=np.log(excess))

    assert word(constant(1.08), floor(1.10, 1.0), True) == "inconclusive"
    assert word(constant(1 / 1.08), floor(1.10, 1.0), True) == "inconclusive"
    assert word(constant(1.08), floor(1.02, 1.02), True) == "slower"
    assert word(constant(1 / 1.08), floor(1.02, 1.02), True) == "faster"
    assert word(constant(1.08), floor(1.02, 1.02), False) == "inconclusive"


def test_the_whole_interval_lies_beyond_the_excess_of_the_floor():
    comparison = around(1.08)
    low = np.log(comparison.ratio.low)
    assert word(comparison, Floor(difference=0.05, excess=low - 0.001), True) == "slower"
    assert word(comparison, Floor(difference=0.05, excess=low + 0.001), True) == "inconclusive"


def test_a_small_difference_that_is_certain_is_told_and_an_uncertain_one_is_equivalent():
    assert word(around(1.03, 0.01), Floor(), True) == "slower"
    assert word(around(1.0), Floor(), False) == "equivalent"
    assert word(around(1.0, 0.2), Floor(), False) == "inconclusive"


def test_the_floor_is_the_controls_difference_and_its_excess_what_chance_does_not_explain():
    assert noise_floor(None) == Floor()
    exact = noise_floor(constant(1 / 1.04))
    assert exact.difference == pytest.approx(np.log(1.04)) == exact.excess
    noisy = noise_floor(around(1.01, 0.1))
    assert noisy.difference == pytest.approx(np.log(1.01)) and noisy.excess == 0
    between = noise_floor(around(1.04))
    assert 0 < between.excess < between.difference


def test_chance_is_excluded_one_by_one_and_for_all_together():
    # 4 % in 10 rounds with 2 dissenting: p is 0.0098 with rank sum 3 against it, 0.014 with 4.
    logs = np.linspace(0.04, 0.05, 10)
    within, beyond = logs.copy(), logs.copy()
    within[2] *= -1  # rank 3
    beyond[3] *= -1  # rank 4
    base = np.ones(10)
    for values, expected in ((within, "slower"), (beyond, "equivalent")):
        one = compare(np.exp(values), base)
        assert (judge([one], [Floor()])[0] == "slower") == (expected == "slower")
    equal = compare(np.exp(0.2 * np.array([1, -1] * 5) * np.arange(1, 11)), base)
    # Among 20 that are equal, 0.0098 is no discovery; nor do comparisons with too few rounds count as tests.
    assert judge([compare(np.exp(within), base)] + [equal] * 20, [Floor()] * 21)[0] != "slower"
    few = constant(1.0, rounds=3)
    assert judge([compare(np.exp(within), base)] + [few] * 20, [Floor()] * 21)[0] == "slower"


def test_the_smallest_detectable_effect_grows_with_the_spread_and_with_the_floor():
    rng = np.random.default_rng(1)
    logs = rng.normal(0, 0.02, 20)
    centred = logs - np.median(logs)
    quiet, noisy = (compare(np.exp(factor * centred), np.ones(20)) for factor in (1, 3))
    assert smallest_detectable_effect(noisy, quiet) > 2 * smallest_detectable_effect(quiet, quiet)
    apart = compare(np.exp(centred + 0.10), np.ones(20))
    assert smallest_detectable_effect(quiet, apart) > 0.10 > smallest_detectable_effect(quiet, quiet)
    assert smallest_detectable_effect(quiet, quiet) == smallest_detectable_effect(quiet, quiet)
    assert smallest_detectable_effect(constant(1.0, rounds=9), quiet) is None
    assert smallest_detectable_effect(quiet, constant(1.0, rounds=9)) is None


def test_an_inconclusive_comparison_says_why():
    def reason(logs, floor=None):
        comparison = compare(np.exp(logs), np.ones(len(logs)))
        floor = floor or Floor()
        assert judge([comparison], [floor]) == ["inconclusive"]
        return doubt(comparison, floor)

    steady = np.linspace(0.06, 0.08, 12)
    assert reason(steady[:9]) == "rounds"
    assert reason(steady, Floor(difference=0.1, excess=0.09)) == "floor"
    assert reason(np.linspace(-0.2, 0.2, 12)) == "noise"
    one = np.append(np.linspace(0.03, 0.12, 9), -0.15)  # not far enough from the others to be left out
    assert reason(one) == "one-round"


def test_runs_of_before_keep_their_words():
    disturbed = np.append(np.linspace(0.40, 0.41, 9), np.log(1.5 / 4))
    comparison = compare(np.exp(disturbed), np.ones(10))
    assert judge([comparison], [Floor()]) == ["slower"]
    assert judge([comparison], [Floor()], all_rounds=True) == ["inconclusive"]
