"""Sensitivity of the choice: vary one weight of a mix at a time, and find the values where the choice flips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.analysis.choice.costs import CostParts, Use, cost, needed
from harness.analysis.statistics import bounds
from harness.suite import mix_reads

Segment = tuple[float, float, str]

MOST_READS_PER_WRITE = 1e6

_SHARE = "share of accesses"


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Dependence of the choice on one weight, with all others as in the mix."""

    # A field of `harness.analysis.choice.mix.Mix`, or an access whose share is varied while the others keep their
    # proportions.
    weight: str
    value: float  # Value in the mix.
    unit: str  # Unit of the weight.
    log: bool  # Whether its range is so wide that it is shown by its logarithm.
    segments: list[Segment]  # Ranges of the weight, in order, and the cheapest format in each.
    # The range around the value in which the preferred format stays the cheapest.
    stays_low: float
    stays_high: float
    # 95 % bootstrap interval of each end. None if the choice changes neither in the measurements nor in the resamples
    # that count; the end is then that of the weight's range.
    low_interval: tuple[float, float] | None
    high_interval: tuple[float, float] | None

    @property
    def stays(self) -> bool:
        """Whether no value of the weight changes the answer."""
        return len(self.segments) == 1


def vary(measured: CostParts, use: Use, formats: Sequence[str], preferred: str) -> list[Flip]:
    """Find where the choice flips along every weight whose effect on every format was measured.

    Parameters
    ----------
    measured : CostParts
        The parts of one trace.
    use : Use
        The mix, from which one weight at a time departs.
    formats : list of str
        The formats that compete.
    preferred : str
        The cheapest of them.

    Returns
    -------
    list of Flip
        The share of each access (0 to 1, the others keeping their proportions; none for the only access of a mix),
        ``cold`` and ``opens`` (0 to 1), ``readers`` (at the measured numbers), ``reads_per_write`` (1 to
        `MOST_READS_PER_WRITE`), ``storage_price`` (0 to infinity). Costs are linear in each, or in its inverse, so the
        costs at two values give the line, and two lines give the exact crossing.
    """
    columns = [measured.formats.index(name) for name in formats]
    best = list(formats).index(preferred)
    found: list[Flip] = []

    def costs(changed: Use) -> np.ndarray | None:
        """Return the costs of a use; None if one of its parts was not measured."""
        if not all(part in measured.reads for part in needed(changed)):
            return None
        values = cost(measured, changed)[:, columns]
        return None if np.isnan(values[0]).any() else values

    def line(weight: str, value: float, unit: str, zero: Use, one: Use, span: tuple[float, float] = (0.0, 1.0)) -> None:
        """Append the flip along a weight in which costs are straight lines, given the uses at its values 0 and 1."""
        at_zero, at_one = costs(zero), costs(one)
        if at_zero is None or at_one is None:
            return
        segments = lower_envelope(at_zero[0], at_one[0] - at_zero[0], *span, formats)
        lows, highs = stays(at_zero, at_one - at_zero, best, *span)
        found.append(
            Flip(
                weight=weight, value=value, unit=unit, log=bool(np.isinf(span[1])), segments=segments,
                stays_low=float(lows[0]), stays_high=float(highs[0]), low_interval=_interval(lows, span[0]),
                high_interval=_interval(highs, span[1]),
            )
        )  # fmt: skip

    for access in mix_reads():
        share = use.shares.get(access, 0.0)
        if share == 1 or access in measured.absent:
            continue  # for the only access, nothing defines in which proportions others would replace it
        others = {a: s / (1 - share) for a, s in use.shares.items() if a != access}
        line(access, share, _SHARE, use._replace(shares=others), use._replace(shares={access: 1.0}))
    line("cold", use.cold, _SHARE, use._replace(cold=0.0), use._replace(cold=1.0))
    line("opens", use.opens, _SHARE, use._replace(opens=0.0), use._replace(opens=1.0))
    slowed = {n: values for n in measured.readers if (values := costs(use._replace(readers=n))) is not None}
    if len(slowed) > 1:
        found.append(_steps("readers", use.readers, "concurrent readers", slowed, formats, best))
    rarest = 1 / max(MOST_READS_PER_WRITE, 1 / use.writes_per_read)
    never, each = use._replace(writes_per_read=0), use._replace(writes_per_read=1)
    line("reads_per_write", use.writes_per_read, "accesses per write", never, each, (rarest, 1.0))
    found[-1] = _inverted(found[-1])
    if measured.gigabytes is not None:
        free, dear = use._replace(storage_price=0), use._replace(storage_price=1)
        line("storage_price", use.storage_price, "s/GB", free, dear, (0.0, np.inf))
    return found


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    """Merge neighbours that have the same format."""
    found: list[Segment] = []
    for start, end, name in segments:
        if found and found[-1][2] == name:
            start = found.pop()[0]
        found.append((start, end, name))
    return found


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
        Names of the lines.

    Returns
    -------
    list of (float, float, str)
        Neighbours differ, and each inner end is the exact crossing of two lines.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (intercepts[:, None] - intercepts) / (slopes - slopes[:, None])
    inner = np.unique(crossings[(crossings > low) & (crossings < high) & np.isfinite(crossings)])
    found = []
    for start, end in pairwise([low, *inner.tolist(), high]):
        inside = 2 * start + 1 if np.isinf(end) else (start + end) / 2
        found.append((start, end, names[int(np.argmin(intercepts + slopes * inside))]))
    return _joined(found)


