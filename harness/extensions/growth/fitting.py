"""Growth of times with the length of a trace: the exponent b of seconds ~ N**b, for each access and format."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.analysis.statistics import Interval
from harness.analysis.table import CaseKey, SampleTable
from harness.records import Contender

LEAST_LENGTHS = 3
"""Fewest lengths to which an exponent is fitted: two points always lie on a line."""

_LAW = 0.1  # relative deviation from a power of the length that is assumed for every time

GROWTH_COLUMNS = [
    "suite", "access", "trace", "cache", "executor", "workers", "format", "profile", "lengths", "shortest", "longest",
    "exponent", "exponent_low", "exponent_high", "coefficient", "largest_deviation",
]  # fmt: skip


def growth(table: SampleTable) -> pd.DataFrame:
    """Fit ``seconds = c * N**b`` to the medians of every access that was measured at three lengths or more.

    The fit is a line through the logarithms. The weight of a length is the inverse of a variance: that of the logarithm
    over resampled rounds, plus that of a 10 % deviation from the law. Intervals come from the same fit to each
    resample. They show how rounds vary, not whether another law holds: the largest deviation from the line shows that.

    Returns
    -------
    DataFrame
        Columns `GROWTH_COLUMNS`, a row for each access, state and format. `largest_deviation` is the largest relative
        deviation of a median from its line. The fit holds only between the shortest and the longest length.
    """
    groups: dict[CaseKey, dict[Contender, dict[int, np.ndarray]]] = {}
    for case in sorted((c for c in table.cases if c.case.n_res is not None), key=lambda c: c.case.n_res or 0):
        lengths = groups.setdefault(case.case._replace(n_res=None), {})
        for contender, medians in case.medians().items() if case.counted else ():
            if contender.competes:
                lengths.setdefault(contender, {})[case.case.n_res or 0] = medians
    found = []
    for key in dict.fromkeys(case.case._replace(n_res=None) for case in table.cases):
        for contender, times in groups.get(key, {}).items():
            if len(times) >= LEAST_LENGTHS:
                slopes, coefficient, deviation = fit(np.array([*times], float), np.array([*times.values()]))
                found.append(
                    key._asdict() | contender._asdict() | Interval.of_draws(slopes).columns("exponent") | {
                        "lengths": len(times), "shortest": min(times), "longest": max(times),
                        "coefficient": coefficient, "largest_deviation": deviation,
                    }
                )  # fmt: skip
    return pd.DataFrame(found, columns=GROWTH_COLUMNS)


def fit(lengths: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Fit a line through the logarithms of the measured times and of each resample.

    Parameters
    ----------
    lengths : ndarray, shape (lengths,)
        In residues, all different.
    times : ndarray, shape (lengths, 1 + resamples)
        Seconds; column 0 holds the measured times.

    Returns
    -------
    slopes : ndarray, shape (1 + resamples,)
        The exponents.
    coefficient : float
        Seconds at a length of 1 on the line through the measured times.
    deviation : float
        The largest relative deviation of a measured time from its line.
    """
    x, y = np.log(lengths), np.log(times)
    # No time follows a power of the length more closely than `_LAW`. Without it, one quiet median outweighs all others.
    weights = 1 / (y[:, 1:].var(axis=1) + _LAW**2)
    centre, middle = (weights @ x) / weights.sum(), (weights @ y) / weights.sum()
    slopes = (weights * (x - centre)) @ y / (weights @ (x - centre) ** 2)
    line = middle[0] + slopes[0] * (x - centre)
    coefficient = float(np.exp(middle[0] - slopes[0] * centre))
    return slopes, coefficient, float(np.expm1(np.abs(y[:, 0] - line)).max())
