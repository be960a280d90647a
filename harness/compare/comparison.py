"""A whole comparison: archives read by the other side, rounds, a second look at what is not settled, the outcome."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.verdict import VERDICT_ROUNDS
from harness.compare.exact import Figure, Lost, ReadBack, figures, lost_figures, readings, same_bytes
from harness.compare.question import Cell, CompareSettings, Question
from harness.compare.rounds import Block, Record, read_each_other, take_rounds
from harness.compare.side import NotComparable, Side
from harness.compare.verdict import MOST_LOOKS, THRESHOLD, Judged, settle
from harness.errors import UsageError
from harness.run.machine import load_average

if TYPE_CHECKING:
    from harness.run.experiment import Progress

NO_REGRESSION, REGRESSION, NOT_COMPARABLE, INCONCLUSIVE = 0, 1, 2, 3
"""Exit codes; 2 says also that the question could not be asked."""

WORDS = {
    NO_REGRESSION: "no regression",
    REGRESSION: "regression",
    NOT_COMPARABLE: "not-comparable",
    INCONCLUSIVE: "inconclusive",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a comparison found.

    Attributes
    ----------
    base, head : str
        What was compared, for people.
    threshold : float
        The slowdown that matters, as a part of base's time.
    judged : list of Judged
        Times, one a cell.
    figures : list of Figure
        Deterministic figures.
    lost : list of Lost
        What base has and head has not.
    readings : list of ReadBack
        Who can read whose archives.
    refused : str
        Why nothing could be compared, in a sentence; empty where something was.
    same_bytes : dict of str to bool or None
        For each format whether both sides write the same bytes.
    notes : list of str
        What a reader has to know.
    blocks : list of Block
        Every block of times.
    facts : dict
        Sides, settings, machine.
    """

    base: str
    head: str
    threshold: float = THRESHOLD
    judged: list[Judged] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    refused: str = ""
    readings: list[ReadBack] = field(default_factory=list)
    same_bytes: dict[str, bool | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression, 2 not comparable, 3 inconclusive."""
        if self.refused:
            return NOT_COMPARABLE
        if self.regressions:
            return REGRESSION
        return INCONCLUSIVE if any(judged.word == "inconclusive" for judged in self.judged) else NO_REGRESSION

    @property
    def regressions(self) -> list[str]:
        """Every regression, each in words."""
        return [
            *(f"{reading}" for reading in self.readings if reading.breaks),
            *(f"{self.name(one.cell)}: {one.how}" for one in self.lost),
            *(f"{self.name(f.cell)}: {f.name} {f.base:,} to {f.head:,}" for f in self.figures if f.change == "grew"),
            *(f"{self.name(j.cell)}: {change(j)}" for j in self.judged if j.word == "slower"),
        ]

    def name(self, cell: Cell) -> str:
        """Name a cell for people, with its trace only where there are several."""
        return cell.among(self._cells)

    @property
    def subjects(self) -> list[str]:
        """The traces, each with its length."""
        return list(dict.fromkeys(cell.subject for cell in self._cells))

    @property
    def _cells(self) -> list[Cell]:
        return [one.cell for part in (self.judged, self.figures, self.lost) for one in part]

    @property
    def rounds_needed(self) -> int | None:
        """Rounds that would most likely settle every inconclusive cell; None where that is not known of all."""
        needed = [judged.rounds_needed for judged in self.judged if judged.word == "inconclusive"]
        return None if None in needed else max((n for n in needed if n is not None), default=None)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence or two."""
        if self.refused:
            return f"Could not compare: {self.refused}"
        if self.regressions:
            more = f", and {len(self.regressions) - 1} more" if len(self.regressions) > 1 else ""
            return f"Regression: {self.regressions[0]}{more}."
        open_cells = [judged for judged in self.judged if judged.word == "inconclusive"]
        percent = f"{100 * self.threshold:g} %"
        if open_cells:
            needed = self.rounds_needed
            many = (
                f"about {needed} rounds would settle it (--rounds {math.ceil(needed / MOST_LOOKS)} goes so far)"
                if needed
                else "no practical number of rounds would settle all of it on a machine as noisy as this one was"
            )
            return (
                f"Inconclusive: in {len(open_cells)} of {len(self.judged)} cells a slowdown of {percent} can neither "
                f"be shown nor ruled out; {many}."
            )
        if not self.judged:
            return "No regression: no deterministic figure grew; no times were compared."
        return (
            f"No regression: a slowdown of {percent} is ruled out in all {len(self.judged)} cells, and no figure grew."
        )


def change(judged: Judged) -> str:
    """Write the change of a time with its interval."""
    ratio = judged.ratio
    middle, low, high = (100 * (value - 1) for value in (ratio.median, ratio.low, ratio.high))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


def require_rounds(rounds: int) -> None:
    """Refuse what can give no verdict.

    Raises
    ------
    UsageError
        Below `VERDICT_ROUNDS`.
    """
    if rounds < VERDICT_ROUNDS:
        raise UsageError(f"A verdict needs at least {VERDICT_ROUNDS} rounds, got {rounds}.")


def compare_sides(
    sides: tuple[Side, Side],
    questions: Sequence[Question],
    settings: CompareSettings,
    folder: Path,
    progress: Progress,
    threshold: float = THRESHOLD,
) -> Outcome:
    """Measure two sides in turn and judge them.

    Parameters
    ----------
    sides : (Side, Side)
        Base and head.
    questions : sequence of Question
        From `harness.compare.question.ask`.
    settings : CompareSettings
        What to measure.
    folder : Path
        An empty folder for archives.
    progress : Progress
        Told about every round.
    threshold : float
        The slowdown that matters.

    Returns
    -------
    Outcome
        Red only where fresh rounds in fresh processes confirmed it.

    Raises
    ------
    NotComparable
        When base cannot even read what it wrote itself.
    SideError
        When base fails in the middle; what head fails at is lost, and a regression.
    """
    begun, load = time.monotonic(), load_average()
    progress.total(MOST_LOOKS * settings.rounds + 1)
    read = readings(read_each_other(sides, questions, settings, folder))
    broken = {one.format for one in read if one.problem and one.writer == one.reader}
    for one in read:
        if one.problem and one.writer == one.reader == "base":
            raise NotComparable(f"The base has nothing to compare with: {one}; choose others with --formats.")
    progress.step("every archive is read by both")
    timed = dataclasses.replace(settings, formats=tuple(name for name in settings.formats if name not in broken))
    record, judged = Record(), list[Judged]()
    if timed.formats:
        judged = _rounds(sides, questions, timed, folder, progress, threshold, record)
    notes = [f"{name} was not timed: head cannot read what it wrote." for name in sorted(broken)]
    lost = [*record.lost.values(), *lost_figures(record.exact, record.lost), *_untimed(record)]
    seconds = time.monotonic() - begun
    return Outcome(
        base=sides[0].label,
        head=sides[1].label,
        threshold=threshold,
        judged=[one for one in judged if one.cell not in record.lost],
        figures=figures(record.exact),
        lost=lost,
        readings=read,
        same_bytes=same_bytes(record.contents),
        notes=notes,
        blocks=record.blocks,
        facts={
            "base": sides[0].facts,
            "head": sides[1].facts,
            "settings": dataclasses.asdict(settings),
            "seconds": round(seconds, 1),
            "load_average": [load, load_average()],
        },
    )


def _untimed(record: Record) -> list[Lost]:
    """Name the cells of which base has times and head has none."""
    cells = [{block.cell for block in record.blocks if block.side == side} for side in ("base", "head")]
    return [
        Lost(cell=cell, state="absent", reason="it has no time")
        for cell in sorted(cells[0] - cells[1])
        if cell not in record.lost
    ]


def _rounds(
    sides: tuple[Side, Side],
    questions: Sequence[Question],
    settings: CompareSettings,
    folder: Path,
    progress: Progress,
    threshold: float,
    record: Record,
) -> list[Judged]:
    def take(numbers: range, only: Collection[Cell] | None) -> list[Block]:
        known = len(record.blocks)
        take_rounds(sides, questions, settings, numbers, folder, record, progress.step, only)
        return record.blocks[known:]

    return settle(take, settings.rounds, threshold)