def stays(
    intercepts: np.ndarray, slopes: np.ndarray, line: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the range in which one line is the lowest, for many sets of lines at once.

    Parameters
    ----------
    intercepts, slopes : ndarray, shape (sets, lines)
        ``intercepts + slopes * x``.
    line : int
        Index of the line.
    low, high : float
        The range of x; ``high`` may be infinite.

    Returns
    -------
    lows, highs : ndarray, shape (sets,)
        ``low`` or ``high`` if the line stays the lowest up to there; a low above its high if it is never the lowest.
    """
    above = np.delete(intercepts - intercepts[:, [line]], line, axis=1)
    rise = np.delete(slopes - slopes[:, [line]], line, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -above / rise
    # Below the zero of a rising difference, and above that of a falling one, the other line is the lower.
    lows = np.where(rise > 0, zero, np.where((rise == 0) & (above < 0), high, low))
    highs = np.where(rise < 0, zero, np.where((rise == 0) & (above < 0), low, high))
    return np.clip(lows.max(axis=1, initial=low), low, high), np.clip(highs.min(axis=1, initial=high), low, high)


def _inverted(flip: Flip) -> Flip:
    """Convert a flip along the inverse of a weight, above 0, to one along the weight itself."""

    def turned(interval: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if interval is None else (1 / interval[1], 1 / interval[0])

    return Flip(
        weight=flip.weight, value=1 / flip.value, unit=flip.unit, log=True,
        segments=[(1 / high, 1 / low, name) for low, high, name in reversed(flip.segments)],
        stays_low=1 / flip.stays_high, stays_high=1 / flip.stays_low,
        low_interval=turned(flip.high_interval), high_interval=turned(flip.low_interval),
    )  # fmt: skip


def _steps(
    weight: str, value: float, unit: str, costs: Mapping[int, np.ndarray], names: Sequence[str], best: int
) -> Flip:
    """Return the flip along a weight that was measured at a few values, each of which holds up to the next."""
    steps = sorted(costs)
    places = np.array(steps, float)
    ends = [*steps[1:], steps[-1]]
    cheapest = [(float(n), float(end), names[int(np.argmin(costs[n][0]))]) for n, end in zip(steps, ends, strict=True)]
    wins = np.stack([np.argmin(costs[n], axis=1) == best for n in steps], axis=1)
    here = max(i for i, n in enumerate(steps) if n <= value)
    up, down = wins[:, here:], wins[:, here::-1]
    # The last number down to which the choice holds, and the first up at which it fails; infinite if it always holds.
    lows = np.where(down.all(axis=1), -np.inf, places[here - np.maximum(np.argmin(down, axis=1) - 1, 0)])
    highs = np.where(up.all(axis=1), np.inf, places[here + np.argmin(up, axis=1)])
    return Flip(
        weight=weight, value=value, unit=unit, log=True, segments=_joined(cheapest),
        stays_low=max(float(lows[0]), places[0].item()), stays_high=min(float(highs[0]), places[-1].item()),
        low_interval=_interval(lows, -np.inf), high_interval=_interval(highs, np.inf),
    )  # fmt: skip


def _interval(ends: np.ndarray, never: float) -> tuple[float, float] | None:
    low, high = (float(x) for x in bounds(ends[1:]))
    return None if low == high == never == float(ends[0]) else (low, high)
