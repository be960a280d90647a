"""The verdict of a comparison: which cells became slower, which did not, and how many rounds would settle the rest."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.statistics import Comparison, Interval, interval_ends, signed_rank_p
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge
from harness.compare.question import Cell
from harness.compare.rounds import Block

THRESHOLD = 0.10
"""The slowdown that matters: a green comparison rules it out, and it is found. A suspicion begins at half of it."""

AGREEMENT = 0.05
"""Two-sided significance at which fresh rounds agree with a suspicion."""

MOST_ROUNDS = 1000
"""Beyond this, more rounds are no answer."""

MOST_LOOKS = 4
"""Times as many rounds as a comparison begins with are taken of a cell that stays open."""

Word = Literal["slower", "faster", "no regression", "inconclusive"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the rounds say of one cell.

    Attributes
    ----------
    cell : Cell
        Which.
    ratio : Interval
        Time of head over base's.
    log_ratios : tuple of float
        Its natural logarithm in each round; empty where rounds are not paired.
    rounds : int
        How many count.
    base_seconds, head_seconds : float
        Medians over rounds.
    word : str
        ``slower``: the estimate lies beyond half the threshold and chance is excluded. ``no regression``: the interval
        lies below the threshold. ``faster``: that, and faster by more than half the threshold, with chance excluded.
        ``inconclusive``: none of these.
    rounds_needed : int or None
        How many rounds in all would most likely settle an inconclusive cell; None for one that is settled, and where
        no practical number would.
    note : str
        What else is to say, such as that a suspicion was not confirmed.
    """

    cell: Cell
    ratio: Interval
    log_ratios: tuple[float, ...]
    rounds: int
    base_seconds: float
    head_seconds: float
    word: Word
    rounds_needed: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paired:
    """Times of one cell, round by round.

    Attributes
    ----------
    log_ratios, base, head : ndarray, shape (rounds,)
        Natural logarithm of head's time over base's, and the times, in seconds.
    """

    log_ratios: np.ndarray
    base: np.ndarray
    head: np.ndarray


def pair(blocks: Sequence[Block]) -> dict[Cell, Paired]:
    """Reduce blocks to one figure a round: the ratio of the fastest repetitions that either side had in it.

    Parameters
    ----------
    blocks : sequence of Block
        Of any number of cells and rounds.

    Returns
    -------
    dict of Cell to Paired
        Rounds in order; one in which a side has no block is left out.
    """
    table: dict[Cell, dict[int, dict[str, dict[int, float]]]] = {}
    for block in blocks:
        sides = table.setdefault(block.cell, {}).setdefault(block.round, {})
        sides.setdefault(block.side, {})[block.number] = block.seconds
    found = {}
    for cell, rounds in sorted(table.items()):
        rows = []
        for _, sides in sorted(rounds.items()):
            base, head = sides.get("base", {}), sides.get("head", {})
            if both := sorted(set(base) & set(head)):
                before, after = (min(times[k] for k in both) for times in (base, head))
                rows.append((math.log(after / before), before, after))
        if rows:
            logs, base_times, head_times = np.array(rows).T
            found[cell] = Paired(log_ratios=logs, base=base_times, head=head_times)
    return found


def decide(paired: Mapping[Cell, Paired], threshold: float = THRESHOLD) -> list[Judged]:
    """Put every cell into a word, all together, because each is a chance to be wrong.

    Chance and false discoveries are controlled as in a run's report (`harness.analysis.verdict.judge`), with half the
    threshold as the difference below which none is reported.

    Parameters
    ----------
    paired : mapping of Cell to Paired
        From `pair`.
    threshold : float
        As a part of base's time.

    Returns
    -------
    list of Judged
        In the order of `paired`.
    """
    comparisons = [Comparison.of(found.log_ratios) for found in paired.values()]
    floor = Floor(difference=math.log1p(threshold / 2))
    words = judge(comparisons, [floor] * len(comparisons))
    judged = []
    for (cell, found), comparison, word in zip(paired.items(), comparisons, words, strict=True):
        said = _word(comparison, word, threshold)
        judged.append(
            Judged(
                cell=cell,
                ratio=comparison.ratio,
                log_ratios=tuple(found.log_ratios.tolist()),
                rounds=len(found.log_ratios),
                base_seconds=float(np.median(found.base)),
                head_seconds=float(np.median(found.head)),
                word=said,
                rounds_needed=rounds_needed(comparison.log_ratios, threshold) if said == "inconclusive" else None,
            )
        )
    return judged


def _word(comparison: Comparison, word: str, threshold: float) -> Word:
    if word == "slower":
        return "slower"
    if comparison.rounds < VERDICT_ROUNDS or comparison.ratio.high > 1 + threshold:
        return "inconclusive"
    return "faster" if word == "faster" else "no regression"


