"""Explain the samples of an access, in rounds of their own after them: what a breakdown and a look at waits share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar, Generic

from harness.extensions.breakdown.sampling import BreakdownTask
from harness.records import CONTROL, AnyRow, Breakdown, CellKey, Mark, NoFigure, Parts
from harness.run import schedule
from harness.run.config import RunConfig
from harness.run.preparation import Prepared
from harness.run.recorder import RowLog, cell_key, cell_keys
from harness.run.subject import Arm, Subject
from harness.sampling.worker import Task, Worker, WorkerError
from harness.workload import Access, ReadAccess, requested_bytes

WARM = "warm"

ROUNDS = 3
"""What explains a verdict gives none, so three are enough; a run of one round is a first look, explained once."""

MOST_BYTES = 8 << 30
"""What asks for more is not explained: it would be read several times over, and reads of a part of it are explained."""


def explaining_rounds(config: RunConfig) -> int:
    """Return how many rows explain a cell of a run."""
    return 1 if config.rounds == 1 else ROUNDS


class ExplainingRounds(ABC, Generic[AnyRow]):
    """Takes rows that explain samples, of reads from a warm archive on a local disk.

    Parameters
    ----------
    config : RunConfig
        What to do.
    arms : list of Arm
        Of the run; the twin of the baseline is left out.
    explainer : Worker
        A process of its own: what explaining does to its process must not reach any sample.
    log : RowLog
        Where rows go.
    step : callable
        Told in a few words what comes next; optionally how many steps that is.

    Attributes
    ----------
    what : str
        What is taken, in a word.
    figure : str
        The column that every row has which is ok.
    """

    what: ClassVar[str]
    figure: ClassVar[str]

    def __init__(
        self, config: RunConfig, arms: list[Arm], explainer: Worker, log: RowLog[AnyRow], step: Callable[..., None]
    ) -> None:
        self._config, self._explainer, self._log, self._step = config, explainer, log, step
        self._rounds = explaining_rounds(config)
        self._arms = [arm for arm in arms if arm.label != CONTROL]

    @classmethod
    @abstractmethod
    def explains(cls, config: RunConfig, access: ReadAccess) -> bool:
        """Say whether an access, where a run reads it warm, is one to explain."""

    @abstractmethod
    def task(self, prepared: Prepared, arm: Arm, access: ReadAccess) -> Task:
        """Return what the explainer is to do; it gives a dataclass with the columns of a row."""

    @abstractmethod
    def failure(self, why: NoFigure) -> Any:
        """Return such a dataclass for a task that failed."""

    @classmethod
    def applies(cls, config: RunConfig, access: Access) -> bool:
        """Say whether an access of a run is explained."""
        warm = WARM in config.caches and config.store is None
        return warm and isinstance(access, ReadAccess) and WARM in access.caches and cls.explains(config, access)

    def steps(self, access: Access) -> int:
        """Return the number of steps that `measure` will report."""
        return len(self._arms) * self._rounds if self.applies(self._config, access) else 0

    def complete(self, subject: Subject, suite: str, access: Access) -> bool:
        """Say whether there is nothing left to take of an access."""
        applies = self.applies(self._config, access)
        return not applies or self._log.whole(self._keys(subject, suite, access), self._rounds)

    def _keys(self, subject: Subject, suite: str, access: Access) -> list[CellKey]:
        return cell_keys(subject, suite, access, self._arms, WARM)

    def measure(
        self,
        subject: Subject,
        prepared: Prepared,
        suite: str,
        access: ReadAccess,
        failure: Callable[[CellKey], Mark | None],
    ) -> None:
        """Take what is missing of an access.

        Parameters
        ----------
        subject : Subject
            The trace.
        prepared : Prepared
            Its archives; an arm without one is recorded with the reason.
        suite : str
            Of the access.
        access : ReadAccess
            What to ask for.
        failure : callable
            Says how a cell's samples failed, if they did, which leaves nothing to explain.
        """
        if not self.applies(self._config, access):
            return
        tasks: dict[Arm, Task] = {}
        for arm in self._arms:
            key = cell_key(subject, suite, access, arm, WARM)
            if arm in prepared.failures:
                why = prepared.failures[arm]
            elif mark := failure(key):
                why = NoFigure("skipped", "a sample of this cell failed", mark.cause)
            elif (nbytes := requested_bytes(subject.manifest, access.reads)) > MOST_BYTES:
                why = NoFigure("skipped", f"reading {nbytes / 1e9:.1f} GB again to explain it would take too long")
            else:
                tasks[arm] = self.task(prepared, arm, access)
                continue
            self._log.explain(key, self._keys(subject, suite, access), self._rounds, why)
            self._step("skipped", self._rounds)
        self._log.begin([cell_key(subject, suite, access, arm, WARM) for arm in tasks], self._rounds)
        rng = schedule.generator(self._config.seed, suite, access.name, subject.label, subject.n_res, self.what)
        for number, position, arm in schedule.blocks(list(tasks), self._rounds, rng):
            self._step(f"{suite} {access.name} {self.what} {arm.label}")
            key = cell_key(subject, suite, access, arm, WARM)
            if not self._log.has(key, number):
                self._log.add(key, number, position, **asdict(self._take(tasks[arm])))

    def _take(self, task: Task) -> Any:
        try:
            return self._explainer.do(task)
        except WorkerError as error:
            return self.failure(NoFigure.of(error))


class BreakdownRounds(ExplainingRounds[Breakdown]):
    """Takes breakdowns: of reads by one thread, where no other wait hides the parts."""

    what, figure = "breakdown", "total_seconds"

    @classmethod
    def explains(cls, config: RunConfig, access: ReadAccess) -> bool:
        return access.executor == "main" and not access.load_once

    def task(self, prepared: Prepared, arm: Arm, access: ReadAccess) -> BreakdownTask:
        return BreakdownTask(**prepared.about(arm, access))

    def failure(self, why: NoFigure) -> Parts:
        return Parts(**asdict(why))
