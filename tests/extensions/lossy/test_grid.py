"""Rows of attention on grids: bound, sum, order and whatever is no weight, checked value by value."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.extensions.lossy.rounding import FINEST, NO_GRID, put_on_grids, sum_tolerance
from tests.formats.samples import assert_same

NO_WEIGHTS = [-0.0, -1e-3, np.nan, np.inf, -np.inf, 1 + 2.0**-23]


def softmax(rng: np.random.Generator, shape: tuple[int, ...], sharpness: float = 2.0) -> np.ndarray:
    scores = np.exp(rng.normal(size=shape) * sharpness)
    return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)


def top(row: np.ndarray, k: int) -> list[int]:
    return np.argsort(-row, kind="stable")[:k].tolist()


@st.composite
def rows(draw: st.DrawFn) -> np.ndarray:
    """Draw a few rows: softmax, or masked, with ties, of any sum, or of every float from 0 to 1."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    values = softmax(rng, (3, draw(st.integers(1, 24))), draw(st.sampled_from([0.0, 0.1, 1.0, 4.0])))
    kind = draw(st.sampled_from(["softmax", "masked", "ties", "any sum", "any float"]))
    if kind == "masked":
        values[:, rng.random(values.shape[1]) < 0.5] = 0
    elif kind == "ties":
        values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    elif kind == "any sum":
        values *= np.float32(rng.random())
    elif kind == "any float":
        values = rng.integers(0, 0x3F800001, values.shape).astype(np.uint32).view(np.float32)
    return values.astype(draw(st.sampled_from(["float16", "float32", "float64"])))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(values=rows(), power=st.floats(-8, -0.1), top_k=st.integers(1, 30))
def test_a_row_keeps_what_attention_has_to_keep(values: np.ndarray, power: float, top_k: int) -> None:
    bound = 10.0**power
    rounded, exponents = put_on_grids(values, bound, top_k)
    assert (rounded.dtype, rounded.shape, exponents.shape) == (values.dtype, values.shape, values.shape[:-1])
    tolerance = Fraction(sum_tolerance(values.shape[-1], values.dtype.name)) * (1 + Fraction(1, 10**9))
    for before, after, exponent in zip(values, rounded, exponents, strict=True):
        if exponent == NO_GRID:
            assert_same(after, before)
            continue
        old, new = [Fraction(float(x)) for x in before], [Fraction(float(x)) for x in after]
        assert all((x * 2 ** int(exponent)).denominator == 1 for x in new) and exponent <= FINEST
        assert all(abs(b - a) <= Fraction(bound) * (1 + Fraction(1, 10**12)) for a, b in zip(old, new, strict=True))
        assert abs(sum(new) - sum(old)) <= tolerance * sum(old)
        assert all((a < b) <= (c <= d) and (a == b) <= (c == d) for (a, c), (b, d) in pairs(old, new))
        assert all((a > b) <= (c >= d) for (a, c), (b, d) in pairs(old, new))
        best = top(before, top_k + 1)
        assert top(after, top_k) == best[:top_k]
        assert all((old[i] > old[j]) == (new[i] > new[j]) for i, j in pairwise(best))


def pairs(old: list[Fraction], new: list[Fraction]) -> combinations[tuple[tuple[Fraction, Fraction], ...]]:
    return combinations(zip(old, new, strict=True), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_most_rows_of_a_softmax_are_put_on_a_grid_and_add_up_exactly(dtype: str) -> None:
    values = softmax(np.random.default_rng(0), (4, 500, 64)).astype(dtype)
    rounded, exponents = put_on_grids(values, 1e-3, 10)
    assert np.mean(exponents == NO_GRID) < 0.01
    assert np.mean(exponents < 16) > 0.8
    assert (rounded != values).mean() > 0.9
    on_grid = rounded[exponents != NO_GRID].astype(np.float32)
    forwards, backwards = np.cumsum(on_grid, axis=-1)[:, -1], np.cumsum(on_grid[:, ::-1], axis=-1)[:, -1]
    assert (forwards == 1).all() and (backwards == 1).all()  # no order of adding makes a float32 sum err


def test_the_coarsest_grid_that_will_do_is_taken() -> None:
    values = np.array([[0.5, 0.3, 0.15, 0.05]], np.float32)
    # Errors up to half a step are possible: the first grid that is tried has steps of twice the bound.
    assert [put_on_grids(values, bound, 3)[1][0] for bound in (0.1, 0.04, 1e-2, 1e-3)] == [3, 4, 6, 10]
    rounded, exponents = put_on_grids(values, 0.1, 3)
    assert exponents.tolist() == [3]
    assert rounded.tolist() == [[0.5, 0.375, 0.125, 0.0]]


def test_the_order_that_has_to_be_kept_makes_the_grid_finer() -> None:
    values = np.array([[0.5, 0.2505, 0.2495]], np.float32)
    assert put_on_grids(values, 1e-2, 1)[1].tolist() == [6]
    exponents = put_on_grids(values, 1e-2, 2)[1]
    assert exponents[0] >= 9


def test_rows_that_no_grid_will_do_for_stay() -> None:
    thirds = np.full((1, 3), 1 / 3, np.float32)  # equal weights cannot part, and three equal multiples do not make 1
    rounded, exponents = put_on_grids(thirds, 1e-2, 1)
    assert exponents.tolist() == [NO_GRID]
    assert_same(rounded, thirds)
    quarters = np.full((1, 4), 0.25, np.float32)
    assert put_on_grids(quarters, 1e-2, 1)[1].tolist() == [6]


@pytest.mark.parametrize("stranger", NO_WEIGHTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_row_with_a_value_that_is_no_weight_is_kept_bit_for_bit(stranger: float, dtype: str) -> None:
    values = softmax(np.random.default_rng(1), (6, 40)).astype(dtype)
    values[2, 17] = stranger if stranger <= 1 or not np.isfinite(stranger) else np.nextafter(values.dtype.type(1), 2)
    rounded, exponents = put_on_grids(values, 1e-2, 3)
    assert exponents[2] == NO_GRID
    assert_same(rounded[2], values[2])
    if dtype != "float16":
        assert (np.delete(exponents, 2) != NO_GRID).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (2, 0, 3), (2, 3, 0)])
def test_nothing_stays_nothing(shape: tuple[int, ...]) -> None:
    rounded, exponents = put_on_grids(np.zeros(shape, np.float32), 1e-3, 10)
    assert rounded.shape == shape
    assert exponents.shape == shape[:-1]


def test_the_source_is_not_written_to() -> None:
    values = softmax(np.random.default_rng(2), (5, 30))
    before = values.copy()
    values.setflags(write=False)
    put_on_grids(values, 1e-2, 5)
    assert_same(values, before)
