"""A run as it is planned: its configuration, contenders and traces, and who writes the archives that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.run.config import RunConfig
from harness.run.disk_space import Space, require_space
from harness.run.measurement import Measuring, copies, open_measurements
from harness.run.planning import choose_arms, open_subjects
from harness.run.preparation import Prepared, prepare
from harness.run.subject import Arm, Subject
from harness.run.turns import require_few_rows
from harness.sampling.worker import Worker

Prepare = Callable[[Subject, list[Arm], Path, Worker, int], Prepared]
"""Gives the archives of a subject, as `harness.run.preparation.prepare` does."""


@dataclass(frozen=True)
class PlannedRun:
    """What a run measures on what, while nothing of it is written."""

    # What was asked, the contenders, the traces with their plans, and what extensions measure besides.
    config: RunConfig
    arms: list[Arm]
    subjects: list[Subject]
    measuring: list[Measuring]
    prepare: Prepare = prepare  # Gives the archives of a subject: `harness.run.preparation.prepare` writes them here.

    @classmethod
    def of(cls, config: RunConfig) -> PlannedRun:
        """Plan all that a configuration asks for.

        Raises
        ------
        UsageError
            When something of it does not exist or cannot be measured.
        HarnessError
            When it is too much.
        """
        arms, subjects = choose_arms(config), open_subjects(config)
        require_few_rows(config, len(arms), subjects)
        return cls(config, arms, subjects, open_measurements(config))

    def require_space(self, folder: Path, tell: Callable[[str], None] = lambda text: None) -> Space:
        """Refuse a folder on a disk that cannot hold the archives, as `harness.run.disk_space.require_space`."""
        copy = copies(self.measuring)
        return require_space(folder, self.subjects, self.arms, copy, timeout=self.config.timeout, tell=tell)
