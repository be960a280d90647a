"""From comparisons to words: the noise floor of the A/A control, the rule for a difference, and what it can detect."""

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
"""Two times are equivalent when the whole interval of their ratio lies within this part of 1."""

SIGNIFICANCE = 0.01
"""How often one comparison of two equal formats may be called different, however few there are to compare."""

DETECTION_POWER = 0.8
"""How often, at least, a true difference of the smallest detectable effect is called (the usual 80 %, Cohen 1988)."""

_PLANNED_POWER = 0.9  # more than promised, because few rounds show less than all of the spread (see the tests)
_RESAMPLES = 200
_ERRORS_PER_HALF_WIDTH = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

Verdict = Literal["faster", "slower", "equivalent", "inconclusive"]

Doubt = Literal["rounds", "floor", "one-round", "noise"]
"""Why a comparison is inconclusive."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What two equal arms of a cell differ by; both figures are logarithms of a ratio, and 0 without an A/A control."""

    difference: float = 0.0  # The A/A control's difference, without its sign. No smaller difference is reported.
    # The part of it that its own sampling error does not explain. The interval of what is reported lies beyond it, and
    # not beyond all of the difference, which would count chance twice: in the interval and again in the floor, so that
    # a true 5 % under 3 % noise would be missed too often even in 20 rounds.
    excess: float = 0.0


def noise_floor(control: Comparison | None) -> Floor:
    """Return what the A/A control differs by from the arm that it repeats; zero without a control.

    The square of a difference of medians is, on average, that of the true difference plus the squared standard error,
    so the excess is the root of what is left when the latter is taken off, and 0 when nothing is (the moment estimator
    of DerSimonian & Laird 1986).
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
    """Put a comparison into one of four words.

    Parameters
    ----------
    comparison : Comparison
        Against the baseline.
    floor : Floor
        From `noise_floor`.
    discovered : bool
        Whether chance is excluded, as `judge` decides.

    Returns
    -------
    {"faster", "slower", "equivalent", "inconclusive"}
        ``faster`` and ``slower`` when the difference is larger than the floor's and its whole interval lies beyond the
        floor's excess, ``equivalent`` when the interval lies within `EQUIVALENT_WITHIN`, else, and always below
        `VERDICT_ROUNDS` rounds, ``inconclusive``.
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
    """Say why a comparison is inconclusive.

    Parameters
    ----------
    comparison, floor
        As for `word`, which called it so.

    Returns
    -------
    {"rounds", "floor", "one-round", "noise"}
        ``rounds``: there are too few. ``floor``: without the difference of the A/A control it would be called
        different. ``one-round``: without the round that lies furthest from the median it would have a word.
        ``noise``: anything else, for the interval is wide, or the difference no discovery among all of the run.
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
    """Put all comparisons of a run into words, together, because each is a chance to be wrong.

    Chance is excluded where a comparison is significant for itself, at `SIGNIFICANCE`, and among all that are judged,
    at `FALSE_DISCOVERY_RATE`. Those with too few rounds for a verdict are no tests and take no part.

    Parameters
    ----------
    comparisons : sequence of Comparison
        All claims of a run.
    floors : sequence of Floor
        Of each one's cell.
    all_rounds : bool
        Whether disturbed rounds count as all others in the test of significance, as in runs of before.

    Returns
    -------
    list of str
        As `word`.
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

    Both arms' rounds are resampled around no difference, and each resample says how large a true effect would have
    had to be for the rule of `word` and `SIGNIFICANCE` to call it (bootstrap power, Efron & Tibshirani 1993, chapter
    25). It is for one comparison; among very many, control of false discoveries asks for more.

    Under log-normal noise from 10 rounds on, and with a tenth of samples slowed down 1.5 to 3 times from 20 rounds on,
    an effect of this size is called in at least `DETECTION_POWER` of repetitions; at 10 rounds with such disturbances,
    which so few rounds may not have met yet, in at least 60 %.

    Parameters
    ----------
    comparison : Comparison
        Whose spread decides; the control's own, for the baseline.
    control : Comparison
        The A/A control against the arm that it repeats.
    all_rounds : bool
        As for `judge`.

    Returns
    -------
    float or None
        As a part of the baseline's time: 0.04 when 4 % more is found. None below `VERDICT_ROUNDS` rounds.
    """
    count = comparison.rounds
    if min(count, control.rounds) < VERDICT_ROUNDS:
        return None
    # Floors of repetitions, around what the control really differs by: the excess, not what chance added.
    logs = control.log_ratios
    median = np.median(logs)
    difference, excess = _floors(_redrawn(logs - median + np.sign(median) * noise_floor(control).excess))
    centred = comparison.log_ratios - np.median(comparison.log_ratios)
    drawn = _redrawn(centred)
    low, _ = interval_ends(drawn)
    needed = np.maximum(excess - low, difference - medians(drawn))
    # Rounds dissent with a rank sum of at most w while the (w + 1)-th smallest mean of two rounds is positive. One that
    # is disturbed, and so takes no part, dissents hardly more than the others.
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
    """Draw rounds anew, each draw sorted: the same rounds for both arms of a cell, which shared theirs."""
    return np.sort(resample(logs[None], len(logs), _RESAMPLES, smoothed=False)[:, 0], axis=1)
