"""A planned run: its configuration, contenders and traces, and the function that provides its archives."""

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
"""Provides the archives of a subject, as `harness.run.preparation.prepare` does."""


@dataclass(frozen=True)
class PlannedRun:
    """A run whose contenders, traces and accesses are determined, before anything is written."""

    # The configuration, the contenders, the traces with their plans, and additional measurements of extensions.
    config: RunConfig
    arms: list[Arm]
    subjects: list[Subject]
    measuring: list[Measuring]
    prepare: Prepare = prepare  # Provides the archives of a subject; by default writes them on this machine.

    @classmethod
    def of(cls, config: RunConfig) -> PlannedRun:
        """Plan a run from its configuration.

        Raises
        ------
        UsageError
            When a requested item does not exist or cannot be measured.
        HarnessError
            When the run exceeds a limit, such as `harness.run.turns.MOST_ROWS`.
        """
        arms, subjects = choose_arms(config), open_subjects(config)
        require_few_rows(config, len(arms), subjects)
        return cls(config, arms, subjects, open_measurements(config))

    def require_space(self, folder: Path, tell: Callable[[str], None] = lambda text: None) -> Space:
        """Raise `UsageError` if the disk cannot hold the archives; see `harness.run.disk_space.require_space`."""
        copy = copies(self.measuring)
        return require_space(folder, self.subjects, self.arms, copy, timeout=self.config.timeout, tell=tell)
