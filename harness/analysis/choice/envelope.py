"""Where one weight of a mix flips the choice: exact crossings of costs that are straight lines in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.analysis.statistics import bounds

Segment = tuple[float, float, str]


@dataclass(frozen=True, kw_only=True)
class Flip:
    """How the choice depends on one weight, with all others as the mix has them.

    Attributes
    ----------
    weight : str
        A field of `harness.analysis.choice.mix.Mix`, or an access whose share is varied, the others keeping their
        proportions.
    value : float
        What the mix has.
    unit : str
        Of the weight.
    log : bool
        Whether it spans so much that it is shown by its logarithm.
    segments : list of (float, float, str)
        Ranges of the weight, in order, and the cheapest format in each.
    stays_low, stays_high : float
        The range around the value in which the preferred format stays the cheapest.
    low_interval, high_interval : tuple of float or None
        95 % bootstrap interval of either end; None where the answer changes neither in what was measured nor in the
        resamples that count, so that the end is merely where the weight ends.
    """

    weight: str
    value: float
    unit: str
    log: bool
    segments: list[Segment]
    stays_low: float
    stays_high: float
    low_interval: tuple[float, float] | None
    high_interval: tuple[float, float] | None

    @property
    def stays(self) -> bool:
        """Whether no value of the weight changes the answer."""
        return len(self.segments) == 1


def lower_envelope(
    intercepts: np.ndarray, slopes: np.ndarray, low: float, high: float, names: Sequence[str]
) -> list[Segment]:
    """Return which of several straight lines is the lowest, over a range.

    Parameters
    ----------
    intercepts, slopes : ndarray, shape (lines,)
        ``intercepts + slopes * x``.
    low, high : float
        The range of x; ``high`` may be infinite.
    names : sequence of str
        Of the lines.

    Returns
    -------
    list of (float, float, str)
        Neighbours differ, and each end is the exact crossing of two lines.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (intercepts[:, None] - intercepts) / (slopes - slopes[:, None])
    inner = np.unique(crossings[(crossings > low) & (crossings < high) & np.isfinite(crossings)])
    ends = [low, *inner.tolist(), high]
    found: list[Segment] = []
    for start, end in pairwise(ends):
        inside = 2 * start + 1 if np.isinf(end) else (start + end) / 2
        name = names[int(np.argmin(intercepts + slopes * inside))]
        if found and found[-1][2] == name:
            found[-1] = (found[-1][0], end, name)
        else:
            found.append((start, end, name))
    return found


