"""Row recorder of a run: write rows, determine which cells are complete, and which rounds a resumed run repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from harness.records import AnyRow, CellKey, Mark, NoFigure, Sample
from harness.row_files import RowFile, closed
from harness.run.early_decision import stays
from harness.run.machine import load_average
from harness.run.subject import Arm
from harness.run.turns import Turns

_NOBODY: Mapping[CellKey, int] = {}

AnySample = TypeVar("AnySample", bound=Sample)


class RowLog(Generic[AnyRow]):
    """Writes each row of a cell once, and takes into account the rows of earlier sessions.

    The rows of several cells in one round form a block. A block that was cut off, or in which the machine failed, is
    repeated for all its cells, so that all compared rows were measured together.

    Parameters
    ----------
    run_id : str
        Identifier of the run.
    row : callable
        Makes a row from its values, such as a row class.
    file : RowFile
        File to which rows are appended.
    recorded : dict
        Rows that the file already has, from `harness.row_files.done`.
    """

    def __init__(
        self,
        run_id: str,
        row: Callable[..., AnyRow],
        file: RowFile[AnyRow],
        recorded: dict[CellKey, dict[int, Mark]],
    ) -> None:
        self._run_id, self._row, self._file, self._recorded = run_id, row, file, recorded
        self._due: dict[CellKey, dict[int, int]] = {}  # the attempt number of each round to take in this session

    def left(self, turns: Turns) -> dict[CellKey, int]:
        """Return the number of rounds of each cell that was dropped early."""
        return stays(turns, self._recorded)

    def whole(self, keys: Collection[CellKey], rounds: int, left: Mapping[CellKey, int] = _NOBODY) -> bool:
        """Return whether no row is left to take of these cells, which share blocks; `left` is from method `left`."""
        return all(self._whole(keys, number, left) for number in range(rounds))

    def _whole(self, keys: Collection[CellKey], number: int, left: Mapping[CellKey, int] = _NOBODY) -> bool:
        there = [key for key in keys if not self._out(key) and number < left.get(key, number + 1)]
        marks = [self._recorded.get(key, {}).get(number) for key in there]
        attempts = {0 if mark is None or mark.cause else mark.attempt for mark in marks}
        return len(attempts) <= 1 and 0 not in attempts

    def _out(self, key: CellKey) -> bool:
        """Return whether a row has ended the cell, which then stays without a figure."""
        return any(mark.final for mark in self._recorded.get(key, {}).values())

    def begin(self, keys: Collection[CellKey], rounds: int, left: Mapping[CellKey, int] = _NOBODY) -> None:
        """Determine which of the `rounds` blocks of these cells this session takes; blocks are not taken in part."""
        for number in range(rounds):
            if not self._whole(keys, number, left):
                marks = [self._recorded.get(key, {}).get(number) for key in keys]
                attempt = 1 + max((mark.attempt for mark in marks if mark), default=0)
                for key in keys:
                    if not self._out(key):
                        self._due.setdefault(key, {})[number] = attempt

    def has(self, key: CellKey, number: int) -> bool:
        """Return whether a cell needs no row in a round, after `begin`."""
        return number not in self._due.get(key, {})

    def failure(self, key: CellKey) -> Mark | None:
        """Return the mark of the row in which a cell failed; None if it did not fail."""
        return next((mark for mark in self._recorded.get(key, {}).values() if mark.status == "failed"), None)

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Write a row if it is due; a failed or skipped row ends the cell for this session."""
        attempt = self._due.get(key, {}).pop(number, None)
        if attempt is not None:
            self._write(key, number, position, attempt, values)

    def _write(self, key: CellKey, number: int, position: int, attempt: int, values: dict[str, Any]) -> None:
        about = {"run_id": self._run_id, **key._asdict(), "round": number, "position": position, "attempt": attempt}
        self._file.add(self._row(**about, **values))
        seconds = closed(values) if values.get("status", "ok") == "ok" else None
        mark = Mark(values.get("status", "ok"), values.get("cause", ""), attempt, seconds)
        self._recorded.setdefault(key, {})[number] = mark
        if mark.status in ("failed", "skipped"):
            self._due.pop(key, None)

    def explain(self, key: CellKey, block: Collection[CellKey], rounds: int, why: NoFigure, **values: Any) -> None:
        """Write a row that states why a cell has no figure, unless its blocks are complete or a row has ended it."""
        missing = [number for number in range(rounds) if not self._whole(block, number)]
        if missing and not self._out(key):
            mark = self._recorded.get(key, {}).get(missing[0])
            attempt = 1 + mark.attempt if mark else 1
            self._write(key, missing[0], 0, attempt, {**dataclasses.asdict(why), **values})

    def take(
        self,
        turns: Turns,
        failures: Mapping[Arm, NoFigure],
        sample: Callable[[Arm, int], Sequence[dict[str, Any]]],
        step: Callable[[str, int], None],
        start: Callable[[Sequence[Arm]], object] | None = None,
    ) -> None:
        """Take the missing rows of cells in turn.

        Parameters
        ----------
        turns : Turns
            The cells, and the order in which they take turns.
        failures : dict of Arm to NoFigure
            The arms without an archive, with reasons.
        sample : callable
            Takes one sample of an arm in a round; returns the values of one row for each of its cells.
        step : callable
            Called with a description of each step, and its number of steps.
        start : callable
            Called with the arms that have samples to take, before the first sample.
        """
        told = {arm: NoFigure("skipped", why) for arm, why in turns.told.items() if turns.absent or arm not in failures}
        out = {arm: failures[arm] for arm in turns.cells if arm in failures and arm not in told}
        usable = [arm for arm in turns.cells if arm not in out]
        taken = [arm for arm in usable if arm not in told]
        self._explain(turns, out, step)
        self.begin([key for arm in taken for key in turns.cells[arm]], turns.rounds, self.left(turns))
        if start is not None:
            start([arm for arm in taken if any(self._due.get(key) for key in turns.cells[arm])])
        left, before = dict[CellKey, int](), -1
        for (number, arm), position in turns.draw(usable).items():
            if number > before:
                left, before = self.left(turns), number
            if arm not in taken:
                continue
            if number >= left.get(turns.cells[arm][0], turns.rounds):
                step(f"{arm.label} is decided", 1)
                continue
            names = (turns.suite, turns.access.name, turns.what or turns.state, arm.label, arm.reader)
            step(" ".join(filter(None, names)), 1)
            keys = turns.cells[arm]
            if not all(self.has(key, number) for key in keys):
                for key, values in zip(keys, sample(arm, number), strict=True):
                    self.add(key, number, position, **values, **self.about(turns, arm))
        self._explain(turns, told, step)

    def about(self, turns: Turns, arm: Arm) -> dict[str, Any]:
        """Return the values that all rows of an arm in these turns share."""
        return {}

    def _explain(self, turns: Turns, why: Mapping[Arm, NoFigure], step: Callable[[str, int], None]) -> None:
        for arm, reason in why.items():
            for key in turns.cells[arm]:
                self.explain(key, turns.block, turns.rounds, reason, **self.about(turns, arm))
            step("skipped", turns.rounds)


class Recorder(RowLog[AnySample]):
    """Writes samples, each with the current load average and the effort of its contender."""

    def about(self, turns: Turns, arm: Arm) -> dict[str, Any]:
        """Return the effort of an arm."""
        return {"effort": turns.effort(arm)}

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Write a sample if it is due."""
        super().add(key, number, position, load_average=load_average(), **values)

    def explain(self, key: CellKey, block: Collection[CellKey], rounds: int, why: NoFigure, **values: Any) -> None:
        """Write a row that states why a cell has no sample; ``verified`` is False if it failed."""
        super().explain(key, block, rounds, why, verified=False if why.status == "failed" else None, **values)
