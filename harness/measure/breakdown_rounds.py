"""Take the breakdown of every warm read access, in rounds of its own after the access's samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from harness.measure import schedule
from harness.measure.breakdown import BreakdownTask, Parts
from harness.measure.config import TWIN, RunConfig
from harness.measure.preparation import Prepared
from harness.measure.recorder import RowLog, cell_key
from harness.measure.subject import Arm, Subject
from harness.measure.verify import read_id
from harness.measure.worker import Worker, WorkerError
from harness.records import Breakdown, CellKey
from harness.workload import Access, ReadAccess

BREAKDOWN_ROUNDS = 3
"""A breakdown explains a verdict and gives none, so the quietest of three is enough."""

_WARM = "warm"


class BreakdownRounds:
    """Takes breakdowns: of reads by one thread from a warm archive, where no other wait hides the parts.

    Parameters
    ----------
    config : RunConfig
        What to do.
    arms : list of Arm
        Of the run; the twin of the baseline is left out.
    explainer : Worker
        A process of its own: what a replay does to its process must not reach any sample.
    log : RowLog of Breakdown
        Where rows go.
    step : callable
        Told in a few words what comes next; optionally how many steps that is.
    """

    def __init__(
        self,
        config: RunConfig,
        arms: list[Arm],
        explainer: Worker,
        log: RowLog[Breakdown],
        step: Callable[..., None],
    ) -> None:
        self._config, self._explainer, self._log, self._step = config, explainer, log, step
        self._arms = [arm for arm in arms if arm.label != TWIN]

    def applies(self, access: Access) -> bool:
        """Say whether an access has a breakdown."""
        return (
            isinstance(access, ReadAccess)
            and access.executor == "main"
            and not access.load_once
            and _WARM in access.caches
            and _WARM in self._config.caches
            and self._config.store is None
        )

    def steps(self, access: Access) -> int:
        """Return the number of steps that `measure` will report."""
        return len(self._arms) * BREAKDOWN_ROUNDS if self.applies(access) else 0

    def complete(self, subject: Subject, suite: str, access: Access) -> bool:
        """Say whether there is nothing left to take of an access."""
        return not self.applies(access) or all(
            self._log.finished(cell_key(subject, suite, access, arm, _WARM), BREAKDOWN_ROUNDS) for arm in self._arms
        )

    def measure(
        self,
        subject: Subject,
        prepared: Prepared,
        suite: str,
        access: ReadAccess,
        failed: Callable[[CellKey], bool],
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
        failed : callable
            Says whether a cell's samples failed, which leaves nothing to explain.
        """
        if not self.applies(access):
            return
        tasks: dict[Arm, BreakdownTask] = {}
        for arm in self._arms:
            key = cell_key(subject, suite, access, arm, _WARM)
            if arm in prepared.failures:
                status, reason = prepared.failures[arm]
            elif failed(key):
                status, reason = "skipped", "a sample of this cell failed"
            else:
                tasks[arm] = BreakdownTask(
                    backend=arm.backend,
                    profile=arm.settings,
                    archive=prepared.archives[arm],
                    reads=access.reads,
                    expected={read_id(read): prepared.expected[read_id(read)] for read in access.reads},
                )
                continue
            self._log.explain(key, BREAKDOWN_ROUNDS, status=status, reason=reason)
            self._step("skipped", BREAKDOWN_ROUNDS)
        rng = schedule.generator(self._config.seed, suite, access.name, subject.label, subject.n_res, "breakdown")
        for number, position, arm in schedule.blocks(list(tasks), BREAKDOWN_ROUNDS, rng):
            self._step(f"{suite} {access.name} breakdown {arm.label}")
            key = cell_key(subject, suite, access, arm, _WARM)
            if not self._log.has(key, number):
                self._log.add(key, number, position, **dataclasses.asdict(self._take(tasks[arm])))

    def _take(self, task: BreakdownTask) -> Parts:
        try:
            parts: Parts = self._explainer.do(task)
        except WorkerError as error:
            return Parts(status="failed", reason=str(error))
        return parts
