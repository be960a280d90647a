"""Races of a run in progress: their row file and their times."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import CellKey, RaceSample
from harness.row_files import RowFile, closed, done, read_rows
from harness.run.completeness import race_times
from harness.run.recorder import Recorder


@dataclass
class Races:
    """The recorder of a run's races, and the times of their rows in force by cell and round, in seconds."""

    recorder: Recorder
    times: dict[CellKey, dict[int, float]]

    @classmethod
    def open(cls, run_id: str, folder: Path, stack: ExitStack) -> Races:
        """Open the row file of races in a run's folder for appending, until the stack is closed."""
        path = folder / RaceSample.file
        file = stack.enter_context(closing(RowFile(path, RaceSample)))
        known = done(path, RaceSample)
        return cls(Recorder(run_id, RaceSample, file, known), race_times(read_rows(path, RaceSample)))

    def note(self, key: CellKey, number: int, values: dict[str, Any]) -> None:
        """Store the time of a round, equal to the one that `harness.run.completeness.race_times` reads back."""
        times = self.times.setdefault(key, {})
        times.pop(number, None)
        if (seconds := closed(values)) is not None:
            times[number] = seconds
