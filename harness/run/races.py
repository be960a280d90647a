"""The races of a run while it goes on: where their rows go, and what they found."""

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
    """The races of a run: where their rows go, and the times of those that are in force."""

    recorder: Recorder
    times: dict[CellKey, dict[int, float]]

    @classmethod
    def open(cls, run_id: str, folder: Path, stack: ExitStack) -> Races:
        """Open the file of races in a run's folder, for more, until the stack is closed."""
        path = folder / RaceSample.file
        file = stack.enter_context(closing(RowFile(path, RaceSample)))
        known = done(path, RaceSample)
        return cls(Recorder(run_id, RaceSample, file, known), race_times(read_rows(path, RaceSample)))

    def note(self, key: CellKey, number: int, values: dict[str, Any]) -> None:
        """Remember the time of a round, as `harness.run.completeness.race_times` reads it again."""
        times = self.times.setdefault(key, {})
        times.pop(number, None)
        if (seconds := closed(values)) is not None:
            times[number] = seconds
