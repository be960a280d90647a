"""Verdicts on comparisons: the noise floor of the A/A control, the rule for a difference, and what it can detect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from harness.analysis.statistics import (
    CONFIDENCE,
    Comparison,
    consistent_rank_sum,
    discoveries,
    interval_ends,
    medians,
    resample,
    signed_rank_p,
    typical,
    usual_size,
)
from harness.records import VERDICT_ROUNDS as VERDICT_ROUNDS

EQUIVALENT_WITHIN = 0.05
"""Two times are equivalent if the complete interval of their ratio is within this fraction of 1."""

SIGNIFICANCE = 0.01
"""Largest rate at which a comparison of two equal formats may be called different, even as the only comparison."""

DETECTION_POWER = 0.8
"""Smallest rate at which a true difference of the smallest detectable effect is found (the usual 80 %, Cohen 1988)."""

_PLANNED_POWER = 0.9  # more than promised, because few rounds show only a part of the spread (see the tests)
_RESAMPLES = 200
_ERRORS_PER_HALF_WIDTH = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

Verdict = Literal["faster", "slower", "equivalent", "inconclusive"]

Doubt = Literal["rounds", "floor", "one-round", "noise"]
"""Why a comparison is inconclusive."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Difference between two equal arms of a cell; both figures are log ratios, and 0 without an A/A control."""

    difference: float = 0.0  # The A/A control's difference, without its sign. No smaller difference is reported.
    # The part of the difference that its own sampling error does not explain. The interval of a reported difference is
    # beyond this part. Beyond the complete difference, chance would count twice, in the interval and in the floor: a
    # true 5 % under 3 % noise would be missed too often even in 20 rounds.
    excess: float = 0.0


def noise_floor(control: Comparison | None) -> Floor:
    """Return the floor from the difference of the A/A control to the arm that it repeats; zero without a control.

    The square of a difference of medians is, on average, the square of the true difference plus that of the standard
    error. So the excess is the root of the squared difference minus the squared error, and 0 if that is negative (the
    moment estimator of DerSimonian & Laird 1986).
    """
    if control is None:
        return Floor()
    difference, excess = _floors(np.sort(control.log_ratios))
    return Floor(difference=float(difference), excess=float(excess))


