"""When a contender leaves its cell: so much slower in every round that more rounds could not change its word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from harness.records import VERDICT_ROUNDS, CellKey, Mark
from harness.run.subject import Arm
from harness.run.turns import RACE, Turns

LEAVES = {3: 6.0, 5: 2.0}
"""From how many rounds on a contender leaves, and how many times as long as the baseline it took in each of them."""

LEAVES_AFTER = min(LEAVES)
"""Rounds that every contender takes; fewer show too little of what a round can do."""

RACE_LEAVES = 6.0
"""How many times as long as the fastest candidate of its format one takes in the first round of a race, to be out."""


def decided(log_ratios: np.ndarray, control_log_ratios: np.ndarray) -> bool:
    """Say whether a contender is slower than the baseline beyond anything that the noise of its cell can do.

    It is when the smallest of its ratios is beyond what `LEAVES` has for as many rounds, beyond the largest difference
    of two equal arms in the same rounds, either way, and beyond the range of its own ratios. All three are of
    logarithms, so one disturbed round of any arm weighs fully against leaving, and never for it. Simulated error rates:
    ``docs/verdicts.md``.

    Parameters
    ----------
    log_ratios : ndarray, shape (rounds,)
        Natural logarithms of its times over the baseline's, in every round until now.
    control_log_ratios : ndarray, shape (rounds,)
        The same of the A/A control; without one nobody leaves.
    """
    if len(log_ratios) < LEAVES_AFTER or len(control_log_ratios) < LEAVES_AFTER:
        return False
    least = log_ratios.min()
    beyond = min(ratio for rounds, ratio in LEAVES.items() if len(log_ratios) >= rounds)
    return bool(least > max(np.log(beyond), np.abs(control_log_ratios).max(), np.ptp(log_ratios)))


def stays(turns: Turns, marks: Mapping[CellKey, Mapping[int, Mark]]) -> dict[CellKey, int]:
    """Return in how many rounds each cell of a contender that left took part, or of a candidate that is out of a race.

    A pure function of recorded rows. Nobody leaves where a round was taken again: what was decided by its first rows
    is then not what the rows in force say.

    Parameters
    ----------
    turns : Turns
        What is measured together.
    marks : mapping of CellKey to mapping of int to Mark
        The rows in force, by cell and round.
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
    """Return which contender of the baseline another is held against: both stock or both best, in one group if it was.

    Parameters
    ----------
    effort, group : str
        What the other stands for. Where the baseline's best was not measured, or a reader stands for nothing but
        itself, the baseline's stock one is taken.
    baselines : iterable of tuple
        The baseline's contenders, each with its effort and group.
    """
    efforts = ("best", "both") if effort == "best" else ("stock", "both")
    found = min(baselines, key=lambda one: (one[1] not in efforts, one[2] != group), default=None)
    return found[0] if found else None


def _beaten(turns: Turns, taking: Sequence[Arm], marks: Mapping[CellKey, Mapping[int, Mark]]) -> dict[CellKey, int]:
    """Return the candidates of a race that are out after its first round: none of them can be its format's best."""
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
    """Return after how many rounds a cell is decided, 0 for never: by its marks and those of its baseline, the control
    and what the control repeats.
    """
    known = [n for n in range(rounds) if all(n in marks and marks[n].seconds for marks in four)]
    logs = np.log(np.array([[marks[n].seconds for n in known] for marks in four], dtype=float))
    for count in range(LEAVES_AFTER, rounds):
        taken = sum(n < count for n in known)
        cell, baseline, control, original = logs[:, :taken]
        if decided(cell - baseline, control - original):
            return count
    return 0
