"""Levels that change and stay are steps; outliers, drift and chance are not, whatever the number of cells."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.step_power import false_alarms
from harness.extensions.history.changepoint import LEAST_RUNS, SIDE, common, find_changes, scan, shared

LEAST = float(np.log(1.05))


def places(values):
    return [[change.place for change in found] for found in find_changes(values, [values], LEAST)]


def quiet(runs, rows=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.01, (rows, runs))


def test_a_level_that_changes_and_stays_is_found_where_it_changes():
    values = quiet(20, rows=3)
    values[1, 12:] += 0.2
    assert places(values) == [[], [12], []]


@pytest.mark.parametrize("outliers", [1, 2])
@pytest.mark.parametrize("place", [0, 9, 17])
def test_outliers_are_no_step(outliers, place):
    values = quiet(20)
    values[0, place : place + outliers] += 1.0
    assert places(values) == [[]]


def test_a_level_needs_five_runs():
    for after in (1, 2, 3, SIDE - 1):
        values = quiet(16 + after)
        values[0, 16:] += 0.5
        assert places(values) == [[]], after
    values = quiet(16 + SIDE)
    values[0, 16:] += 0.5
    assert places(values) == [[16]]


def test_fewer_runs_than_the_least_have_no_step():
    values = quiet(LEAST_RUNS - 1)
    values[0, SIDE:] += 0.5
    assert places(values) == [[]]
    values = quiet(LEAST_RUNS)
    values[0, LEAST_RUNS - SIDE :] += 0.5
    assert places(values) == [[LEAST_RUNS - SIDE]]


def test_a_level_that_came_and_went_again_is_two_steps():
    values = quiet(40)
    values[0, 15:22] += 0.2
    assert places(values) == [[15, 22]]


def test_a_change_below_the_least_is_none():
    values = np.tile([0.0, 0.002], 15)[None]
    values[0, 15:] += 0.04
    assert places(values) == [[]]


def test_runs_without_the_cell_are_left_out():
    values = quiet(30)
    values[0, 18:] += 0.2
    values[0, [3, 7, 18, 25]] = np.nan
    assert places(values) == [[19]]


def test_a_step_that_the_witness_does_not_show_is_none():
    values, witness = quiet(20), quiet(20, seed=1)
    values[0, 10:] += 0.2
    assert find_changes(values, [witness], LEAST) == [[]]
    assert [c.place for c in find_changes(values, [values, witness + 0.15 * (values > 0.1)], LEAST)[0]] == [10]


def test_equal_histories_give_equal_steps():
    values = quiet(25, rows=4)
    values[2, 14:] += 0.15
    assert find_changes(values, [], LEAST) == find_changes(values.copy(), [], LEAST) != [[]] * 4


def test_the_statistic_is_the_likelihood_ratio_of_laplacian_levels():
    values = quiet(10)
    values[0, 5:] += 0.3
    left, right, both = values[0, :5], values[0, 5:], values[0]
    two = sum(np.abs(x - np.median(x)).sum() for x in (left, right))
    one = np.abs(both - np.median(both)).sum()
    assert scan(values)[0, 5] == pytest.approx(8 * np.log(one / max(two, 0.01)))
    assert np.isneginf(scan(values)[0, [0, 4, 6]]).all()


def test_what_a_cell_shares_with_the_machine_is_found_beside_a_step():
    rng = np.random.default_rng(3)
    raw = rng.normal(0, 0.1, 30) + rng.normal(0, 0.005, (9, 30))
    machine = common(raw)
    for share in (0.0, 0.7, 1.3):
        row = share * machine + rng.normal(0, 0.002, 30)
        row[20:] += 0.3
        assert shared(row, machine) == pytest.approx(share, abs=0.1)
    assert shared(machine, np.zeros(30)) == 0


def test_histories_without_a_step_have_none():
    """Promised is one false alarm in 100 histories of 100 cells: two of 12 would happen once in 170 times."""
    assert false_alarms(12, 30) <= 1
