"""Costs of an access with each candidate from the samples so far; elimination of candidates, and the final choice.

Successive halving (Jamieson & Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016):
few rounds for all candidates, twice as many for those that remain. There are two changes. Candidates on the Pareto
front are never dropped, because another use may need them. The present setting is never dropped either.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import pandas as pd

from harness.analysis.choice.costs import GIGABYTE, CostParts, control_floor, cost, needed
from harness.analysis.statistics import Interval, bounds, resampled_medians
from harness.extensions.tune.candidates import Candidate
from harness.extensions.tune.question import TuneQuestion
from harness.records import CONTROL, Sample

WRITE = ("write", "tensor_durable", "")
"""Suite, access and cache state of samples of durable writes."""

FEW = 4
"""Number of candidates that are not halved further."""

_LEAST_ROUNDS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateCosts:
    """Costs of candidates that were measured in the same rounds.

    Arrays have the shape (1 + RESAMPLES, candidates). Row 0 holds the measured values, the others those of resampled
    rounds, drawn alike for all candidates. Times are in seconds, for the role's part of the complete trace.
    """

    candidates: Sequence[Candidate]  # The columns, the present setting first.
    # The cost of one access, by the formula of the report, and the part of it that is reading.
    total: np.ndarray
    wait: np.ndarray
    write: np.ndarray  # Seconds to write the role's tensors durably.
    gigabytes: np.ndarray  # Size of the role's tensors, shape (candidates,).
    floor: float  # Distance of the A/A control from the present setting, as a logarithm of the cost; 0 without one.

    def front(self) -> np.ndarray:
        """Return which candidates are on the Pareto front by time to read, time to write and size.

        No other candidate is at least as good in all three and better in one. False for the control, which does not
        count.
        """
        points = np.column_stack([self.wait[0], self.write[0], self.gigabytes])
        real = np.array([not candidate.is_control for candidate in self.candidates])
        no_worse = (points[:, None] <= points[None]).all(axis=2)
        better = (points[:, None] < points[None]).any(axis=2)
        return real & ~(no_worse & better & real[:, None]).any(axis=0)


def by_label(samples: Sequence[Sample]) -> pd.DataFrame:
    """Return samples as a table, with the label of the candidate of each."""
    table = pd.DataFrame(samples)
    return table.assign(label=table["profile"].where(table["format"] != CONTROL, CONTROL))


def candidate_costs(
    question: TuneQuestion, samples: Sequence[Sample], chosen: Sequence[Candidate], rounds: int
) -> CandidateCosts:
    """Compute the costs of candidates after a number of rounds.

    Parameters
    ----------
    question : TuneQuestion
        The question for the role.
    samples : sequence of Sample
        All samples taken for the role.
    chosen : sequence of Candidate
        Candidates that were measured in all of these rounds, the present setting first, without failed ones.
    rounds : int
        Number of rounds that count.
    """
    labels = [candidate.label for candidate in chosen]
    good = by_label(samples).query("status == 'ok' and label in @labels")

    def medians(place: tuple[str, str, str], column: str, repeats: int = 1) -> np.ndarray:
        count = rounds * repeats
        here = good[(good[["suite", "access", "cache"]] == list(place)).all(axis=1) & (good["round"] < count)]
        table = here.pivot(index="label", columns="round", values=column).reindex(index=labels, columns=range(count))
        return resampled_medians(table.to_numpy(float), zlib.crc32(repr(place).encode()))

    scale = np.array([question.scale(candidate.layout) for candidate in chosen])
    reads, opening = {}, {}
    for access, cache in needed(question.use):
        measured = question.reads[access]
        place = (measured.suite, measured.access.name, cache)
        grown = scale if measured.grows else 1.0
        reads[access, cache] = medians(place, "seconds", measured.repeats) * measured.factor * grown
        opening[access, cache] = medians(place, "open_seconds", measured.repeats)
    write = medians(WRITE, "seconds") * question.factor * scale
    sizes = good[good["suite"] == WRITE[0]].groupby("label")["size_bytes"].last().reindex(labels).to_numpy(float)
    gigabytes = sizes * question.factor * scale / GIGABYTE
    parts = CostParts(formats=tuple(labels), reads=reads, opening=opening, write=write, gigabytes=gigabytes)
    use = question.use._replace(readers=1)
    total = cost(parts, use)
    return CandidateCosts(
        candidates=chosen, total=total, wait=cost(parts, use._replace(writes_per_read=0)), write=write,
        gigabytes=gigabytes, floor=control_floor(parts, total, labels[0]) or 0.0,
    )  # fmt: skip


def stages(count: int, rounds: int) -> list[int]:
    """Return the numbers of rounds after which candidates are compared.

    Parameters
    ----------
    count : int
        Number of candidates.
    rounds : int
        Number of rounds for the last candidates.

    Returns
    -------
    list of int
        In increasing order, ending with `rounds`; each about twice the one before, none below two unless `rounds` is.
    """
    halvings = max(0, ceil(log2(max(count, 1) / FEW)))
    least = min(_LEAST_ROUNDS, rounds)
    return sorted({max(least, ceil(rounds / 2**k)) for k in range(halvings + 1)})


def survivors(found: CandidateCosts) -> list[Candidate]:
    """Return the cheaper half of the candidates, those on the front, the present setting and the A/A control.

    At least `FEW` candidates remain.
    """
    real = [k for k, candidate in enumerate(found.candidates) if not candidate.is_control]
    by_cost = sorted(real, key=lambda k: (np.nan_to_num(found.total[0, k], nan=np.inf), k))
    kept = set(by_cost[: max(FEW, ceil(len(real) / 2))]) | set(np.flatnonzero(found.front()))
    return [c for k, c in enumerate(found.candidates) if k in kept or c.changes == 0]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choice for a role."""

    # The chosen candidate and the one with the lowest cost; they differ only if they are statistically
    # indistinguishable.
    chosen: Candidate
    best: Candidate
    tied: tuple[Candidate, ...]  # Candidates that are indistinguishable from the best one, without itself.
    ratio: Interval  # Cost of the chosen candidate divided by that of the present setting.


def choose(found: CandidateCosts) -> Choice:
    """Choose by cost; among indistinguishable candidates, choose the present setting or the one with fewest changes.

    A candidate counts as worse than the best only if the interval of the ratio of the two costs, paired by round, lies
    beyond the difference between the A/A control and the present setting.
    """
    of = found.candidates
    columns = [k for k, candidate in enumerate(of) if not candidate.is_control]
    best = min(columns, key=lambda k: (found.total[0, k], of[k].changes, k))
    worse = np.log(bounds(found.total[1:] / found.total[1:, [best]])[0]) > found.floor
    tied = [k for k in columns if k != best and not worse[k]]
    chosen = min((best, *tied), key=lambda k: (of[k].changes, k))
    return Choice(
        chosen=of[chosen],
        best=of[best],
        tied=tuple(of[k] for k in tied),
        ratio=Interval.of_draws(found.total[:, chosen] / found.total[:, 0]),
    )
