"""Random numbers that are the same bytes on every machine: keyed raw streams and IEEE-exact arithmetic only.

Elementwise ``+ - * /``, ``sqrt``, ``rint``, comparisons, integer operations and table look-ups are exactly defined by
IEEE 754 and so do not depend on the machine. ``exp``, ``log``, matrix products, float sums and numpy's own
distributions do (or may change between versions), and are not used.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

SEED_LIMIT = 1 << 64

_LN2 = 0.6931471805599453
_CHUNK = 1 << 15  # values generated together, so that the scratch stays in a core's cache

# Rational approximation of the normal quantile, accurate to 1e-16: algorithm AS 241 (PPND16), Wichura, M. J. (1988),
# Applied Statistics 37(3), 477-484. Numerator and denominator, highest power first.
# fmt: off
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)
# fmt: on


class Stream:
    """Independent random words for each name and index, in any order.

    The generator is Philox-4x64 (Salmon et al., SC'11), whose output is a function of a key and a counter: the key is
    the seed and the name, the counter starts at the index.

    Parameters
    ----------
    seed : int
        From 0 to ``SEED_LIMIT - 1``.
    name : str
        Purpose of the numbers, such as a tensor's path.
    """

    def __init__(self, seed: int, name: str) -> None:
        hashed = hashlib.blake2b(name.encode(), digest_size=8).digest()
        self._key = seed | int.from_bytes(hashed, "little") << 64

    def words(self, count: int, *index: int) -> np.ndarray:
        """Draw uniform 16-bit words.

        Parameters
        ----------
        count : int
            Number of words.
        *index : int
            Up to three numbers below 2**64 that select the draw; the same index gives the same words.

        Returns
        -------
        ndarray of uint16
            Shape ``(count,)``.
        """
        counter = sum(part << 64 * (place + 1) for place, part in enumerate(index))
        raw = np.random.Philox(key=self._key, counter=counter).random_raw(-(-count // 4))
        return raw.astype("<u8", copy=False).view("<u2")[:count]

    def normal(self, shape: tuple[int, ...], *index: int) -> np.ndarray:
        """Draw standard normal values with 65536 distinct levels, for terms that are summed or rounded afterwards.

        Parameters
        ----------
        shape : tuple of int
            Shape of the result.
        *index : int
            As for `words`.

        Returns
        -------
        ndarray of float32
            Never zero.
        """
        return look_up(levels(), self.words(int(np.prod(shape, dtype=np.int64)), *index)).reshape(shape)

    def fill_normal(self, out: np.ndarray, start: int = 0) -> None:
        """Write standard normal values with full float32 mantissas, the values ``start ...`` of one long sequence.

        Parameters
        ----------
        out : ndarray of float32
            One-dimensional; overwritten.
        start : int
            Position of ``out[0]`` in the sequence.
        """
        edge, step = _edges()
        done = 0
        while done < len(out):
            index, skip = divmod(start + done, _CHUNK)
            take = min(_CHUNK - skip, len(out) - done)
            words = self.words(2 * _CHUNK, index)
            bins, within = words[skip : skip + take], words[_CHUNK + skip : _CHUNK + skip + take]
            part = within.astype(np.float32)
            part += np.float32(0.5)
            part *= np.float32(2.0**-16)
            part *= look_up(step, bins)
            np.add(part, look_up(edge, bins), out=out[done : done + take])
            done += take


def look_up(table: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return ``table[words]`` for a table of 65536 entries and words of uint16."""
    # 'wrap' skips the bounds check, which no 16-bit index needs; it is twice as fast as indexing.
    return np.take(table, words, mode="wrap")


@cache
def levels() -> np.ndarray:
    """Return the 65536 mid-point quantiles of the standard normal distribution, ascending, float32."""
    return _frozen(quantile((np.arange(65536) + 0.5) / 65536).astype(np.float32))


@cache
def _edges() -> tuple[np.ndarray, np.ndarray]:
    """Return the lower edge of each of 65536 equally likely bins, and the widths; the outermost bins end at 4.8."""
    probability = np.arange(65537) / 65536
    probability[0], probability[-1] = 2.0**-20, 1 - 2.0**-20
    edge = quantile(probability)
    return _frozen(edge[:-1].astype(np.float32)), _frozen((edge[1:] - edge[:-1]).astype(np.float32))


def _frozen(table: np.ndarray) -> np.ndarray:
    table.flags.writeable = False
    return table


def quantile(probability: np.ndarray) -> np.ndarray:
    """Return standard normal quantiles (AS 241) of float64 from 1e-10 to 1 - 1e-10, accurate to about 1e-15."""
    centred = probability - 0.5
    square = 0.180625 - centred * centred
    centre = centred * _polynomial(_CENTRE[0], square) / _polynomial(_CENTRE[1], square)
    outer = np.sqrt(-log(np.minimum(probability, 1 - probability))) - 1.6
    tail = _polynomial(_TAIL[0], outer) / _polynomial(_TAIL[1], outer)
    return np.where(np.abs(centred) <= 0.425, centre, np.where(centred < 0, -tail, tail))


def log(x: np.ndarray) -> np.ndarray:
    """Return the natural logarithm, from the series of the inverse hyperbolic tangent, accurate to about 1e-16."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, 2 * mantissa, mantissa)
    ratio = (mantissa - 1) / (mantissa + 1)
    series = _polynomial([1 / (2 * k + 1) for k in range(12, -1, -1)], ratio * ratio)
    return (exponent - low) * _LN2 + 2 * ratio * series


def exp(x: np.ndarray) -> np.ndarray:
    """Return the exponential of float32 from -80 to 80, by range reduction and a Taylor polynomial."""
    power = np.rint(x * np.float32(1 / _LN2))
    rest = x - power * np.float32(_LN2)
    value = _polynomial([1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0], rest)
    scale = (power.astype(np.int32) + 127) << 23  # two to that power, built from its bits
    value *= scale.view(np.float32)
    return value


def interpolate(at: np.ndarray, knots: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    """Interpolate linearly, constant outside the knots; unlike ``np.interp`` free of compiler-made fused operations.

    Parameters
    ----------
    at : ndarray of float64
        Points at which to interpolate.
    knots, values : tuple of float
        Points and values of the function, knots ascending.

    Returns
    -------
    ndarray of float64
        One value for each of `at`.
    """
    x, y = np.array(knots), np.array(values)
    left = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    part = np.clip((at - x[left]) / (x[left + 1] - x[left]), 0.0, 1.0)
    return y[left] + part * (y[left + 1] - y[left])


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """Return the bits of float32 values that bfloat16 holds exactly, as uint16: their upper halves."""
    return (np.ascontiguousarray(values, "<f4").view("<u4") >> np.uint32(16)).astype("<u2")


def round_to_bf16(values: np.ndarray) -> None:
    """Round float32 values in place to the nearest bfloat16 (ties away from zero), avoiding exact zeros.

    Real pair tensors hold no exact zero, and a sum may cancel to one: such a value becomes 2**-25, which is below
    what the calibrated distributions otherwise reach once in a trace.
    """
    bits = values.view(np.uint32)
    np.add(bits, np.uint32(0x8000), out=bits)
    np.bitwise_and(bits, np.uint32(0xFFFF0000), out=bits)
    np.maximum(bits, np.uint32(0x33000000), out=bits)  # negative values have the top bit and are left alone


def _polynomial(coefficients: tuple[float, ...] | list[float], x: np.ndarray) -> np.ndarray:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += coefficient
    return total
