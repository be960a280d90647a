"""Rounding significands keeps the relative bound with the fewest bits, and every value that has none to lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.extensions.lossy.rounding import round_significands, significand_bits
from harness.testing.samples import random_bits, specials
from tests.formats.samples import assert_same

DTYPES = ("float16", "float32", "float64")


def all_kinds(seed: int, dtype: str) -> np.ndarray:
    """Draw every kind of value: any bit pattern, ordinary numbers, subnormals and what a float has of its own."""
    rng = np.random.default_rng(seed)
    small = (rng.integers(0, 50, 20) * np.finfo(dtype).smallest_subnormal).astype(dtype)
    return np.concatenate([random_bits(rng, (200,), dtype), rng.normal(size=99).astype(dtype), small, specials(dtype)])


def ordinary(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (np.abs(values) >= np.finfo(values.dtype).tiny)


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 99), dtype=st.sampled_from(DTYPES), power=st.floats(-12, -0.01))
def test_every_value_stays_within_the_bound(seed: int, dtype: str, power: float) -> None:
    bound = 10.0**power
    values = all_kinds(seed, dtype)
    rounded = round_significands(values, significand_bits(bound, dtype))
    assert_same(rounded[~ordinary(values)], values[~ordinary(values)])
    before, after = (v[ordinary(values)].astype(np.float64) for v in (values, rounded))
    assert np.isfinite(after).all()
    with np.errstate(over="ignore"):
        assert (np.abs(after - before) <= bound * np.abs(before)).all()


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 99), dtype=st.sampled_from(DTYPES), bits=st.integers(0, 52))
def test_values_go_to_the_nearest_and_halves_to_even(seed: int, dtype: str, bits: int) -> None:
    values = all_kinds(seed, dtype)
    rounded = round_significands(values, bits)
    here = ordinary(values)
    if bits >= np.finfo(dtype).nmant:
        assert_same(rounded, values)
        return
    fraction, exponent = np.frexp(values[here].astype(np.float64))
    with np.errstate(over="ignore"):
        nearest = np.ldexp(np.rint(np.ldexp(fraction, bits + 1)), exponent - bits - 1).astype(dtype)
    # With no explicit bit "even" is a matter of the exponent, for which rint has no eye.
    halves = np.abs(np.ldexp(np.abs(fraction), bits + 1) % 1) == 0.5
    told = ~halves if bits == 0 else np.full(halves.shape, True)
    expected = np.where(np.isinf(nearest), values[here], nearest)
    assert_same(rounded[here][told], expected[told])


@pytest.mark.parametrize("bound", [0.3, 1e-2, 2.0**-8, 1e-3, 1e-5])
def test_one_bit_less_would_break_the_bound(bound: float) -> None:
    bits = significand_bits(bound, "float32")
    worst = np.array([1 + 2.0**-bits], np.float32)
    assert abs(round_significands(worst, bits - 1)[0] - worst[0]) > bound * worst[0]


def test_the_bits_that_are_published() -> None:
    assert [significand_bits(bound, "float32") for bound in (0.5, 1e-2, 2.0**-8, 1e-3, 1e-9)] == [0, 6, 7, 9, 23]
    assert significand_bits(1e-9, "float16") == 10
    assert significand_bits(2.0**-8 / (1 + 2.0**-8), "float32") == 7


def test_seven_bits_are_bfloat16() -> None:
    values = np.random.default_rng(0).normal(size=999).astype(np.float32)
    assert not (round_significands(values, 7).view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_any_shape_goes_through(shape: tuple[int, ...]) -> None:
    values = np.full(shape, 1.1, np.float32)
    before = values.copy()
    rounded = round_significands(values, 3)
    assert rounded.shape == shape
    assert np.allclose(rounded, 1.125)
    assert_same(values, before)
