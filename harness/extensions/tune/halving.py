"""Successive halving: few rounds for all candidates, twice as many for those that remain.

Jamieson & Talwalkar, Non-stochastic best arm identification and hyperparameter optimization (2016), with two changes:
a candidate on the Pareto front is never dropped, for another use may want it, and neither is the present setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import numpy as np

from harness.extensions.tune.candidates import Candidate
from harness.extensions.tune.standing import Standing
from harness.records import CONTROL

FEW = 4
"""Candidates that are not halved any more."""

_LEAST_ROUNDS = 2


def stages(count: int, rounds: int) -> list[int]:
    """Return after how many rounds candidates are compared.

    Parameters
    ----------
    count : int
        How many candidates there are.
    rounds : int
        How many rounds the last ones get.

    Returns
    -------
    list of int
        Rising, the last one `rounds`; each about twice the one before, none below two unless `rounds` is.
    """
    halvings = max(0, ceil(log2(max(count, 1) / FEW)))
    least = min(_LEAST_ROUNDS, rounds)
    return sorted({max(least, ceil(rounds / 2**k)) for k in range(halvings + 1)})


def survivors(found: Standing, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Drop the half that costs more, except for what is on the front, the present setting and the A/A control.

    Parameters
    ----------
    found : Standing
        Of the candidates.
    candidates : sequence of Candidate
        In the same order.

    Returns
    -------
    list of Candidate
        In the same order.
    """
    real = [k for k, label in enumerate(found.labels) if label != CONTROL]
    by_cost = sorted(real, key=lambda k: (np.nan_to_num(found.total[0, k], nan=np.inf), k))
    kept = set(by_cost[: max(FEW, ceil(len(real) / 2))]) | set(np.flatnonzero(found.front()))
    return [c for k, c in enumerate(candidates) if k in kept or c.present or c.label == CONTROL]
