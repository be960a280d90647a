"""Early stopping: drop a contender from its cell once further rounds cannot change its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from harness.records import VERDICT_ROUNDS, CellKey, Mark
from harness.run.subject import Arm
from harness.run.turns import RACE, Turns

LEAVES = {3: 6.0, 5: 2.0}
"""Ratio to the baseline that every round must exceed to drop a contender, by the minimum number of rounds."""

LEAVES_AFTER = min(LEAVES)
"""Rounds that every contender takes; fewer rounds do not show how much times vary."""

RACE_LEAVES = 6.0
"""A candidate slower than this many times the fastest of its format in the first round of a race is dropped."""


def decided(log_ratios: np.ndarray, control_log_ratios: np.ndarray) -> bool:
    """Return whether a contender is slower than the baseline by more than the noise of its cell can explain.

    The smallest of its ratios must exceed three limits, all as logarithms: the ratio in `LEAVES` for this number of
    rounds, the largest A/A difference in the same rounds in either direction, and the range of its own ratios. So a
    disturbed round of any arm makes dropping less likely, never more. Simulated error rates: ``docs/verdicts.md``.

    Parameters
    ----------
    log_ratios : ndarray, shape (rounds,)
        Natural logarithms of the contender's times divided by the baseline's, for all rounds so far.
    control_log_ratios : ndarray, shape (rounds,)
        The same for the A/A control; without a control nothing is dropped.
    """
    if len(log_ratios) < LEAVES_AFTER or len(control_log_ratios) < LEAVES_AFTER:
        return False
    least = log_ratios.min()
    beyond = min(ratio for rounds, ratio in LEAVES.items() if len(log_ratios) >= rounds)
    return bool(least > max(np.log(beyond), np.abs(control_log_ratios).max(), np.ptp(log_ratios)))


def stays(turns: Turns, marks: Mapping[CellKey, Mapping[int, Mark]]) -> dict[CellKey, int]:
    """Return the number of rounds of each cell that was dropped early, of contenders and of candidates in a race.

    A pure function of recorded rows. Nothing is dropped if the machine failed in a round, or a round was repeated: a
    decision based on the first attempt may not follow from the rows in force.

    Parameters
    ----------
    turns : Turns
        The cells that are measured together.
    marks : mapping of CellKey to mapping of int to Mark
        The rows in force, by cell and round.

    Returns
    -------
    dict of CellKey to int
        Only cells that were dropped.
    """
    taking = [arm for arm in turns.cells if arm not in turns.told]
    again = any(mark.attempt > 1 or mark.cause for key in turns.block for mark in marks.get(key, {}).values())
    if turns.what == RACE and not again:
        return _beaten(turns, taking, marks)
    control = next((arm for arm in taking if arm.contender.is_control), None)
    original = control and next((arm for arm in taking if arm.contender.competes and _same(arm, control)), None)
    if (
        control is None
        or original is None
        or not turns.leave
        or turns.what
        or turns.once
        or turns.rounds < VERDICT_ROUNDS
        or again
    ):
        return {}
    found: dict[CellKey, int] = {}
    baselines = [(arm, turns.effort(arm), arm.group) for arm in taking if arm.label == original.label]
    for arm in (arm for arm in taking if arm.contender.competes and arm is not original):
        own = counterpart(turns.effort(arm), arm.group, baselines)
        ends = []
        for base in dict.fromkeys((original, own or original)):
            four = zip(*(turns.cells[each] for each in (arm, base, control, original)), strict=True)
            ends += [_end([marks.get(key, {}) for key in keys], turns.rounds) for keys in four]
        if all(ends):
            found |= dict.fromkeys(turns.cells[arm], max(ends))
    return found


T = TypeVar("T")


def counterpart(effort: str, group: str, baselines: Iterable[tuple[T, str, str]]) -> T | None:
    """Return the baseline's contender with which another contender is compared; None if there is none.

    Stock is compared with stock and best with best, within the same group if possible. If the baseline's best was not
    measured, or the other contender is neither stock nor best, it is compared with the baseline's stock contender.

    Parameters
    ----------
    effort, group : str
        Effort and group of the other contender.
    baselines : iterable of tuple
        The baseline's contenders, each with its effort and group.
    """
    efforts = ("best", "both") if effort == "best" else ("stock", "both")
    found = min(baselines, key=lambda one: (one[1] not in efforts, one[2] != group), default=None)
    return found[0] if found else None


def _beaten(turns: Turns, taking: Sequence[Arm], marks: Mapping[CellKey, Mapping[int, Mark]]) -> dict[CellKey, int]:
    """Return the cells of candidates that are too slow in the first round of a race to be best, each with 1 round."""
    first = {arm: marks.get(turns.cells[arm][0], {}).get(0) for arm in taking}
    times = {arm: mark.seconds for arm, mark in first.items() if mark and mark.seconds}
    fastest: dict[tuple[str, str], float] = {}
    for arm, seconds in times.items():
        fastest[arm.label, arm.group] = min(seconds, fastest.get((arm.label, arm.group), seconds))
    out = [arm for arm, seconds in times.items() if seconds > RACE_LEAVES * fastest[arm.label, arm.group]]
    return {key: 1 for arm in out for key in turns.cells[arm]}


def _same(arm: Arm, control: Arm) -> bool:
    return arm.contender._replace(format="") == control.contender._replace(format="") and arm.backend == control.backend


def _end(four: Sequence[Mapping[int, Mark]], rounds: int) -> int:
    """Return the number of rounds after which a cell is decided; 0 for never.

    `four` has the marks of the cell, its baseline, the control, and the arm that the control repeats.
    """
    known = [n for n in range(rounds) if all(n in marks and marks[n].seconds for marks in four)]
    logs = np.log(np.array([[marks[n].seconds for n in known] for marks in four], dtype=float))
    for count in range(LEAVES_AFTER, rounds):
        taken = sum(n < count for n in known)
        cell, baseline, control, original = logs[:, :taken]
        if decided(cell - baseline, control - original):
            return count
    return 0