def rounds_needed(logs: np.ndarray, threshold: float) -> int | None:
    """Say with how many rounds in all a cell would most likely be settled, were later rounds like these.

    Settled is a cell whose interval ends below the threshold, or whose estimate lies beyond half of it and whose
    interval begins above 1. The interval of a median shrinks with the root of the number of rounds; its half width is
    taken from these rounds, and has to be at most the way from the estimate to whichever of the two is nearer.

    Parameters
    ----------
    logs : ndarray, shape (rounds,)
        Of ratios.
    threshold : float
        As a part of base's time.

    Returns
    -------
    int or None
        None where it would be more than `MOST_ROUNDS`, or too few rounds show no spread.
    """
    count = len(logs)
    median = float(np.median(logs))
    low, high = interval_ends(np.sort(logs))
    half = max(float(high - low) / 2, 1e-6)
    ways = [math.log1p(threshold) - median]
    if median > math.log1p(threshold / 2):
        ways.append(median)
    way = max(ways)
    if count < 2 or way <= 0:
        return None
    needed = max(count + 1, VERDICT_ROUNDS, math.ceil(count * (half / way) ** 2 * 1.1))
    return needed if needed <= MOST_ROUNDS else None


def settle(
    take: Callable[[range, Collection[Cell] | None], Sequence[Block]], rounds: int, threshold: float = THRESHOLD
) -> list[Judged]:
    """Take rounds, and more for the cells that these do not settle or show to be slower: as many, then twice as many.

    Parameters
    ----------
    take : callable
        Takes the rounds of these numbers, of some cells or, with None, of all, and returns their blocks.
    rounds : int
        How many to begin with; `MOST_LOOKS` times as many at most.
    threshold : float
        As for `decide`.

    Returns
    -------
    list of Judged
        Every cell, ``slower`` only where fresh rounds confirmed it. No more are taken once one is.
    """
    blocks = list(take(range(rounds), None))
    judged = latest = decide(pair(blocks), threshold)
    ends = (rounds, 2 * rounds, MOST_LOOKS * rounds)
    for start, stop in itertools.pairwise(ends):
        unsettled = {one.cell for one in judged if one.word in ("slower", "inconclusive")}
        confirmed = start > rounds and any(one.word == "slower" for one in judged)
        if confirmed or not unsettled:
            break
        fresh = take(range(start, stop), unsettled)
        blocks += fresh
        before = {one.cell: one for one in latest}  # what all rounds until now say
        latest = decide(pair([block for block in blocks if block.cell in unsettled]), threshold)
        first = [before[one.cell] if one.cell in unsettled else one for one in judged]
        judged = confirm(first, decide(pair(fresh), threshold), latest, threshold)
    return judged


def confirm(
    first: Sequence[Judged], again: Sequence[Judged], pooled: Sequence[Judged], threshold: float = THRESHOLD
) -> list[Judged]:
    """Let a suspicion stand only where fresh rounds show it too.

    Two equal sides are suspected in at most 0.5 % of cells, and the fresh rounds, which know nothing of the first,
    agree with at most 2.5 % of these: about one cell in 8000 is red by chance, and one in 4000 where `settle` confirms
    twice.

    Parameters
    ----------
    first : sequence of Judged
        All cells, from the rounds before.
    again : sequence of Judged
        Those that were measured again, from the fresh rounds alone.
    pooled : sequence of Judged
        The same from all rounds.
    threshold : float
        As for `decide`.

    Returns
    -------
    list of Judged
        A cell that was slower at first, that fresh rounds alone agree with (beyond half the threshold, at
        `AGREEMENT`), and that is slower in all rounds together, is ``slower``; any other is what all rounds say, but
        never ``slower``.
    """
    second, together = ({judged.cell: judged for judged in found} for found in (again, pooled))
    settled = []
    for judged in first:
        if judged.cell not in second:
            settled.append(judged)
            continue
        both = together[judged.cell]
        if judged.word == both.word == "slower" and _agrees(second[judged.cell], threshold):
            settled.append(_with(both, "slower", "confirmed by fresh rounds"))
        elif both.word == "slower":
            settled.append(_with(both, "inconclusive", "slower in only one of two measurements"))
        elif judged.word == "slower":
            settled.append(_with(both, both.word, "a suspicion that fresh rounds did not confirm"))
        else:
            settled.append(both)
    return settled


def _agrees(fresh: Judged, threshold: float) -> bool:
    return fresh.ratio.median > 1 + threshold / 2 and signed_rank_p(np.array(fresh.log_ratios)) <= AGREEMENT


def _with(judged: Judged, word: Word, note: str) -> Judged:
    needed = judged.rounds_needed if word == "inconclusive" else None
    if word == "inconclusive" and needed is None:
        needed = 2 * judged.rounds
    return dataclasses.replace(judged, word=word, rounds_needed=needed, note=note)
