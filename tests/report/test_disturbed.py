"""Verdicts on disturbed machines, where the truth is known; ``benchmarks.verdict_power`` has more draws and cases."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.verdict_power import CASES, RACING, beside_the_best, leaving_rates, lost, shares, together

DRAWS = 300


@pytest.mark.parametrize("arm", [0, 1, 2], ids=["baseline", "A/A", "contender"])
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("true", [1.5, 1 / 1.5])
def test_one_round_of_a_4x_disturbance_does_not_hide_half_as_much_again(true, noise, arm):
    right = "slower" if true > 1 else "faster"
    assert shares(true, noise, disturbed=1, arm=arm, draws=DRAWS)[right] >= 0.95


@pytest.mark.parametrize("how", [{}, {"disturbed": 1}, {"disturbed": 2}, {"burst": 4.0}, {"drift": 0.15}])
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_equal_arms_are_called_different_in_at_most_one_of_a_hundred(how, noise):
    found = shares(1.0, noise, draws=4 * DRAWS, floor=False, **how)
    assert found["faster"] + found["slower"] <= 0.01


@pytest.mark.parametrize(
    ("true", "word", "least"), [(1.0, "equivalent", 0.99), (1.05, "slower", 0.99), (1.1, "slower", 0.99)]
)
def test_on_a_quiet_machine_words_are_right(true, word, least):
    assert shares(true, 0.01, draws=DRAWS)[word] >= least


def test_a_true_two_percent_is_slower_or_equivalent_and_both_are_true():
    found = shares(1.02, 0.01, draws=DRAWS)
    assert found["slower"] >= 0.7 and found["slower"] + found["equivalent"] == 1


def test_of_120_words_of_a_quiet_run_nearly_all_are_right():
    """30 cells each of a true 0, 2, 5 and 10 %; 2 % is also within the 5 % of a tie."""
    right = {1.0: ("equivalent",), 1.02: ("slower", "equivalent"), 1.05: ("slower",), 1.1: ("slower",)}
    trues = [true for true in right for _ in range(30)]
    runs = [together(trues, 0.01, seed=seed) for seed in range(10)]
    wrong = [sum(word not in right[true] for true, word in zip(trues, run, strict=True)) for run in runs]
    assert sum(wrong) <= 0.005 * len(trues) * len(runs)


def test_a_disturbed_run_of_200_comparisons_finds_what_differs_and_little_else():
    trues = [1.5] * 40 + [1.0] * 160
    runs = [together(trues, 0.03, seed=seed, disturbed=1) for seed in range(5)]
    assert sum(found[:40].count("slower") for found in runs) >= 0.95 * 40 * len(runs)
    assert sum(word in ("faster", "slower") for found in runs for word in found[40:]) <= 0.01 * 160 * len(runs)


def test_a_burst_over_whole_rounds_costs_nothing():
    for true, word in ((1.0, "equivalent"), (1.1, "slower")):
        assert shares(true, 0.01, burst=4.0, draws=DRAWS)[word] >= 0.99


@pytest.mark.parametrize("name", CASES)
def test_a_contender_as_fast_as_the_baseline_hardly_ever_leaves(name):
    assert leaving_rates(1.0, 20_000, **CASES[name])[0] <= 0.001


def test_contenders_that_are_many_times_slower_leave_early():
    for true, saved in ((3.0, 0.5), (10.0, 0.7), (50.0, 0.7)):
        assert leaving_rates(true, 500, **CASES["noise 3 %"]) == pytest.approx((1.0, saved))
    assert leaving_rates(50.0, 500, **CASES["one 4x"])[1] > 0.65


@pytest.mark.parametrize("disturbed", [0, 1])
@pytest.mark.parametrize(("noise", "of_two", "of_five"), [(0.02, 0.03, 0.001), (0.09, 0.25, 0.07), (0.16, 0.35, 0.14)])
def test_a_race_chooses_what_is_truly_slower_no_more_often_than_is_said(noise, of_two, of_five, disturbed):
    slower = lost(RACING["0, 2, 5, 10 and 50 %"], noise, draws=4 * DRAWS, disturbed=disturbed)
    assert np.mean(slower > 0.02) <= of_two and np.mean(slower > 0.05) <= of_five
    assert np.median(slower) <= 0.02 and np.mean(slower > 0.1) <= 0.001


def test_half_as_much_again_is_hardly_ever_chosen_in_a_disturbed_race():
    assert np.mean(lost(RACING["0, 50, 50 and 50 %"], 0.09, draws=4 * DRAWS, disturbed=1) > 0) <= 0.002


def test_ten_times_as_much_is_never_chosen():
    assert not lost((1.0, 10.0), 0.16, draws=DRAWS, disturbed=1).any()


def test_equal_formats_of_a_criterion_are_hardly_ever_called_behind_its_best():
    wrong, _ = beside_the_best((1.0,) * 4, 0.03, cells=8, draws=60)
    assert wrong <= 0.08  # about 2 % in 400 draws
    wrong, found = beside_the_best((1.0, 1.0, 1.05, 1.05), 0.03, cells=20, draws=20, disturbed=1)
    assert wrong <= 0.1 and found > 0.95
