"""How times grow with the length of a trace: the exponent b of seconds ~ N**b, for each access and format."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.analysis.statistics import Interval
from harness.analysis.table import CaseKey, SampleTable
from harness.records import Contender

LEAST_LENGTHS = 3
"""Lengths from which on an exponent is fitted: through two points goes every line."""

_LAW = 0.1  # relative deviation from a power of the length that any time is taken to have

GROWTH_COLUMNS = [
    "suite", "access", "trace", "cache", "executor", "workers", "format", "profile", "lengths", "shortest", "longest",
    "exponent", "exponent_low", "exponent_high", "coefficient", "largest_deviation",
]  # fmt: skip


def growth(table: SampleTable) -> pd.DataFrame:
    """Fit ``seconds = c * N**b`` to the medians of every access that was measured at three lengths or more.

    A line through the logarithms, each length weighted by the inverse of the variance of its logarithm over resampled
    rounds, to which that of a deviation from the law by 10 % is added. Intervals are of the same fit to each resample,
    so they show how rounds vary, and not that the law may be another: the largest deviation from the line shows that.

    Returns
    -------
    DataFrame
        Columns `GROWTH_COLUMNS`, a row for each access, state and format; `largest_deviation` is that of a median
        from its line, relative. It holds between the shortest and the longest length and says nothing beyond.
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
    """Fit a line through logarithms, to what was measured and to each resample.

    Parameters
    ----------
    lengths : ndarray, shape (lengths,)
        In residues, no two alike.
    times : ndarray, shape (lengths, 1 + resamples)
        Seconds; column 0 is what was measured.

    Returns
    -------
    slopes : ndarray, shape (1 + resamples,)
        The exponents.
    coefficient : float
        Seconds that the line through what was measured has at a length of 1.
    deviation : float
        The largest relative deviation of a measured time from its line.
    """
    x, y = np.log(lengths), np.log(times)
    # No time is a power of the length to better than that: a median of a quiet moment does not outweigh all others.
    weights = 1 / (y[:, 1:].var(axis=1) + _LAW**2)
    centre, middle = (weights @ x) / weights.sum(), (weights @ y) / weights.sum()
    slopes = (weights * (x - centre)) @ y / (weights @ (x - centre) ** 2)
    line = middle[0] + slopes[0] * (x - centre)
    coefficient = float(np.exp(middle[0] - slopes[0] * centre))
    return slopes, coefficient, float(np.expm1(np.abs(y[:, 0] - line)).max())
