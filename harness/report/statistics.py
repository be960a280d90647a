"""Intervals and comparisons: medians with bootstrap intervals, paired by round, in four words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from harness.measure.config import VERDICT_ROUNDS

CONFIDENCE = 0.95
EQUIVALENT_WITHIN = 0.05
"""Two times are equivalent when the whole interval of their ratio lies within this part of 1."""

FALSE_DISCOVERY_RATE = 0.05

_RESAMPLES = 2000
_EXACT_UP_TO = 12  # rounds up to which every sign pattern is enumerated: 2**12 of them
_RANDOM_PATTERNS = 4096

Verdict = Literal["faster", "slower", "equivalent", "inconclusive"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval, in the unit of what was estimated."""

    median: float
    low: float
    high: float


def median_interval(values: np.ndarray, seed: int = 0) -> Interval:
    """Estimate a median with a percentile bootstrap interval over rounds (Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    values : ndarray
        One value per round, at least one.
    seed : int
        Of the resampling, so that the same samples give the same interval.

    Returns
    -------
    Interval
        At `CONFIDENCE`; of zero width for a single value, which has no spread to show.
    """
    picks = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    medians = np.median(values[picks], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Interval(float(np.median(values)), float(low), float(high))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A time against the baseline's, paired by round.

    Attributes
    ----------
    ratio : Interval
        Of times; below 1 is faster than the baseline.
    log_ratios : ndarray
        Natural logarithm of the ratio in each round.
    """

    ratio: Interval
    log_ratios: np.ndarray


def compare(times: np.ndarray, baseline: np.ndarray) -> Comparison:
    """Compare times with a baseline measured in the same rounds.

    Parameters
    ----------
    times, baseline : ndarray
        Seconds, in the order of rounds, of equal length.

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


def noise_floor(twin: Comparison | None) -> float:
    """Return the difference, as a logarithm of a ratio, that two equal arms of this cell show.

    Parameters
    ----------
    twin : Comparison or None
        The A/A arm against the arm whose twin it is; None when the cell has none.

    Returns
    -------
    float
        The end of the interval that is further from equality; 0 without a twin.
    """
    return 0.0 if twin is None else float(max(abs(np.log(twin.ratio.low)), abs(np.log(twin.ratio.high))))


def sign_flip_p(log_ratios: np.ndarray, floor: float) -> float:
    """Return how often chance alone would show a mean difference as large, beyond the noise floor.

    Parameters
    ----------
    log_ratios : ndarray
        One per round.
    floor : float
        From `noise_floor`.

    Returns
    -------
    float
        Two-sided p of the sign-flip permutation test (Fisher 1935): exact up to 12 rounds, else by random patterns.
    """
    beyond = np.sign(np.median(log_ratios)) * log_ratios - floor
    count = len(beyond)
    if count <= _EXACT_UP_TO:
        patterns = np.array(list(product((-1.0, 1.0), repeat=count)))
    else:
        patterns = np.random.default_rng(0).choice([-1.0, 1.0], size=(_RANDOM_PATTERNS, count))
        patterns[0] = 1.0  # what was seen is one of the patterns: p is never zero
    means = (patterns * np.abs(beyond)).mean(axis=1)
    return float(min(1.0, 2 * np.mean(means >= beyond.mean() - 1e-12)))


def discoveries(p_values: np.ndarray) -> np.ndarray:
    """Say which of many comparisons count at `FALSE_DISCOVERY_RATE` (Benjamini & Hochberg 1995).

    Parameters
    ----------
    p_values : ndarray
        One per comparison.

    Returns
    -------
    ndarray of bool
        True where a difference may be reported.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= FALSE_DISCOVERY_RATE * np.arange(1, count + 1) / count
    kept = np.zeros(count, bool)
    if passed.any():
        kept[order[: int(np.flatnonzero(passed)[-1]) + 1]] = True
    return kept


def word(comparison: Comparison, floor: float, discovered: bool) -> Verdict:
    """Put a comparison into one of four words.

    Parameters
    ----------
    comparison : Comparison
        Against the baseline.
    floor : float
        From `noise_floor`.
    discovered : bool
        From `discoveries`.

    Returns
    -------
    {"faster", "slower", "equivalent", "inconclusive"}
        ``faster`` and ``slower`` when the whole interval lies beyond the floor, ``equivalent`` when it lies within
        `EQUIVALENT_WITHIN`, else, and always below `VERDICT_ROUNDS` rounds, ``inconclusive``.
    """
    low, high = np.log(comparison.ratio.low), np.log(comparison.ratio.high)
    if len(comparison.log_ratios) < VERDICT_ROUNDS:
        return "inconclusive"
    if discovered and high < -floor:
        return "faster"
    if discovered and low > floor:
        return "slower"
    if np.log(1 - EQUIVALENT_WITHIN) <= low and high <= np.log(1 + EQUIVALENT_WITHIN):
        return "equivalent"
    return "inconclusive"
