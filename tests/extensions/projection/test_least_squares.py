"""Non-negative least squares against trying every set of free coefficients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from harness.extensions.projection.least_squares import nonnegative


def by_trying(matrix, target):
    """Return the least residual over all sets of columns whose own least squares has no negative coefficient."""
    best = float(np.linalg.norm(target))
    columns = range(matrix.shape[1])
    for chosen in itertools.chain.from_iterable(itertools.combinations(columns, k) for k in range(1, len(columns) + 1)):
        part = matrix[:, chosen]
        found = np.linalg.lstsq(part, target, rcond=None)[0]
        if (found >= 0).all():
            best = min(best, float(np.linalg.norm(part @ found - target)))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_no_set_of_columns_fits_better(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(12, 5)) * 10.0 ** rng.uniform(-9, 3, 5)
    target = rng.normal(size=12)
    found = nonnegative(matrix, target)
    assert (found >= 0).all()
    assert np.linalg.norm(matrix @ found - target) == pytest.approx(by_trying(matrix, target), rel=1e-9)


def test_coefficients_that_made_the_target_are_found():
    matrix = np.random.default_rng(1).uniform(size=(20, 4)) * [1, 1e-3, 1e6, 1]
    wanted = np.array([2.0, 0.0, 3e-6, 0.5])
    assert nonnegative(matrix, matrix @ wanted) == pytest.approx(wanted, abs=1e-9)


def test_a_target_that_only_negative_coefficients_would_match_gets_none():
    assert nonnegative(np.ones((3, 2)), -np.ones(3)).tolist() == [0, 0]
    assert nonnegative(np.zeros((3, 2)), np.ones(3)).tolist() == [0, 0]
