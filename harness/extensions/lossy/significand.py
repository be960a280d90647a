"""Round floats to fewer bits of significand, within a bound relative to each value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

_BLOCK = 1 << 16  # values at a time, so that every pass works in cache


def significand_bits(bound: float, dtype: str) -> int:
    """Return the fewest explicit bits of significand that keep every normal value within a relative bound.

    Rounding to nearest with p bits, the implicit one included, errs by at most ``u / (1 + u)`` of the value, with
    ``u = 2**-p`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 2.2, where it is
    attained half way above a power of two).

    It is at most what the dtype has; with 7 or fewer a float32 is exactly a bfloat16.
    """
    most = int(np.finfo(dtype).nmant)
    units = ((bits, Fraction(1, 2 ** (bits + 1))) for bits in range(most))
    return next((bits for bits, unit in units if unit / (1 + unit) <= Fraction(bound)), most)


def round_significands(values: np.ndarray, bits: int) -> np.ndarray:
    """Round floats in C order to nearest, ties to even, with so many explicit bits of significand; in a new array.

    Zeros, subnormals, infinities and NaNs are as they were, bit for bit; so is a value that would round to infinity.
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
    for start in range(0, flat.size, _BLOCK):
        given = flat[start : start + _BLOCK]
        rounded = given >> unsigned.type(drop)
        rounded &= unsigned.type(1)
        rounded += given
        rounded += half
        rounded &= stay
        before, after = given & exponent, rounded & exponent
        np.copyto(given, rounded, where=(before != 0) & (before != exponent) & (after != exponent))
    return out
