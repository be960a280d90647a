"""How times grow with the length of a trace: the exponent b of seconds ~ N**b, for each access and format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.statistics import bounds
from harness.analysis.table import CaseSamples, SampleTable

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

    Parameters
    ----------
    table : SampleTable
        The samples of a run.

    Returns
    -------
    DataFrame
        Columns `GROWTH_COLUMNS`, a row for each access, state and format; `largest_deviation` is that of a median
        from its line, relative. It holds between the shortest and the longest length and says nothing beyond.
    """
    groups: dict[tuple[Any, ...], list[CaseSamples]] = {}
    for case in table.cases:
        if case.case.n_res is not None and case.counted:
            groups.setdefault(case.case._replace(n_res=None), []).append(case)
    found = []
    for cases in groups.values():
        if len(cases) >= LEAST_LENGTHS:
            found += _fits(sorted(cases, key=lambda case: case.case.n_res or 0))
    return pd.DataFrame(found, columns=GROWTH_COLUMNS)


def _fits(cases: Sequence[CaseSamples]) -> list[dict[str, Any]]:
    rows = []
    for contender in dict.fromkeys(contender for case in cases for contender in case.counted if contender.competes):
        there = [(case.case.n_res, case.medians()[contender]) for case in cases if contender in case.counted]
        if len(there) < LEAST_LENGTHS:
            continue
        lengths, times = np.array([n for n, _ in there], float), np.array([t for _, t in there])
        slopes, coefficient, deviation = fit(lengths, times)
        low, high = bounds(slopes[1:])
        row = cases[0].case._asdict() | contender._asdict() | {
            "lengths": len(there), "shortest": int(lengths[0]), "longest": int(lengths[-1]),
            "exponent": float(slopes[0]), "exponent_low": float(low), "exponent_high": float(high),
            "coefficient": coefficient, "largest_deviation": deviation,
        }  # fmt: skip
        rows.append({name: row[name] for name in GROWTH_COLUMNS})
    return rows


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
    spread = y[:, 1:].var(axis=1)
    # No time is a power of the length to better than that: a median of a quiet moment does not outweigh all others.
    weights = 1 / (spread + _LAW**2)
    centre = (weights @ x) / weights.sum()
    middle = (weights @ y) / weights.sum()
    slopes = (weights * (x - centre)) @ y / (weights @ (x - centre) ** 2)
    line = middle[0] + slopes[0] * (x - centre)
    coefficient = float(np.exp(middle[0] - slopes[0] * centre))
    return slopes, coefficient, float(np.expm1(np.abs(y[:, 0] - line)).max())


def section(table: pd.DataFrame) -> dict[str, Any] | None:
    """Put the exponents of reads by one thread, and of writes, into a table of the page; None where there are none."""
    shown = table[(table["executor"] == "main") | (table["executor"] == "")]
    if shown.empty:
        return None
    names = list(dict.fromkeys(_arm(row) for row in shown.to_dict("records")))
    cases: dict[tuple[str, str], dict[str, str]] = {}
    for row in shown.to_dict("records"):
        case = " ".join(filter(None, (f"{row['suite']}/{row['access']}", row["cache"])))
        text = f"{row['exponent']:.2f} ({row['exponent_low']:.2f} to {row['exponent_high']:.2f})"
        cases.setdefault((words.pretty_trace(row["trace"]), case), {})[_arm(row)] = text
    worst = max(shown.to_dict("records"), key=lambda row: float(row["largest_deviation"]))
    lengths = f"{int(shown['shortest'].min())} to {int(shown['longest'].max())} residues"
    return {
        "text": [
            "The exponent b of seconds ~ N^b with its 95 % interval over rounds, fitted to the lengths that were "
            f"measured, {lengths}; it says nothing beyond them. "
            "2 is growth with the number of residue pairs, 0 no growth.",
            f"No time is further than {100 * float(worst['largest_deviation']):.0f} % from its line "
            f"({_arm(worst)}, {worst['suite']}/{worst['access']}): where that is much, the growth is no power "
            "of the length, as fixed costs at short lengths make it.",
        ],
        "columns": ["Trace", "Case", *names],
        "rows": [[trace, case, *(found.get(name, "") for name in names)] for (trace, case), found in cases.items()],
    }


def _arm(row: dict[Any, Any]) -> str:
    return str(row["format"]) if row["profile"] in ("", "tuned") else f"{row['format']} {row['profile']}"
