"""Medians, their intervals, and exact tests, against worked examples and plain simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.analysis.statistics import (
    Interval,
    compare,
    consistent_rank_sum,
    discoveries,
    interval_ends,
    median_interval,
    resample,
    resampled_medians,
    signed_rank_p,
    typical,
)


@pytest.mark.parametrize("rounds", [9, 10, 15, 20])
def test_the_interval_is_that_of_very_many_smoothed_resamples(rounds):
    rng = np.random.default_rng(rounds)
    values = np.exp(rng.normal(0, 0.2, rounds))
    resampled = np.median(resample(values[None], 1, 100_000)[:, 0], axis=1)
    found = median_interval(values)
    allowed = (0.01 if rounds % 2 else 0.05) * (found.high - found.low)  # an even number's median is between two draws
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert found.median == np.median(values)
    assert abs(found.low - low) < allowed and abs(found.high - high) < allowed


def test_draws_are_uniform_over_the_smoothed_quantile_function_and_the_same_rounds_for_all():
    rng = np.random.default_rng(3)
    values = np.vstack([base := rng.normal(10, 1, 12), 2 * base, rng.normal(10, 1, 12)])
    drawn = resample(values, 5, 20_000)
    probabilities = np.linspace(0.05, 0.95, 19)
    wanted = np.interp(probabilities * 13, np.arange(1, 13), np.sort(base))
    assert np.quantile(drawn[:, 0], probabilities) == pytest.approx(wanted, abs=0.05)
    assert np.allclose(drawn[:, 1], 2 * drawn[:, 0])  # what disturbs a round cancels in a ratio
    assert abs(np.corrcoef(drawn[:, 0].ravel(), drawn[:, 2].ravel())[0, 1]) < 0.95
    assert (resample(values, 5) == resample(values, 5)).all() and (resample(values, 5) != resample(values, 6)).any()


def test_rounds_that_an_arm_lacks_are_left_out_of_its_medians():
    values = np.array([[1.0, 2.0, np.nan, 4.0, 5.0, 6.0], [np.nan] * 6, [3.0] * 6])
    medians = resampled_medians(values, 1)
    assert medians[0].tolist()[::2] == [4.0, 3.0] and np.isnan(medians[:, 1]).all()
    assert (medians[:, 2] == 3).all() and np.nanmax(medians[:, 0]) <= 6 and np.nanmin(medians[:, 0]) >= 1


@pytest.mark.parametrize("rounds", range(1, 8))
def test_the_interval_of_few_rounds_stays_within_what_was_measured(rounds):
    values = np.random.default_rng(rounds).normal(10, 1, rounds)
    found = median_interval(values)
    assert values.min() <= found.low <= found.median <= found.high <= values.max()
    assert median_interval(np.array([3.0])) == Interval(3.0, 3.0, 3.0)


def test_the_same_samples_give_the_same_interval_in_any_order_and_unit():
    values = np.random.default_rng(5).normal(10, 1, 12)
    found = median_interval(values)
    assert median_interval(values[::-1]) == found
    thousandth = median_interval(values / 1000)
    assert (thousandth.low, thousandth.high) == pytest.approx((found.low / 1000, found.high / 1000))


def test_many_samples_have_the_ends_of_each():
    values = np.sort(np.random.default_rng(6).normal(0, 1, (4, 3, 13)), axis=-1)
    low, high = interval_ends(values)
    one = median_interval(values[2, 1])
    assert (low[2, 1], high[2, 1]) == (one.low, one.high)


def test_pairing_by_round_removes_what_rounds_share():
    shared = np.exp(np.random.default_rng(6).normal(0, 0.5, 12))
    comparison = compare(2 * shared, shared)
    assert comparison.ratio.low == pytest.approx(2) == comparison.ratio.high


def test_exact_p_of_all_rounds_agreeing_is_two_in_all_patterns():
    assert signed_rank_p(np.linspace(0.5, 1.0, 10)) == pytest.approx(2 / 2**10)
    assert signed_rank_p(-np.full(10, 0.5)) == pytest.approx(2 / 2**10)
    assert signed_rank_p(np.linspace(0.5, 1.0, 40)) == pytest.approx(2 / 2**40)
    assert signed_rank_p(np.zeros(10)) == 1.0


@pytest.mark.parametrize("seed", range(6))
def test_p_is_that_of_scipy_which_counts_every_sign_pattern_ties_included(seed):
    values = np.random.default_rng(seed).integers(-4, 6, 9).astype(float)
    oracle = stats.wilcoxon(values[values != 0], method=stats.PermutationMethod(n_resamples=10_000))  # all 2**n
    assert signed_rank_p(values) == pytest.approx(oracle.pvalue)


def test_one_disturbed_round_does_not_hide_what_all_others_show():
    values = np.append(np.linspace(0.04, 0.06, 14), -1.0)
    assert np.mean(values) < 0 and signed_rank_p(values) < 0.05


def test_the_rank_sum_that_is_still_significant_is_the_largest():
    # The critical values in Wilcoxon's table for a two-sided 1 %.
    assert [consistent_rank_sum(count, 0.01) for count in (7, 8, 10, 20)] == [-1, 0, 3, 37]


def test_discoveries_follow_benjamini_and_hochberg():
    # The worked example: with 5 tests at 0.05 the thresholds are 0.01, 0.02, 0.03, 0.04, 0.05.
    assert discoveries([0.028, 0.9, 0.001, 0.02, 0.045]).tolist() == [True, False, True, True, False]
    assert not discoveries([0.5, 0.6]).any()
    assert discoveries([]).tolist() == []


def test_rounds_of_unusual_size_are_left_out_whichever_way_they_point_and_a_fifth_at_most():
    usual = np.linspace(0.40, 0.42, 9)
    for disturbed in (-1.0, 2.0):
        assert typical(np.append(usual, disturbed)).tolist() == usual.tolist()
        assert typical(np.append(-usual, disturbed)).tolist() == (-usual).tolist()
    assert typical(np.append(usual[:8], [-1.0, 1.1])).tolist() == usual[:8].tolist()
    assert len(typical(np.append(usual[:7], [-1.0, 1.1, 1.2]))) == 8
    assert typical(np.append(usual, -0.01)).tolist() == [*usual, -0.01]  # a small dissent counts
