"""Bootstrap over rounds, which all intervals use, and tests: exact signed ranks, false discovery rate.

If the n rounds themselves are resampled, the median takes hardly more than n values. The interval then covers too
rarely or too often, depending on n, by an error that falls only with the root of n (Falk & Kaufmann 1991). So rounds
are drawn from a continuous empirical quantile function: straight lines between the ordered values, the i-th at
i / (n + 1) (Silverman & Young 1987 on smoothing a bootstrap). `resample` draws them. `median_interval` is the limit of
infinitely many draws for a single median, and needs no draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
FALSE_DISCOVERY_RATE = 0.05
RESAMPLES = 2000

MAD_TO_DEVIATION = 1.4826
"""Factor from median absolute deviation to standard deviation, for a normal distribution (Rousseeuw & Croux 1993)."""

_DISTURBED = 3.0  # deviations; 2 finds a true 2 % less often; with 4, one round of 4x at 5 % noise hides 1.5x
_MOST_DISTURBED = 0.2  # share of the rounds: of 10, 8 are left, which can still agree at a significance of 1 %


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval, in the unit of the estimate."""

    median: float
    low: float
    high: float

    @classmethod
    def of_draws(cls, values: np.ndarray) -> Interval:
        """Return the first value as the estimate, with the interval of all others, which are of resampled rounds."""
        low, high = bounds(values[1:])
        return cls(float(values[0]), float(low), float(high))

    def columns(self, name: str, separator: str = "_") -> dict[str, float]:
        """Return the estimate and the ends of its interval as three columns of a table."""
        return {name: self.median, f"{name}{separator}low": self.low, f"{name}{separator}high": self.high}


def median_interval(values: np.ndarray) -> Interval:
    """Estimate a median with the percentile interval that infinitely many draws of `resample` would give.

    The median of n draws is the smoothed quantile function at the median of n uniform numbers, whose distribution is
    Beta((n + 1) / 2, (n + 1) / 2) (Stigler 1977). For an even n, the median is the mean of two draws. The fractional
    order statistic between them takes its place, which moves an end by a few percent of the width. The interval is that
    of fractional order statistics (Hutson 1999), whose coverage hardly depends on n or on the distribution.

    Parameters
    ----------
    values : ndarray, shape (rounds,)
        One value per round. A single value has an interval of zero width. Below six rounds the ends are the smallest
        and the largest value, which cover less than `CONFIDENCE`.
    """
    ordered = np.sort(values)
    low, high = interval_ends(ordered)
    return Interval(float(medians(ordered)), float(low), float(high))


def resample(values: np.ndarray, seed: int, count: int = RESAMPLES, *, smoothed: bool = True) -> np.ndarray:
    """Resample the rounds of several arms, with replacement and smoothed.

    Each draw picks the same rounds for all arms, so that a disturbed round disturbs all of them and cancels in a ratio.
    Within an arm, the draw takes the rank of the picked round among the ordered values and moves it by less than one,
    again by the same amount for all arms. So the draws of an arm are uniform over its smoothed quantile function, and
    arms depend on each other as their ranks do (the checkerboard copula, Genest & Neslehova 2007).

    Parameters
    ----------
    values : ndarray, shape (arms, rounds)
        NaN where an arm has no value.
    seed : int
        The same seed gives the same draws.
    count : int
        Number of draws.
    smoothed : bool
        False returns the measured values of the picked rounds, as in a repetition of the experiment.

    Returns
    -------
    ndarray, shape (count, arms, rounds)
        NaN where a draw picked a round that an arm lacks.
    """
    rng = np.random.default_rng(seed)
    arms, rounds = values.shape
    if not values.size:
        return np.full((count, arms, rounds), np.nan)
    picks = rng.integers(rounds, size=(count, rounds))
    if not smoothed:
        return values[:, picks].transpose(1, 0, 2)
    inside = rng.random((count, rounds))
    ordered = np.sort(values, axis=1)  # NaN last
    known = np.isfinite(values).sum(axis=1)[:, None, None]
    ranks = np.where(np.isfinite(values), np.argsort(np.argsort(values, axis=1), axis=1), np.nan)
    place = np.clip((ranks[:, picks] + inside) * (known + 1) / np.maximum(known, 1) - 1, 0, np.maximum(known - 1, 0))
    below = np.nan_to_num(place).astype(int)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    rows = np.arange(arms)[:, None, None]
    drawn = ordered[rows, below] + (place - below) * (ordered[rows, above] - ordered[rows, below])
    return drawn.transpose(1, 0, 2)


