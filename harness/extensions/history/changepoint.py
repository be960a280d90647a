"""Steps in many series of the same runs: levels that change and stay, and not outliers, drift or chance.

A series is fitted by constants with absolute deviations, as asv's ``step_detect`` does (Virtanen 2016), so that a
single disturbed run moves no level. Every place between two runs is looked at through windows of several lengths,
because a whole series hides a level that came and went again (Fleming et al. 2023 on Hunter; Kovács et al. 2023 on
deterministic intervals), and what is found splits the series in two, each searched again (binary segmentation,
Vostrikova 1981).
Chance is excluded for all series together: the order of runs is shuffled, alike in every series, and a step counts only
when hardly any shuffle has one as clear anywhere (Westfall & Young 1993; permutations as in the E-divisive method of
Matteson & James 2014). That needs no distribution and keeps what series share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIDE = 5
"""Runs that a level needs on either side of a step; fewer are outliers."""

LEAST_RUNS = 2 * SIDE + 1
"""Runs from which on a step can be found: 10 can be ordered so that they look like one by chance too often."""

FALSE_ALARMS = 0.01
"""How often a history without any step, of however many cells, may be said to have one."""

_WINDOWS = ((20, 5), (20, 20), (5, 20))  # runs before and after; fewer where there are fewer
_SHUFFLES = 499
_BATCH = 20
_FINEST = 1e-3  # a mean deviation below 0.1 % is not believed
_FAR = 3.0
_MARGIN = float(np.log(10))  # runs are not quite exchangeable: what lasts from run to run makes shuffles look too calm
_SPREAD_OF_DIFFERENCES = 0.954  # median size of the difference of two standard normal values


@dataclass(frozen=True, kw_only=True)
class Change:
    """A step in a series."""

    place: int  # Number of the first value after it.
    shift: float  # What the medians of the windows that show it best differ by, in the unit of the series.
    evidence: float  # The statistic of `scan`.


def scan(values: np.ndarray) -> np.ndarray:
    """Say how clearly each place of a series is a step.

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        Logarithms of times, say.

    Returns
    -------
    ndarray, shape (series, runs)
        For the place before each run, the largest over windows of ``(m - 2) log(S0 / S1)``: of ``m`` runs, ``S0`` is
        the sum of absolute deviations from one median, ``S1`` that from two, one before and one after. Under Laplacian
        noise this is the likelihood ratio, and shares its scale between window lengths. Minus infinity where a side
        has fewer than `SIDE` runs.
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
    """Return sums of absolute deviations from the median: the upper half minus the lower half."""
    count = values.shape[1]
    ordered = np.partition(values, count // 2, axis=1)
    return ordered[:, -(count // 2) :].sum(axis=1) - ordered[:, : count // 2].sum(axis=1)


def find_changes(values: np.ndarray, witnesses: Sequence[np.ndarray], least: float) -> list[list[Change]]:
    """Find the steps of all series of a history.

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        In the order of runs; NaN where a run has none.
    witnesses : sequence of ndarray, shape (series, runs)
        Other measures of the same, such as the time and its ratio to the raw ceiling: a step counts only where each
        moves the same way, by half as much at least. NaN where `values` are.
    least : float
        The smallest shift that counts, in the unit of the series.

    Returns
    -------
    list of list of Change
        For each series, in the order of runs. Equal arguments give equal results.
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
    """Return the clearest place of a series whose shift is large enough and that its witnesses, below it, confirm."""
    count = measures.shape[1]
    for place in np.argsort(-evidence, kind="stable"):
        if not evidence[place] > -np.log(FALSE_ALARMS):  # less does not exclude chance at this one place
            break
        start, stop = _window(measures[0], int(place))
        near = measures[:, start:stop]
        # A few runs at an end that differ are no level yet, and make the places next to them look like one.
        cut = max(range(1, stop - start), key=lambda cut: _evidence(near[0], cut))
        if not SIDE <= start + cut <= count - SIDE:
            continue
        shifts = np.median(near[:, cut:], axis=1) - np.median(near[:, :cut], axis=1)
        if abs(shifts[0]) >= least and (shifts * np.sign(shifts[0]) >= abs(shifts[0]) / 2).all():
            return Change(place=start + cut, shift=float(shifts[0]), evidence=float(evidence[place]))
    return None


def _window(values: np.ndarray, place: int) -> tuple[int, int]:
    """Return the ends of the window that shows a place best."""
    windows = {(max(0, place - before), min(len(values), place + after)) for before, after in _WINDOWS}
    return max(sorted(windows), key=lambda ends: _evidence(values[ends[0] : ends[1]], place - ends[0]))


def _evidence(values: np.ndarray, cut: int) -> float:
    one, *two = (float(np.abs(part - np.median(part)).sum()) for part in (values, values[:cut], values[cut:]))
    least = len(values) * _FINEST
    return (len(values) - 2) * float(np.log(max(one, least) / max(sum(two), least)))


def calm(values: np.ndarray) -> np.ndarray:
    """Draw single outliers in, so that they do not hide a step: Hampel's filter (Davies & Gather 1993).

    Parameters
    ----------
    values : ndarray, shape (series, runs)
        At least three runs.

    Returns
    -------
    ndarray, shape (series, runs)
        A value is at most `_FAR` times the spread from run to run away from the median of the five runs around it. A
        level that stays is not touched.
    """
    around = np.pad(values, ((0, 0), (2, 2)), mode="symmetric")
    middle = np.median([around[:, k : k + values.shape[1]] for k in range(5)], axis=0)
    spread = np.median(np.abs(np.diff(values, axis=1)), axis=1, keepdims=True) / _SPREAD_OF_DIFFERENCES
    return np.clip(values, middle - _FAR * spread, middle + _FAR * spread)


def _split(measures: np.ndarray, first: Change | None, limit: float, least: float) -> list[Change]:
    """Return a step that is clear enough, with those on either side of it."""
    if first is None or not first.evidence > limit:
        return []
    found = [first]
    for start, side in ((0, measures[:, : first.place]), (first.place, measures[:, first.place :])):
        if side.shape[1] >= 2 * SIDE:
            inner = _split(side, _clearest(side, scan(side[:1])[0], least), limit, least)
            found += [Change(place=start + c.place, shift=c.shift, evidence=c.evidence) for c in inner]
    return sorted(found, key=lambda change: change.place)


def _limit(groups: Sequence[tuple[np.ndarray, np.ndarray]], candidates: Sequence[float]) -> float:
    """Return ten times the evidence that shuffled histories reach in at most a part `FALSE_ALARMS` of cases.

    Groups are the numbers of the runs that some series have, with those series. When shuffles exceed all candidates too
    often, the rest of them is left out and the limit is infinite.
    """
    if not candidates:
        return np.inf
    allowed = int(FALSE_ALARMS * (_SHUFFLES + 1)) - 1  # the order that was measured is one of them
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
    """Return how much slower the machine was in each run than usual, from what no format has a part in.

    Parameters
    ----------
    raw : ndarray, shape (places, runs)
        Logarithms of the times of the raw ceiling; NaN where a run has none.

    Returns
    -------
    ndarray, shape (runs,)
        The median over places of the deviation from each place's own median, which is one run's small part of any;
        zeros without a place that all runs have.
    """
    everywhere = raw[~np.isnan(raw).any(axis=1)]
    if not len(everywhere):
        return np.zeros(raw.shape[1])
    return np.median(everywhere - np.median(everywhere, axis=1, keepdims=True), axis=0)


def shared(values: np.ndarray, machine: np.ndarray) -> float:
    """Return how much of what the machine did from run to run a series did too.

    Parameters
    ----------
    values : ndarray, shape (runs,)
        Logarithms of times.
    machine : ndarray, shape (runs,)
        From `common`, of the same runs.

    Returns
    -------
    float
        The slope, from 0 to 2, that fits the differences of successive runs with least absolute deviations, which one
        step cannot tilt: the median of their slopes, each weighted by the machine's difference (Laplace's "method of
        situation"). 0 where the series has noise of its own only, 1 where its ratio to the raw ceiling is steady.
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
