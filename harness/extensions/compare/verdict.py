"""Verdicts of a comparison: cells that became slower, cells that did not, and rounds that would settle the rest."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from harness.analysis.statistics import Comparison, compare, interval_ends, signed_rank_p
from harness.analysis.verdict import VERDICT_ROUNDS, Floor, judge
from harness.extensions.compare.outcome import MOST_LOOKS, THRESHOLD, Entry
from harness.extensions.compare.question import Cell
from harness.extensions.compare.record import Block

AGREEMENT = 0.05
"""Two-sided significance at which fresh rounds confirm a suspicion."""

MOST_ROUNDS = 1000
"""Largest number of rounds to suggest; beyond it, more rounds are no answer."""


def pair(blocks: Sequence[Block]) -> dict[Cell, np.ndarray]:
    """Reduce blocks to the fastest repetitions of base and head in each round.

    Parameters
    ----------
    blocks : sequence of Block
        Blocks of any number of cells and rounds.

    Returns
    -------
    dict of Cell to ndarray, shape (rounds, 2)
        Seconds, rounds in order. Only blocks that both sides have count; a round without one is left out.
    """
    rounds: dict[tuple[Cell, int], dict[int, dict[str, float]]] = {}
    for block in blocks:
        rounds.setdefault((block.cell, block.round), {}).setdefault(block.number, {})[block.side] = block.seconds
    found: dict[Cell, list[np.ndarray]] = {}
    for (cell, _), numbers in sorted(rounds.items()):
        if both := [(sides["base"], sides["head"]) for sides in numbers.values() if len(sides) == 2]:
            found.setdefault(cell, []).append(np.min(both, axis=0))
    return {cell: np.array(times) for cell, times in found.items()}


def decide(paired: Mapping[Cell, np.ndarray], threshold: float = THRESHOLD) -> list[Entry]:
    """Return the verdict of every cell; all are judged together, because each is a chance to be wrong.

    Chance and false discoveries are controlled as in a run's report (`harness.analysis.verdict.judge`). No difference
    below half the threshold is reported.

    Parameters
    ----------
    paired : mapping of Cell to ndarray
        From `pair`.
    threshold : float
        As a fraction of base's time.

    Returns
    -------
    list of Entry
        In the order of `paired`.
    """
    comparisons = [compare(times[:, 1], times[:, 0]) for times in paired.values()]
    words = judge(comparisons, [Floor(difference=math.log1p(threshold / 2))] * len(comparisons))
    judged = []
    for (cell, times), comparison, word in zip(paired.items(), comparisons, words, strict=True):
        verdict, ratio = _word(comparison, word, threshold), comparison.ratio
        logs = comparison.log_ratios
        judged.append(
            Entry(
                kind="times",
                cell=cell,
                verdict=verdict,
                ratio=ratio.median,
                ratio_low=ratio.low,
                ratio_high=ratio.high,
                base=float(np.median(times[:, 0])),
                head=float(np.median(times[:, 1])),
                rounds=len(times),
                rounds_needed=rounds_needed(logs, threshold) if verdict == "inconclusive" else None,
                log_ratios=tuple(logs.tolist()),
            )
        )
    return judged


def _word(comparison: Comparison, word: str, threshold: float) -> str:
    if word == "slower":
        return "slower"
    if comparison.rounds < VERDICT_ROUNDS or comparison.ratio.high > 1 + threshold:
        return "inconclusive"
    return "faster" if word == "faster" else "no regression"


def rounds_needed(logs: np.ndarray, threshold: float) -> int | None:
    """Return the total number of rounds that would most likely settle a cell, if later rounds are like these.

    A cell is settled if its interval ends below the threshold, or if its estimate lies beyond half the threshold and
    its interval begins above 1. The interval of a median shrinks with the root of the number of rounds. Its half width
    is taken from these rounds; it must not exceed the distance from the estimate to the farther of the two limits.

    Parameters
    ----------
    logs : ndarray, shape (rounds,)
        Logarithms of ratios.
    threshold : float
        As a fraction of base's time.

    Returns
    -------
    int or None
        None if it would be more than `MOST_ROUNDS`, or if one round shows no spread.
    """
    count, median = len(logs), float(np.median(logs))
    low, high = interval_ends(np.sort(logs))
    half = max(float(high - low) / 2, 1e-6)
    way = math.log1p(threshold) - median
    if median > math.log1p(threshold / 2):
        way = max(way, median)
    if count < 2 or way <= 0:
        return None
    needed = max(count + 1, VERDICT_ROUNDS, math.ceil(count * (half / way) ** 2 * 1.1))
    return needed if needed <= MOST_ROUNDS else None


def settle(
    take: Callable[[range, Collection[Cell] | None], Sequence[Block]], rounds: int, threshold: float = THRESHOLD
) -> list[Entry]:
    """Take rounds, then more for cells that are unsettled or slower: as many again, then twice as many.

    Parameters
    ----------
    take : callable
        Takes the rounds of these numbers, of some cells or, for None, of all, and returns their blocks.
    rounds : int
        Number of rounds to begin with; at most `MOST_LOOKS` times as many are taken.
    threshold : float
        As for `decide`.

    Returns
    -------
    list of Entry
        Every cell, ``slower`` only if fresh rounds confirmed it. No more rounds are taken once a cell is confirmed.
    """
    blocks = list(take(range(rounds), None))
    judged = latest = decide(pair(blocks), threshold)
    for start, stop in itertools.pairwise((rounds, 2 * rounds, MOST_LOOKS * rounds)):
        unsettled = {one.cell for one in judged if one.verdict in ("slower", "inconclusive")}
        confirmed = start > rounds and any(one.verdict == "slower" for one in judged)
        if confirmed or not unsettled:
            break
        fresh = take(range(start, stop), unsettled)
        blocks += fresh
        before = {one.cell: one for one in latest}  # the verdicts of all rounds until now
        latest = decide(pair([block for block in blocks if block.cell in unsettled]), threshold)
        first = [before[one.cell] if one.cell in unsettled else one for one in judged]
        judged = confirm(first, decide(pair(fresh), threshold), latest, threshold)
    return judged


def confirm(
    first: Sequence[Entry], again: Sequence[Entry], pooled: Sequence[Entry], threshold: float = THRESHOLD
) -> list[Entry]:
    """Keep a suspicion only if fresh rounds show it too.

    If the sides are equal, at most 0.5 % of cells are suspected. The fresh rounds are independent of the first, and
    agree with at most 2.5 % of these. So about one cell in 8000 is red by chance, and one in 4000 if `settle` confirms
    twice.

    Parameters
    ----------
    first : sequence of Entry
        All cells, from the rounds before.
    again : sequence of Entry
        Cells that were measured again, from the fresh rounds alone.
    pooled : sequence of Entry
        The same cells from all rounds.
    threshold : float
        As for `decide`.

    Returns
    -------
    list of Entry
        A cell is ``slower`` if it was slower at first, fresh rounds alone agree (beyond half the threshold, at
        `AGREEMENT`), and it is slower in all rounds together. Any other cell has the verdict of all rounds, but never
        ``slower``.
    """
    second, together = ({judged.cell: judged for judged in found} for found in (again, pooled))
    settled = []
    for judged in first:
        both = together.get(judged.cell, judged)
        if judged.cell not in second:
            settled.append(judged)
        elif both.verdict == "slower":
            if judged.verdict == "slower" and _agrees(second[judged.cell], threshold):
                settled.append(dataclasses.replace(both, note="confirmed by fresh rounds"))
            else:
                settled.append(_open(both, "slower in only one of two measurements"))
        elif judged.verdict == "slower":
            note = "a suspicion that fresh rounds did not confirm"
            settled.append(_open(both, note) if both.open else dataclasses.replace(both, note=note))
        else:
            settled.append(both)
    return settled


def _agrees(fresh: Entry, threshold: float) -> bool:
    return fresh.ratio > 1 + threshold / 2 and signed_rank_p(np.array(fresh.log_ratios)) <= AGREEMENT


def _open(judged: Entry, note: str) -> Entry:
    needed = judged.rounds_needed or 2 * judged.rounds
    return dataclasses.replace(judged, verdict="inconclusive", rounds_needed=needed, note=note)
