"""When a contender leaves its cell: so much slower in every round that more rounds could not change its word."""

from __future__ import annotations

import numpy as np

LEAVES_AFTER = 5
"""Rounds that every contender takes; fewer show too little of what a round can do."""

LEAVES_BEYOND = 2.0
"""How many times as long as the baseline every single round has to take."""


def decided(log_ratios: np.ndarray, control_log_ratios: np.ndarray) -> bool:
    """Say whether a contender is slower than the baseline beyond anything that the noise of its cell can do.

    It is when, from `LEAVES_AFTER` rounds on, the smallest of its ratios is beyond `LEAVES_BEYOND`, beyond the largest
    difference of two equal arms in the same rounds, either way, and beyond the range of its own ratios. All three are
    of logarithms, so one disturbed round of any arm weighs fully against leaving, and never for it. Simulated error
    rates: ``docs/words.md``.

    Parameters
    ----------
    log_ratios : ndarray, shape (rounds,)
        Natural logarithms of its times over the baseline's, in every round until now.
    control_log_ratios : ndarray, shape (rounds,)
        The same of the A/A control; without one nobody leaves.
    """
    if len(log_ratios) < LEAVES_AFTER or len(control_log_ratios) < LEAVES_AFTER:
        return False
    least = log_ratios.min()
    return bool(least > max(np.log(LEAVES_BEYOND), np.abs(control_log_ratios).max(), np.ptp(log_ratios)))
