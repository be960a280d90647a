"""Intervals and tests over rounds: medians with smoothed bootstrap intervals, signed ranks, false discoveries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

CONFIDENCE = 0.95
FALSE_DISCOVERY_RATE = 0.05

_GRID = 20_001  # points at which the distribution of a median's place is tabulated: exact to 1e-5 of a place


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval, in the unit of what was estimated."""

    median: float
    low: float
    high: float


def median_interval(values: np.ndarray) -> Interval:
    """Estimate a median with a percentile interval of the smoothed bootstrap over rounds.

    Resampling n rounds themselves gives a median hardly more values than there are rounds, and its interval then covers
    too rarely or too often as n changes, by an error that falls only with the root of n (Falk & Kaufmann 1991). Here
    rounds are drawn from the empirical quantile function made continuous by straight lines between the ordered values,
    the i-th at i / (n + 1) (Silverman & Young 1987 on smoothing a bootstrap). The median of n such draws is that
    function at the median of n uniform numbers, whose distribution is Beta((n + 1) / 2, (n + 1) / 2) (Stigler 1977), so
    that the limit of infinitely many resamples is had without drawing one; for an even n, whose median is the mean of
    two draws, that is the fractional order statistic between them, which moves an end by a few percent of the width.
    The interval is that of fractional order statistics (Hutson 1999), whose coverage hardly depends on n or on the
    distribution.

    Parameters
    ----------
    values : ndarray, shape (rounds,)
        One value per round, at least one.

    Returns
    -------
    Interval
        At `CONFIDENCE`; of zero width for a single value, which has no spread to show. Below six rounds the ends are
        the smallest and the largest value, which cover less than they say.
    """
    ordered = np.sort(values)
    low, high = interval_ends(ordered)
    return Interval(float(middle(ordered)), float(low), float(high))


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
    count = ordered.shape[-1]
    place = _place(count)
    below, part = int(place), place - int(place)
    above = min(below + 1, count - 1)
    low = (1 - part) * ordered[..., below] + part * ordered[..., above]
    high = (1 - part) * ordered[..., count - 1 - below] + part * ordered[..., count - 1 - above]
    return low, high


def middle(ordered: np.ndarray) -> np.ndarray:
    """Return medians of what is sorted already, which `numpy.median` would sort again.

    Parameters
    ----------
    ordered : ndarray, shape (..., rounds)
        Sorted along the last axis.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the values.
    """
    count = ordered.shape[-1]
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2


@cache
def _place(count: int) -> float:
    """Say between which ordered values, counted from 0, the lower end lies; the upper one lies as far from the top."""
    share = np.linspace(0, 1, _GRID)
    density = (4 * share * (1 - share)) ** ((count - 1) / 2)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    quantile = np.interp((1 - CONFIDENCE) / 2, cumulated / cumulated[-1], share)
    return float(np.clip(quantile * (count + 1) - 1, 0, (count - 1) / 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A time against the baseline's, paired by round.

    Attributes
    ----------
    ratio : Interval
        Of times; below 1 is faster than the baseline.
    log_ratios : ndarray, shape (rounds,)
        Natural logarithm of the ratio in each round.
    """

    ratio: Interval
    log_ratios: np.ndarray


def compare(times: np.ndarray, baseline: np.ndarray) -> Comparison:
    """Compare times with a baseline measured in the same rounds.

    Parameters
    ----------
    times, baseline : ndarray, shape (rounds,)
        Seconds, in the order of rounds.

    Returns
    -------
    Comparison
        The median of per-round ratios and its interval.
    """
    logs = np.log(times) - np.log(baseline)
    interval = median_interval(logs)
    return Comparison(
        ratio=Interval(*(float(np.exp(x)) for x in (interval.median, interval.low, interval.high))), log_ratios=logs
    )


def signed_rank_p(log_ratios: np.ndarray) -> float:
    """Return how often chance alone would make two equal arms differ as consistently as these.

    The permutation test that flips the sign of each round's difference (Fisher 1935), on ranks instead of values
    (Wilcoxon 1945), so that one disturbed round cannot hide a difference that all others show. Exact: every sign
    pattern is counted, tied rounds share their ranks, and rounds without any difference are left out.

    Parameters
    ----------
    log_ratios : ndarray, shape (rounds,)
        Natural logarithms of per-round ratios.

    Returns
    -------
    float
        Two-sided p, at least 2 / 2**rounds.
    """
    values = log_ratios[log_ratios != 0]
    if not len(values):
        return 1.0
    _, inverse, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[inverse]  # twice the rank, shared by those that tie
    positive = int(doubled[values > 0].sum())
    smaller = min(positive, int(doubled.sum()) - positive)
    return float(min(1.0, 2 * _rank_sums(tuple(np.sort(doubled).tolist()))[smaller]))


def consistent_rank_sum(count: int, significance: float) -> int:
    """Return the largest sum of the ranks of dissenting rounds at which `signed_rank_p` is within a significance.

    Parameters
    ----------
    count : int
        Rounds, no two of which tie.
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

    By adding one rank after the other, each equally likely in or out, which needs no list of the 2**rounds patterns.
    """
    share = np.zeros(sum(doubled) + 1)
    share[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(share)
        moved[rank:] = share[:-rank]
        share = (share + moved) / 2
    return np.cumsum(share)


def discoveries(p_values: Iterable[float]) -> np.ndarray:
    """Say which of many comparisons count at `FALSE_DISCOVERY_RATE` (Benjamini & Hochberg 1995).

    Parameters
    ----------
    p_values : iterable of float
        One per comparison.

    Returns
    -------
    ndarray of bool, shape (comparisons,)
        True where a difference may be reported.
    """
    p = np.array(list(p_values), float)
    count = len(p)
    order = np.argsort(p, kind="stable")
    passed = p[order] <= FALSE_DISCOVERY_RATE * np.arange(1, count + 1) / count
    kept = np.zeros(count, bool)
    if passed.any():
        kept[order[: int(np.flatnonzero(passed)[-1]) + 1]] = True
    return kept
