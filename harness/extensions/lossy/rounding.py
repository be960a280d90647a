"""Rounding within a bound: floats to fewer significand bits, rows of attention weights to grids of powers of two.

Grids preserve the sums of rows and the order of their largest weights.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

FINEST = 23
"""The finest grid is 2**-23: a float32 holds every multiple of it up to 2, so rows on a grid add up exactly."""

NO_GRID = 0
_TRIES = 4  # grids tried per row: a row with ties that defeat four grids defeats most others too
_BLOCK, _CACHED = 1 << 18, 1 << 16  # values per step, of rows and of significands, so that every pass stays in cache


def sum_tolerance(n: int, dtype: str) -> float:
    """Return the largest relative change allowed for the sum of a row: the error of a sum in the row's own precision.

    It is ``n`` times the unit roundoff (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition,
    equation 4.4): ``2**-11`` for float16, else ``2**-24``, because weights in float64 were computed in float32.

    Parameters
    ----------
    n : int
        Length of the row.
    dtype : str
        Of the tensor.
    """
    return n * (2.0**-11 if dtype == "float16" else 2.0**-24)


def _weights_only(values: np.ndarray) -> np.ndarray:
    """Return for each row whether all values are from 0 to 1; False with a negative zero, which would lose its sign."""
    unsigned = f"u{values.dtype.itemsize}"
    one = np.ones(1, values.dtype).view(unsigned)[0]
    # As unsigned integers, the bits of negative values, infinities and NaNs are larger than those of 1.
    return np.asarray((values.view(unsigned) <= one).all(axis=-1))


def put_on_grids(values: np.ndarray, bound: float, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Round each row to the coarsest grid that fulfils all conditions for attention.

    The grid has the multiples of ``2**-e``. Each weight goes down or up to a neighbour on it. Those with the largest
    remainders go up, as many as give the multiple nearest to the row's sum (the method of Hamilton). The direction
    depends on a weight's value alone, so equal weights stay equal and none overtakes another. A grid fulfils the
    conditions if no weight moves by more than the bound, the sum moves by no more than `sum_tolerance`, and the `top_k`
    largest weights differ from each other and from the next one exactly where they did before.

    Parameters
    ----------
    values : ndarray of float16, float32 or float64
        Shape ``(..., n)``; rows are along the last axis.
    bound : float
        Largest ``|x' - x|``.
    top_k : int
        At least 1.

    Returns
    -------
    values : ndarray
        A new array of the same shape and dtype.
    exponents : ndarray of int8
        Exponent `e` of the grid of each row, of shape ``values.shape[:-1]``. `NO_GRID` for rows that are unchanged bit
        for bit: rows with a value outside of 0 to 1, and rows for which no tried grid fulfils the conditions.
    """
    out = values.copy()
    exponents = np.full(values.shape[:-1], NO_GRID, np.int8)
    if not values.size:
        return out, exponents
    n = values.shape[-1]
    flat, found = out.reshape(-1, n), exponents.reshape(-1)
    step = max(1, _BLOCK // n)
    for start in range(0, len(flat), step):
        part = flat[start : start + step]
        rows = np.flatnonzero(_weights_only(part))
        if rows.size:
            part[rows], found[start + rows] = _search(part[rows], bound, top_k)
    return out, exponents


def _search(given: np.ndarray, bound: float, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Try grids from coarse to fine, each on the rows without a grid; return the rows and their exponents."""
    values: np.ndarray = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
    n = values.shape[1]
    largest = min(top_k + 1, n)
    top = np.sort(np.partition(values, n - largest, axis=1)[:, n - largest :], axis=1)
    sums: np.ndarray = values.sum(axis=1, dtype=np.float64)
    out, exponents = given.copy(), np.full(len(given), NO_GRID, np.int8)
    ready, tries = _earliest(top), np.zeros(len(given), np.int8)
    tolerance = sum_tolerance(n, given.dtype.name)
    for exponent in range(max(1, math.ceil(-math.log2(2 * bound))), FINEST + 1):
        scaled = sums * 2.0**exponent
        possible = (exponents == NO_GRID) & (ready <= exponent) & (tries < _TRIES)
        tried = np.flatnonzero(possible & (np.abs(np.rint(scaled) - scaled) <= tolerance * scaled))
        if not tried.size:
            continue
        tries[tried] += 1
        made, fits = _on_grid(values[tried], top[tried], sums[tried], exponent, bound)
        out[tried[fits]], exponents[tried[fits]] = made[fits], exponent  # exact: see `_on_grid`
    return out, exponents


def _earliest(top: np.ndarray) -> np.ndarray:
    """Return the exponent of the first grid to try: its step is at most twice the smallest gap of the top weights."""
    gaps = np.diff(top, axis=1)
    smallest = np.where(gaps > 0, gaps, 1).min(axis=1, initial=1)
    return np.ceil(-np.log2(smallest)) - 1


def _on_grid(
    values: np.ndarray, largest: np.ndarray, sums: np.ndarray, exponent: int, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Round rows to one grid; return them, and which of them fulfil the conditions except that on sums.

    ``largest`` has the ``top_k + 1`` largest weights of each row, ascending.

    If the grid is finer than the spacing of floats around a weight, the weight is on the grid and stays. Otherwise both
    of its neighbours on the grid are floats of its own dtype, including float16.
    """
    scale = values.dtype.type(2.0**exponent)
    rest = values * scale  # exact: only the exponent changes; the remainder is exact too, as it only clears bits
    floor = np.floor(rest)
    rest -= floor
    ordered = np.sort(rest, axis=1)
    number, n = np.arange(len(rest)), rest.shape[1]
    up = (np.rint(sums * 2.0**exponent) - floor.sum(axis=1, dtype=np.float64)).astype(np.intp)
    lowest_up = np.where(up > 0, ordered[number, np.minimum(n - up, n - 1)], scale.dtype.type(2))
    highest_down = np.where(up < n, ordered[number, n - up - 1], scale.dtype.type(0))
    fits = highest_down < lowest_up  # otherwise equal remainders would go in different directions
    moved = np.maximum(highest_down, np.where(up > 0, 1 - lowest_up.astype(np.float64), 0))
    fits &= moved <= bound * 2.0**exponent
    top = largest * scale
    whole = np.floor(top)
    whole += top - whole >= lowest_up[:, None]
    fits &= ((np.diff(whole, axis=1) > 0) == (np.diff(largest, axis=1) > 0)).all(axis=1)
    floor += rest >= lowest_up[:, None]
    floor /= scale
    return floor, fits


def significand_bits(bound: float, dtype: str) -> int:
    """Return the fewest explicit significand bits that keep every normal value within a relative bound.

    Rounding to nearest with p bits, including the implicit one, has a relative error of at most ``u / (1 + u)``, with
    ``u = 2**-p`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 2.2, where it is
    attained half way above a power of two).

    Parameters
    ----------
    bound : float
        Largest ``|x' - x| / |x|``.
    dtype : str
        A numpy float type.

    Returns
    -------
    int
        At most the number that the dtype has. A float32 rounded to 7 or fewer bits is exactly a bfloat16.
    """
    most = int(np.finfo(dtype).nmant)
    units = ((bits, Fraction(1, 2 ** (bits + 1))) for bits in range(most))
    return next((bits for bits, unit in units if unit / (1 + unit) <= Fraction(bound)), most)


def round_significands(values: np.ndarray, bits: int) -> np.ndarray:
    """Round to nearest, ties to even, with `bits` explicit significand bits.

    Parameters
    ----------
    values : ndarray of float16, float32 or float64
        Any shape, in C order.
    bits : int
        From `significand_bits`.

    Returns
    -------
    ndarray
        A new array. Zeros, subnormals, infinities, NaNs and values that would round to infinity are unchanged bit for
        bit.
    """
    width = values.dtype.itemsize * 8
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    drop = int(np.finfo(values.dtype).nmant) - bits
    out = values.copy()
    if drop <= 0:
        return out
    ones = (1 << width) - 1
    exponent = unsigned.type((ones >> 1) & ~((1 << (drop + bits)) - 1))
    stay, half = unsigned.type(ones & ~((1 << drop) - 1)), unsigned.type((1 << (drop - 1)) - 1)
    flat = out.reshape(-1).view(unsigned)
    for start in range(0, flat.size, _CACHED):
        given = flat[start : start + _CACHED]
        rounded = given >> unsigned.type(drop)
        rounded &= unsigned.type(1)
        rounded += given
        rounded += half
        rounded &= stay
        before, after = given & exponent, rounded & exponent
        np.copyto(given, rounded, where=(before != 0) & (before != exponent) & (after != exponent))
    return out