def resampled_medians(values: np.ndarray, seed: int) -> np.ndarray:
    """Return medians over the measured rounds, and over the rounds of each draw of `resample`.

    Parameters
    ----------
    values : ndarray, shape (arms, rounds)
        NaN where an arm has no value.
    seed : int
        For `resample`.

    Returns
    -------
    ndarray, shape (1 + RESAMPLES, arms)
        Row 0 is of the measured rounds.
    """
    ordered = np.sort(np.concatenate([values[None], resample(values, seed)]), axis=-1)  # NaN last
    known = np.maximum(np.isfinite(ordered).sum(axis=-1, keepdims=True), 1)
    two = [np.take_along_axis(ordered, index, axis=-1)[..., 0] for index in ((known - 1) // 2, known // 2)]
    found = (two[0] + two[1]) / 2
    # For an arm with few rounds, one draw in many thousands picks none of them.
    return np.where(np.isnan(found), found[0], found)


def bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the `CONFIDENCE` interval over the first axis, which holds the draws.

    Draws are not interpolated, so that an infinite one (a flip that never happens) stays infinite.
    """
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(values, tail, axis=0, method="lower")
    return low, np.quantile(values, 1 - tail, axis=0, method="higher")


def interval_ends(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of `median_interval` for many samples at once.

    Parameters
    ----------
    ordered : ndarray, shape (..., rounds)
        Sorted along the last axis.

    Returns
    -------
    low, high : ndarray, shape (...)
        In the unit of the values.
    """
    last = ordered.shape[-1] - 1
    place = _place(last + 1)
    below, part = int(place), place - int(place)
    above = min(below + 1, last)
    low = (1 - part) * ordered[..., below] + part * ordered[..., above]
    return low, (1 - part) * ordered[..., last - below] + part * ordered[..., last - above]


def medians(ordered: np.ndarray) -> np.ndarray:
    """Return the medians over the last axis of samples that are sorted along it, as `numpy.median` without sorting."""
    last = ordered.shape[-1] - 1
    return np.asarray((ordered[..., last // 2] + ordered[..., (last + 1) // 2]) / 2)


@cache
def _place(count: int) -> float:
    """Return the fractional index, from 0, of the lower end among ordered values; the upper is as far from the top."""
    from scipy.special import betaincinv  # the quantile of Beta; `scipy.stats.beta.ppf` takes a second to import

    quantile = float(betaincinv((count + 1) / 2, (count + 1) / 2, (1 - CONFIDENCE) / 2))
    return min(max(quantile * (count + 1) - 1, 0.0), (count - 1) / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A comparison of times with the baseline's, paired by round."""

    ratio: Interval  # Of times; below 1 is faster than the baseline.
    log_ratios: np.ndarray  # Shape (rounds,): natural logarithm of the ratio in each round.

    @classmethod
    def of(cls, log_ratios: np.ndarray) -> Comparison:
        """Return the comparison with these logarithms of ratios: their median and its interval."""
        interval = median_interval(log_ratios)
        ends = (float(np.exp(value)) for value in (interval.median, interval.low, interval.high))
        return cls(ratio=Interval(*ends), log_ratios=log_ratios)

    @property
    def rounds(self) -> int:
        """Number of rounds that count."""
        return len(self.log_ratios)


def compare(times: np.ndarray, baseline: np.ndarray) -> Comparison:
    """Compare times with a baseline's of the same rounds, in the same order: the median of ratios and its interval."""
    return Comparison.of(np.log(times) - np.log(baseline))


def signed_rank_p(log_ratios: np.ndarray) -> float:
    """Return how often chance alone would make two equal arms differ as consistently as these, two-sided.

    This permutation test flips the sign of each round's difference (Fisher 1935), on ranks instead of values
    (Wilcoxon 1945), so that one disturbed round cannot hide a difference that all others show. It is exact: every sign
    pattern is counted, tied rounds share their ranks, and rounds without any difference are left out.
    """
    values = log_ratios[log_ratios != 0]
    if not len(values):
        return 1.0
    _, inverse, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[inverse]  # twice the rank, which ties share
    positive = int(doubled[values > 0].sum())
    smaller = min(positive, int(doubled.sum()) - positive)
    return float(min(1.0, 2 * _rank_sums(tuple(np.sort(doubled).tolist()))[smaller]))


def typical(log_ratios: np.ndarray) -> np.ndarray:
    """Leave out the rounds whose difference is far larger than usual, in either direction.

    A round is disturbed if its difference, without its sign, is more than three deviations above the median of all. At
    most a fifth of the rounds are left out, the largest first. The selection depends on sizes alone. So the signs of
    the others are as random as before if nothing differs, and `signed_rank_p` of them stays exact. Without the
    selection, one round of a 4x disturbance has the largest rank of all, and hides a true 1.5x in 10 rounds.

    Parameters
    ----------
    log_ratios : ndarray, shape (rounds,)
        Natural logarithms of ratios.

    Returns
    -------
    ndarray
        Logarithms of typical size, in the original order.
    """
    sizes = np.abs(log_ratios)
    largest = np.argsort(-sizes, kind="stable")[: int(_MOST_DISTURBED * len(sizes))]
    return np.delete(log_ratios, largest[sizes[largest] > usual_size(log_ratios)])


def usual_size(log_ratios: np.ndarray) -> float:
    """Return the size of a difference above which `typical` treats a round as disturbed."""
    sizes = np.abs(log_ratios)
    middle = np.median(sizes)
    return float(middle + _DISTURBED * MAD_TO_DEVIATION * np.median(np.abs(sizes - middle)))


def consistent_rank_sum(count: int, significance: float) -> int:
    """Return the largest sum of the ranks of dissenting rounds at which `signed_rank_p` is at most a significance.

    Parameters
    ----------
    count : int
        Number of rounds, no two of which tie.
    significance : float
        Two-sided.

    Returns
    -------
    int
        -1 where so few rounds can never reach it.
    """
    sums = 2 * _rank_sums(tuple(range(2, 2 * count + 1, 2)))[::2]
    return int(np.searchsorted(sums, significance, side="right")) - 1


@cache
def _rank_sums(doubled: tuple[int, ...]) -> np.ndarray:
    """Return, for each possible sum, the share of all sign patterns whose positive (doubled) ranks sum to at most it.

    Ranks are added one after the other, each equally likely in or out, so the 2**rounds patterns are never listed.
    """
    share = np.zeros(sum(doubled) + 1)
    share[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(share)
        moved[rank:] = share[:-rank]
        share = (share + moved) / 2
    return np.cumsum(share)


def discoveries(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return which of many comparisons are discoveries at `FALSE_DISCOVERY_RATE` (Benjamini & Hochberg 1995)."""
    if not len(p_values):
        return np.zeros(0, bool)
    from scipy.stats import false_discovery_control  # takes a second to import

    return np.asarray(false_discovery_control(p_values) <= FALSE_DISCOVERY_RATE)