def _floors(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = interval_ends(ordered)
    middle, error = medians(ordered), (high - low) / 2 / _ERRORS_PER_HALF_WIDTH
    return np.abs(middle), np.sqrt(np.maximum(middle**2 - error**2, 0))


def word(comparison: Comparison, floor: Floor, discovered: bool) -> Verdict:
    """Return the verdict on a comparison.

    Parameters
    ----------
    comparison : Comparison
        The comparison with the baseline.
    floor : Floor
        From `noise_floor`.
    discovered : bool
        Whether chance is excluded, as `judge` decides.

    Returns
    -------
    {"faster", "slower", "equivalent", "inconclusive"}
        ``faster`` or ``slower`` if chance is excluded, the difference is larger than the floor's, and its complete
        interval is beyond the floor's excess. ``equivalent`` if the interval is within `EQUIVALENT_WITHIN`. Otherwise,
        and always below `VERDICT_ROUNDS` rounds, ``inconclusive``.
    """
    return _word(comparison, floor, discovered) if comparison.rounds >= VERDICT_ROUNDS else "inconclusive"


def _word(comparison: Comparison, floor: Floor, discovered: bool) -> Verdict:
    median, low, high = (np.log(x) for x in (comparison.ratio.median, comparison.ratio.low, comparison.ratio.high))
    if discovered and abs(median) > floor.difference:
        if high < -floor.excess:
            return "faster"
        if low > floor.excess:
            return "slower"
    if np.log(1 - EQUIVALENT_WITHIN) <= low and high <= np.log(1 + EQUIVALENT_WITHIN):
        return "equivalent"
    return "inconclusive"


def doubt(comparison: Comparison, floor: Floor) -> Doubt:
    """Return why a comparison is inconclusive.

    Parameters
    ----------
    comparison, floor
        As for `word`, which returned ``inconclusive``.

    Returns
    -------
    {"rounds", "floor", "one-round", "noise"}
        ``rounds``: there are too few. ``floor``: without the difference of the A/A control, it would be called faster
        or slower. ``one-round``: without the round furthest from the median, it would have another verdict.
        ``noise``: anything else: a wide interval, or a difference that is no discovery among all of the run.
    """
    if comparison.rounds < VERDICT_ROUNDS:
        return "rounds"
    if _alone(comparison, Floor()) in ("faster", "slower"):
        return "noise" if _alone(comparison, floor) in ("faster", "slower") else "floor"
    logs = comparison.log_ratios
    others = Comparison.of(np.delete(logs, np.abs(logs - np.median(logs)).argmax()))
    return "noise" if _alone(others, floor) == "inconclusive" else "one-round"


def _alone(comparison: Comparison, floor: Floor) -> Verdict:
    return _word(comparison, floor, signed_rank_p(typical(comparison.log_ratios)) <= SIGNIFICANCE)


def judge(comparisons: Sequence[Comparison], floors: Sequence[Floor], *, all_rounds: bool = False) -> list[Verdict]:
    """Return the verdicts on all comparisons of a run, judged together, because each is a chance to be wrong.

    Chance is excluded if a comparison is significant by itself, at `SIGNIFICANCE`, and among all that are judged, at
    `FALSE_DISCOVERY_RATE`. Comparisons with too few rounds for a verdict are not tested.

    Parameters
    ----------
    comparisons : sequence of Comparison
        All comparisons of a run.
    floors : sequence of Floor
        The floor for each comparison.
    all_rounds : bool
        Whether the test of significance uses disturbed rounds like all others, as in older runs.

    Returns
    -------
    list of str
        As from `word`.
    """
    tested = np.array([c.rounds >= VERDICT_ROUNDS for c in comparisons], bool)
    logs = [c.log_ratios for c in comparisons if c.rounds >= VERDICT_ROUNDS]
    p_values = np.array([signed_rank_p(values if all_rounds else typical(values)) for values in logs])
    found = np.zeros(len(comparisons), bool)
    found[tested] = discoveries(p_values) & (p_values <= SIGNIFICANCE)
    return [word(c, floor, bool(f)) for c, floor, f in zip(comparisons, floors, found, strict=True)]


def smallest_detectable_effect(
    comparison: Comparison, control: Comparison, *, all_rounds: bool = False
) -> float | None:
    """Return the smallest true slowdown that a repetition of this cell would call ``slower``.

    The rounds of both arms are resampled around a difference of zero. Each resample shows how large a true effect must
    be for the rule of `word` and `SIGNIFICANCE` to find it (bootstrap power, Efron & Tibshirani 1993, chapter 25). The
    result is for one comparison; among very many, the control of false discoveries needs a larger effect.

    Under log-normal noise from 10 rounds on, and with a tenth of samples slowed down 1.5 to 3 times from 20 rounds on,
    an effect of this size is found in at least `DETECTION_POWER` of repetitions. With such disturbances at 10 rounds,
    which may not include any of them, it is found in at least 60 %.

    Parameters
    ----------
    comparison : Comparison
        The comparison whose spread is used; for the baseline, the control's own.
    control : Comparison
        The A/A control, compared with the arm that it repeats.
    all_rounds : bool
        As for `judge`.

    Returns
    -------
    float or None
        Fraction of the baseline's time: 0.04 if 4 % more is found. None below `VERDICT_ROUNDS` rounds.
    """
    count = comparison.rounds
    if min(count, control.rounds) < VERDICT_ROUNDS:
        return None
    # Floors of repetitions, around the control's true difference: the excess, without what chance added.
    logs = control.log_ratios
    median = np.median(logs)
    difference, excess = _floors(_redrawn(logs - median + np.sign(median) * noise_floor(control).excess))
    centred = comparison.log_ratios - np.median(comparison.log_ratios)
    drawn = _redrawn(centred)
    low, _ = interval_ends(drawn)
    needed = np.maximum(excess - low, difference - medians(drawn))
    # The ranks of dissenting rounds sum to at most w while the (w + 1)-th smallest mean of two rounds is positive. A
    # disturbed round, which the test leaves out, dissents hardly more than the others.
    first, second = np.triu_indices(count)
    limit = np.inf if all_rounds else usual_size(centred)
    usual = np.clip(drawn, -limit, limit)
    means = (usual[:, first] + usual[:, second]) / 2
    dissent = consistent_rank_sum(count, SIGNIFICANCE)
    needed = np.maximum(needed, -np.partition(means, dissent, axis=1)[:, dissent])
    # Resampled medians spread less than real ones, as a variance divided by n instead of n - 1 does.
    effect = float(np.quantile(needed, _PLANNED_POWER)) * np.sqrt(count / (count - 1))
    return float(np.exp(effect) - 1)


def _redrawn(logs: np.ndarray) -> np.ndarray:
    """Return resampled rounds, sorted in each draw: the same rounds for both arms of a cell, which shared theirs."""
    return np.sort(resample(logs[None], len(logs), _RESAMPLES, smoothed=False)[:, 0], axis=1)
