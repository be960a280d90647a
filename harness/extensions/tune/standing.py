"""Where candidates stand: what an access costs with each, by the mix and the samples taken so far."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.choice.costs import CostParts, control_floor, cost, needed
from harness.analysis.statistics import RESAMPLES, bounds, resampled_medians
from harness.analysis.table import SampleTable
from harness.extensions.tune.candidates import Candidate
from harness.extensions.tune.question import TuneQuestion
from harness.records import CONTROL, Sample

WRITE = ("write", "tensor_durable")
"""Suite and access of the samples of writing until the bytes are on disk."""

_GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Costs of candidates that were measured in the same rounds.

    Arrays have the shape (1 + RESAMPLES, candidates); row 0 is what was measured, the others are the same with rounds
    drawn anew, alike for all candidates. Times are in seconds and stand for the role's part of the whole trace.

    Attributes
    ----------
    labels : tuple of str
        The candidates.
    rounds : int
        How many each was measured in.
    total : ndarray
        The cost of one access, by the formula of the report.
    wait : ndarray
        The part of it that is reading.
    write : ndarray
        Seconds to write the role's tensors durably.
    gigabytes : ndarray, shape (candidates,)
        That they take.
    floor : float
        How far the A/A control lies from the present setting, as a logarithm of the cost; 0 without one.
    """

    labels: tuple[str, ...]
    rounds: int
    total: np.ndarray
    wait: np.ndarray
    write: np.ndarray
    gigabytes: np.ndarray
    floor: float

    def front(self) -> np.ndarray:
        """Say which candidates no other one is at least as good as in everything and better in one, the control aside.

        Returns
        -------
        ndarray of bool, shape (candidates,)
            By time to read, time to write and size; False for the control.
        """
        points = np.column_stack([self.wait[0], self.write[0], self.gigabytes])
        real = np.array([label != CONTROL for label in self.labels])
        no_worse = (points[:, None] <= points[None]).all(axis=2)
        better = (points[:, None] < points[None]).any(axis=2)
        return real & ~(no_worse & better & real[:, None]).any(axis=0)


def standing(question: TuneQuestion, samples: Sequence[Sample], chosen: Sequence[Candidate], rounds: int) -> Standing:
    """Work out where candidates stand after a number of rounds.

    Parameters
    ----------
    question : TuneQuestion
        What was asked.
    samples : sequence of Sample
        All that were taken for the role.
    chosen : sequence of Candidate
        Those measured in all of these rounds, the present setting among them; none that failed.
    rounds : int
        How many rounds count.

    Returns
    -------
    Standing
        The same for the same samples.
    """
    labels = tuple(candidate.label for candidate in chosen)
    times = _Times(samples, labels, rounds)
    scale = np.array([question.scale(candidate.layout) for candidate in chosen])
    reads, opening = {}, {}
    for access, cache in needed(question.use):
        measured = question.reads[access]
        place = (measured.suite, measured.access.name, cache)
        grown = scale if measured.grows else 1.0
        reads[access, cache] = times.medians(*place, "seconds", measured.repeats) * measured.factor * grown
        opening[access, cache] = times.medians(*place, "open_seconds", measured.repeats)
    parts = CostParts(
        trace="", n_res=None, profile="", formats=labels, reads=reads, opening=opening,
        readers={1: np.ones((1 + RESAMPLES, len(labels)))}, ceiling={},
        write=times.medians(*WRITE, "", "seconds") * question.factor * scale,
        gigabytes=times.sizes() * question.factor * scale / _GIGABYTE, absent=frozenset(), why={}, writes_from="",
    )  # fmt: skip
    use = question.use._replace(readers=1)
    total = cost(parts, use)
    present = next((c.label for c in chosen if c.present), "")
    assert parts.write is not None and parts.gigabytes is not None
    return Standing(
        labels=labels,
        rounds=rounds,
        total=total,
        wait=cost(parts, use._replace(writes_per_read=0)),
        write=parts.write,
        gigabytes=parts.gigabytes,
        floor=control_floor(parts, total, present) or 0.0,
    )


class _Times:
    """Samples of candidates as tables of rounds."""

    def __init__(self, samples: Iterable[Sample], labels: tuple[str, ...], rounds: int) -> None:
        self._labels, self._rounds = labels, rounds
        self._samples = [s for s in samples if s.status == "ok" and label_of(s) in labels]

    def medians(self, suite: str, access: str, cache: str, column: str, repeats: int = 1) -> np.ndarray:
        place, count = (suite, access, cache), self._rounds * repeats
        here = [s for s in self._samples if (s.suite, s.access, s.cache) == place and s.round < count]
        cells = {cell.contender: cell for case in SampleTable.of_samples(here).cases for cell in case.cells}
        table = np.full((len(self._labels), count), np.nan)
        for contender, cell in cells.items():
            label = CONTROL if contender.is_control else contender.profile
            table[self._labels.index(label), cell.rounds] = cell.columns[column][cell.timed]
        return resampled_medians(table, zlib.crc32(repr(place).encode()))

    def sizes(self) -> np.ndarray:
        found = {label_of(s): s.size_bytes for s in self._samples if (s.suite, s.access) == WRITE}
        return np.array([found.get(label) or np.nan for label in self._labels], float)


def label_of(sample: Sample) -> str:
    """Return the label of the candidate that a sample is of."""
    return CONTROL if sample.format == CONTROL else sample.profile


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is chosen for a role.

    Attributes
    ----------
    label : str
        The candidate.
    best : str
        The one with the lowest cost; another one where the two cannot be told apart.
    tied : tuple of str
        Those that cannot be told from the best one, itself not among them.
    ratio, low, high : float
        The cost of the chosen one against the present setting's, with its interval.
    """

    label: str
    best: str
    tied: tuple[str, ...]
    ratio: float
    low: float
    high: float


def choose(found: Standing, candidates: Sequence[Candidate]) -> Choice:
    """Choose by cost; where that cannot tell, the present setting or else the one that changes least.

    A candidate counts as worse than the best only when the interval of the ratio of the two costs, paired by round,
    lies beyond what the A/A control differs from the present setting.

    Parameters
    ----------
    found : Standing
        Of those that were measured to the end.
    candidates : sequence of Candidate
        All of the role.

    Returns
    -------
    Choice
        The same for the same standing.
    """
    changes = {candidate.label: (candidate.changes, k) for k, candidate in enumerate(candidates)}
    present = next(candidate.label for candidate in candidates if candidate.present)
    columns = [k for k, label in enumerate(found.labels) if label != CONTROL]
    best = min(columns, key=lambda k: (found.total[0, k], changes[found.labels[k]]))
    ratios = found.total / found.total[:, [best]]
    apart = np.log(bounds(ratios[1:])[0]) > found.floor
    tied = [k for k in columns if k != best and not apart[k]]
    chosen = min((best, *tied), key=lambda k: changes[found.labels[k]])
    against = found.total[:, chosen] / found.total[:, found.labels.index(present)]
    low, high = bounds(against[1:])
    return Choice(
        label=found.labels[chosen],
        best=found.labels[best],
        tied=tuple(found.labels[k] for k in tied),
        ratio=float(against[0]),
        low=float(low),
        high=float(high),
    )
