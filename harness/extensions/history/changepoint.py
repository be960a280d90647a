"""Step detection in many series of the same runs: levels that change and stay, not outliers, drift or chance.

The fit of a series is piecewise constant and minimises absolute deviations, as asv's ``step_detect`` does (Virtanen
2016), so a single disturbed run moves no level. Every place between two runs is tested in windows of several lengths,
because the full series hides a level that changed and returned (Fleming et al. 2023 on Hunter; Kovács et al. 2023 on
deterministic intervals). A step splits the series in two parts, and each part is searched again (binary segmentation,
Vostrikova 1981).
Chance is excluded for all series together. The order of runs is shuffled, in the same way in every series. A step
counts only if hardly any shuffle has an equally clear step in any series (Westfall & Young 1993; permutations as in the
E-divisive method of Matteson & James 2014). This assumes no distribution and keeps the correlation between series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 5
"""Runs required on either side of a step; fewer are outliers."""

LEAST_RUNS = 2 * SIDE + 1
"""Fewest runs in which a step can be found: the order of 10 runs looks like a step by chance too often."""

FALSE_ALARMS = 0.01
"""Accepted probability that a step is reported in a history without steps, for any number of cells."""

_WINDOWS = ((20, 5), (20, 20), (5, 20))  # runs before and after; fewer at the ends of a series
_SHUFFLES = 499
_BATCH = 20
_FINEST = 1e-3  # lower limit of the mean deviation: below 0.1 % it is not credible
_FAR = 3.0
_MARGIN = float(np.log(10))  # runs are not quite exchangeable: correlation between runs makes shuffles too calm
_SPREAD_OF_DIFFERENCES = 0.954  # median size of the difference of two standard normal values


@dataclass(frozen=True, kw_only=True)
class Change:
    """A step in a series."""

    place: int  # Number of the first value after it.
    shift: float  # Difference of the medians on both sides of it, in the window that shows it best.
    evidence: float  # The statistic of `scan`.


def scan(values: np.ndarray) -> np.ndarray:
    """Return the evidence for a step at each place of each series.

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        For example, logarithms of times.

    Returns
    -------
    ndarray, shape (series, runs)
        For the place before each run, the maximum over windows of ``(m - 2) log(S0 / S1)``. For a window of ``m`` runs,
        ``S0`` is the sum of absolute deviations from one median, ``S1`` that from two medians, one before and one after
        the place. Under Laplacian noise this is the likelihood ratio, and its scale is the same for all window lengths.
        Minus infinity where a side has fewer than `SIDE` runs.
    """
    count = values.shape[1]
    found = np.full(values.shape, -np.inf)
    costs: dict[tuple[int, int], np.ndarray] = {}

    def cost(start: int, stop: int) -> np.ndarray:
        if (start, stop) not in costs:
            costs[start, stop] = _deviations(values[:, start:stop])
        return costs[start, stop]

    for place in range(SIDE, count - SIDE + 1):
        for start, stop in {(max(0, place - a), min(count, place + b)) for a, b in _WINDOWS}:
            many = stop - start
            two = np.maximum(cost(start, place) + cost(place, stop), many * _FINEST)
            one = np.maximum(cost(start, stop), two)
            found[:, place] = np.maximum(found[:, place], (many - 2) * np.log(one / two))
    return found


def _deviations(values: np.ndarray) -> np.ndarray:
    """Return the sum of absolute deviations from the median per row: the upper half minus the lower half."""
    count = values.shape[1]
    ordered = np.partition(values, count // 2, axis=1)
    return ordered[:, -(count // 2) :].sum(axis=1) - ordered[:, : count // 2].sum(axis=1)


def find_changes(values: np.ndarray, witnesses: Sequence[np.ndarray], least: float) -> list[list[Change]]:
    """Find the steps of all series of a history.

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        Values in the order of runs; NaN where a run has none.
    witnesses : sequence of ndarray, shape (series, runs)
        Other measures of the same series, such as the time and its ratio to the raw ceiling. A step counts only if each
        witness shifts in the same direction by at least half as much. NaN where `values` are.
    least : float
        The smallest shift that counts, in the unit of the series.

    Returns
    -------
    list of list of Change
        The steps of each series, in the order of runs. Equal arguments give equal results.
    """
    masks, group = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    groups = [(np.flatnonzero(mask), np.flatnonzero(group == i)) for i, mask in enumerate(masks)]
    groups = [(runs, rows) for runs, rows in groups if len(runs) >= LEAST_RUNS]
    changes: list[list[Change]] = [[] for _ in values]
    calmed = [calm(values[np.ix_(rows, runs)]) for runs, rows in groups]
    found = []
    for (runs, rows), series in zip(groups, calmed, strict=True):
        for row, own, evidence in zip(rows, series, scan(series), strict=True):
            measures = np.array([own, *(witness[row, runs] for witness in witnesses)])
            if (change := _clearest(measures, evidence, least)) is not None:
                found.append((row, runs, measures, change))
    shuffled = [(runs, series) for (runs, _), series in zip(groups, calmed, strict=True)]
    limit = _limit(shuffled, [change.evidence for *_, change in found])
    for row, runs, measures, change in found:
        inside = _split(measures, change, limit, least)
        changes[row] = [Change(place=int(runs[c.place]), shift=c.shift, evidence=c.evidence) for c in inside]
    return changes


def _clearest(measures: np.ndarray, evidence: np.ndarray, least: float) -> Change | None:
    """Return the clearest step of a series that is large enough and that its witnesses confirm, or None.

    Row 0 of `measures` is the series, the other rows are its witnesses.
    """
    count = measures.shape[1]
    for place in np.argsort(-evidence, kind="stable"):
        if not evidence[place] > -np.log(FALSE_ALARMS):  # less evidence does not exclude chance even at one place
            break
        start, stop = _window(measures[0], int(place))
        near = measures[:, start:stop]
        # A few deviating runs at an end are no level yet, but make places next to them look like steps.
        cut = max(range(1, stop - start), key=lambda cut: _evidence(near[0], cut))
        if not SIDE <= start + cut <= count - SIDE:
            continue
        shifts = np.median(near[:, cut:], axis=1) - np.median(near[:, :cut], axis=1)
        if abs(shifts[0]) >= least and (shifts * np.sign(shifts[0]) >= abs(shifts[0]) / 2).all():
            return Change(place=start + cut, shift=float(shifts[0]), evidence=float(evidence[place]))
    return None


def _window(values: np.ndarray, place: int) -> tuple[int, int]:
    """Return the start and stop of the window in which the evidence for a step at a place is largest."""
    windows = {(max(0, place - before), min(len(values), place + after)) for before, after in _WINDOWS}
    return max(sorted(windows), key=lambda ends: _evidence(values[ends[0] : ends[1]], place - ends[0]))


def _evidence(values: np.ndarray, cut: int) -> float:
    one, *two = (float(np.abs(part - np.median(part)).sum()) for part in (values, values[:cut], values[cut:]))
    least = len(values) * _FINEST
    return (len(values) - 2) * float(np.log(max(one, least) / max(sum(two), least)))


def calm(values: np.ndarray) -> np.ndarray:
    """Clip single outliers, so that they do not hide a step: Hampel's filter (Davies & Gather 1993).

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        At least three runs.

    Returns
    -------
    ndarray, shape (series, runs)
        The values, clipped to the median of the five runs around each, plus or minus `_FAR` times the spread from run
        to run. A level that stays is not changed.
    """
    around = np.pad(values, ((0, 0), (2, 2)), mode="symmetric")
    middle = np.median([around[:, k : k + values.shape[1]] for k in range(5)], axis=0)
    spread = np.median(np.abs(np.diff(values, axis=1)), axis=1, keepdims=True) / _SPREAD_OF_DIFFERENCES
    return np.clip(values, middle - _FAR * spread, middle + _FAR * spread)


def _split(measures: np.ndarray, first: Change | None, limit: float, least: float) -> list[Change]:
    """Return a step with evidence above `limit` and the steps on either side of it; empty without such a step."""
    if first is None or not first.evidence > limit:
        return []
    found = [first]
    for start, side in ((0, measures[:, : first.place]), (first.place, measures[:, first.place :])):
        if side.shape[1] >= 2 * SIDE:
            inner = _split(side, _clearest(side, scan(side[:1])[0], least), limit, least)
            found += [Change(place=start + c.place, shift=c.shift, evidence=c.evidence) for c in inner]
    return sorted(found, key=lambda change: change.place)


def _limit(groups: Sequence[tuple[np.ndarray, np.ndarray]], candidates: Sequence[float]) -> float:
    """Return the evidence that at most a fraction `FALSE_ALARMS` of shuffled histories exceeds, plus `_MARGIN`.

    Evidence is a log-likelihood ratio, so the margin is a factor of ten. Each group holds the run numbers of some
    series, and these series. If shuffles reach the largest candidate too often, the remaining shuffles are skipped and
    the limit is infinite.
    """
    if not candidates:
        return np.inf
    allowed = int(FALSE_ALARMS * (_SHUFFLES + 1)) - 1  # the measured order counts as one of the shuffles
    rng = np.random.default_rng(0)
    last = max(runs[-1] for runs, _ in groups) + 1
    reached: list[float] = []
    for start in range(0, _SHUFFLES, _BATCH):
        keys = rng.random((min(_BATCH, _SHUFFLES - start), last))
        most = np.full(len(keys), -np.inf)
        for runs, series in groups:
            order = np.argsort(keys[:, runs], axis=1)
            shuffled = series.T[order].transpose(0, 2, 1).reshape(-1, len(runs))
            most = np.maximum(most, scan(shuffled).max(axis=1).reshape(len(keys), -1).max(axis=1))
        reached += most.tolist()
        if sum(value >= max(candidates) for value in reached) > allowed:
            return np.inf
    return sorted(reached)[-allowed - 1] + _MARGIN


def common(raw: np.ndarray) -> np.ndarray:
    """Return how much slower than usual the machine was in each run, from reads that involve no format.

    Parameters
    ----------
    raw : ndarray, shape (places, runs)
        Logarithms of the times of the raw ceiling; NaN where a run has none.

    Returns
    -------
    ndarray, shape (runs,)
        The median, over places, of the deviation from each place's own median. One run hardly changes a place's median.
        Only places that all runs have count; zeros if there is none.
    """
    everywhere = raw[~np.isnan(raw).any(axis=1)]
    if not len(everywhere):
        return np.zeros(raw.shape[1])
    return np.median(everywhere - np.median(everywhere, axis=1, keepdims=True), axis=0)


def shared(values: np.ndarray, machine: np.ndarray) -> float:
    """Return the share of the machine's changes from run to run that a series follows.

    Parameters
    ----------
    values : ndarray, shape (runs,)
        Logarithms of times.
    machine : ndarray, shape (runs,)
        From `common`, of the same runs.

    Returns
    -------
    float
        The slope, from 0 to 2, that fits the differences of successive runs with least absolute deviations, so that one
        step cannot tilt it. It is the median of their slopes, each weighted by the machine's difference (Laplace's
        "method of situation"). 0 if the series has only noise of its own, 1 if its ratio to the raw ceiling is steady.
    """
    own, theirs = np.diff(values), np.diff(machine)
    own, theirs = own[theirs != 0], theirs[theirs != 0]
    if not len(own):
        return 0.0
    slopes = own / theirs
    order = np.argsort(slopes, kind="stable")
    weights = np.cumsum(np.abs(theirs[order]))
    middle = int(np.searchsorted(weights, weights[-1] / 2))
    return float(np.clip(slopes[order[middle]], 0, 2))