def stays(
    intercepts: np.ndarray, slopes: np.ndarray, line: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range in which one line is the lowest, for many sets of lines at once.

    Parameters
    ----------
    intercepts, slopes : ndarray, shape (sets, lines)
        ``intercepts + slopes * x``.
    line : int
        Which line.
    low, high : float
        The range of x; ``high`` may be infinite.

    Returns
    -------
    lows, highs : ndarray, shape (sets,)
        ``low`` or ``high`` where the line stays the lowest up to there; a low above its high where it never is.
    """
    above = np.delete(intercepts - intercepts[:, [line]], line, axis=1)
    rise = np.delete(slopes - slopes[:, [line]], line, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -above / rise
    # Below the zero of a rising difference, and above that of a falling one, the other line is the lower.
    lows = np.where(rise > 0, zero, np.where((rise == 0) & (above < 0), high, low))
    highs = np.where(rise < 0, zero, np.where((rise == 0) & (above < 0), low, high))
    ends = (np.full((len(intercepts), 1), float(x)) for x in (low, high))
    lows, highs = (np.hstack([found, end]) for found, end in zip((lows, highs), ends, strict=True))
    return np.clip(lows.max(axis=1), low, high), np.clip(highs.min(axis=1), low, high)


def line_flip(
    weight: str, value: float, unit: str, intercepts: np.ndarray, slopes: np.ndarray, names: Sequence[str],
    preferred: str, span: tuple[float, float],
) -> Flip:  # fmt: skip
    """Find where the choice flips along a weight in which costs are straight lines.

    Parameters
    ----------
    weight, value, unit
        See `Flip`.
    intercepts, slopes : ndarray, shape (1 + resamples, formats)
        Costs are ``intercepts + slopes * weight``; row 0 is what was measured.
    names : sequence of str
        The formats.
    preferred : str
        The cheapest of them at ``value``.
    span : tuple of float
        The range of the weight; an infinite end makes it ``log``.

    Returns
    -------
    Flip
        Exact, by crossings.
    """
    low, high = span
    segments = lower_envelope(intercepts[0], slopes[0], low, high, names)
    lows, highs = stays(intercepts, slopes, list(names).index(preferred), low, high)
    return Flip(
        weight=weight, value=value, unit=unit, log=bool(np.isinf(high)), segments=segments, stays_low=float(lows[0]),
        stays_high=float(highs[0]), low_interval=_interval(lows, low), high_interval=_interval(highs, high),
    )  # fmt: skip


def inverted(flip: Flip, value: float) -> Flip:
    """Turn a flip along the inverse of a weight into one along the weight itself.

    Parameters
    ----------
    flip : Flip
        Along ``1 / weight``, over a range above 0.
    value : float
        Of the weight.

    Returns
    -------
    Flip
        With ``log``: an inverse spans decades.
    """

    def turned(interval: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if interval is None else (1 / interval[1], 1 / interval[0])

    return Flip(
        weight=flip.weight, value=value, unit=flip.unit, log=True,
        segments=[(1 / high, 1 / low, name) for low, high, name in reversed(flip.segments)],
        stays_low=1 / flip.stays_high, stays_high=1 / flip.stays_low,
        low_interval=turned(flip.high_interval), high_interval=turned(flip.low_interval),
    )  # fmt: skip


def step_flip(
    weight: str, value: float, unit: str, costs: dict[int, np.ndarray], names: Sequence[str], preferred: str
) -> Flip:
    """Find where the choice flips along a weight that was measured at a few values, and holds up to the next.

    Parameters
    ----------
    weight, value, unit
        See `Flip`.
    costs : dict of int to ndarray, shape (1 + resamples, formats)
        By value of the weight.
    names : sequence of str
        The formats.
    preferred : str
        The cheapest of them at ``value``.

    Returns
    -------
    Flip
        Its ends are values that were measured.
    """
    steps = sorted(costs)
    ends = [*steps[1:], steps[-1]]
    segments: list[Segment] = []
    for start, end in zip(steps, ends, strict=True):
        name = names[int(np.argmin(costs[start][0]))]
        if segments and segments[-1][2] == name:
            segments[-1] = (segments[-1][0], float(end), name)
        else:
            segments.append((float(start), float(end), name))
    wins = np.stack([np.argmin(costs[n], axis=1) == list(names).index(preferred) for n in steps], axis=1)
    here = max(i for i, n in enumerate(steps) if n <= value)
    up, down = wins[:, here:], wins[:, here::-1]
    # Down to a number that still holds, up to the first that no longer does; infinite where all of them hold.
    lows = np.take([float(n) for n in steps], here - np.maximum(np.argmin(down, axis=1) - 1, 0))
    lows = np.where(down.all(axis=1), -np.inf, lows)
    highs = np.take([float(n) for n in steps], here + np.argmin(up, axis=1))
    highs = np.where(up.all(axis=1), np.inf, highs)
    return Flip(
        weight=weight, value=value, unit=unit, log=True, segments=segments,
        stays_low=max(float(lows[0]), float(steps[0])), stays_high=min(float(highs[0]), float(steps[-1])),
        low_interval=_interval(lows, -np.inf), high_interval=_interval(highs, np.inf),
    )  # fmt: skip


def _interval(ends: np.ndarray, never: float) -> tuple[float, float] | None:
    low, high = (float(x) for x in bounds(ends[1:]))
    return None if low == high == never == float(ends[0]) else (low, high)
