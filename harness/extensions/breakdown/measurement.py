"""Measurement that explains the samples of warm read accesses, in rounds of its own after them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import ClassVar

from harness.extensions.breakdown.rows import Breakdown, ReadParts
from harness.extensions.breakdown.sampling import BreakdownTask
from harness.records import NoFigure
from harness.row_files import RowFile, done
from harness.run.config import RunConfig
from harness.run.measurement import Measurement, Measuring, RunSession
from harness.run.preparation import Prepared
from harness.run.recorder import RowLog
from harness.run.subject import Arm, Subject
from harness.run.turns import Turns, turns_of
from harness.sampling.worker import Worker, WorkerError
from harness.workload import Access, ReadAccess, requested_bytes

WARM = "warm"
WHAT = "breakdown"

ROUNDS = 3
"""Rounds that explain a cell: they give no verdict, so three suffice; a run of one round, a first try, gets one."""

MOST_BYTES = 8 << 30
"""Largest access to explain, in bytes: larger ones take too long to read several times; their parts are explained."""


def rounds_of(config: RunConfig) -> int:
    """Return the number of rows that explain a cell of a run."""
    return 1 if config.rounds == 1 else ROUNDS


def _explained(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if arm.always and not arm.contender.is_control]


def _applies(config: RunConfig, access: Access) -> bool:
    """Return whether an access is explained: warm reads of a local disk by one thread, where no wait hides a part."""
    if not isinstance(access, ReadAccess) or WARM not in config.caches or config.store is not None:
        return False
    return WARM in access.caches and access.executor == "main" and not access.load_once


class _BreakdownRounds(Measuring):
    """Breakdowns of one run. They are taken in a separate process, so that they do not affect samples."""

    def __init__(self, config: RunConfig) -> None:
        self._config, self._rounds = config, rounds_of(config)

    def begin(self, session: RunSession) -> None:
        """Open ``breakdown.csv`` and start the process."""
        path = session.folder / Breakdown.file
        rows = session.stack.enter_context(closing(RowFile(path, Breakdown)))
        self._log = RowLog(self._config.run_id, Breakdown, rows, done(path, Breakdown))
        self._explainer = session.stack.enter_context(Worker(session.patience))
        self._failure, self._step, self._arms = session.recorder.failure, session.step, _explained(session.arms)

    def steps(self, subject: Subject | None) -> int:
        """Return the number of steps, one for each row."""
        applies = sum(_applies(self._config, access) for _, access in subject.plans) if subject else 0
        return len(self._arms) * self._rounds * applies

    def complete(self, subject: Subject) -> bool:
        """Return whether every access is explained."""
        turns = measurement.turns(self._config, self._arms, subject)
        return all(self._log.whole(each.block, each.rounds) for each in turns)

    def after(self, subject: Subject, prepared: Prepared, suite: str, access: Access) -> None:
        """Take the missing rows of an access; a cell whose samples failed has nothing to explain."""
        if not _applies(self._config, access) or not isinstance(access, ReadAccess):
            return
        turns = _turns(self._config, subject, suite, access, self._arms)
        tasks: dict[Arm, BreakdownTask] = {}
        without: dict[Arm, NoFigure] = {}
        for arm, (key,) in turns.cells.items():
            if failure := prepared.without(access).get(arm):
                without[arm] = failure
            elif mark := self._failure(key):
                without[arm] = NoFigure("skipped", "a sample of this cell failed", mark.cause)
            elif (nbytes := requested_bytes(subject.manifest, access.reads)) > MOST_BYTES:
                why = f"reading {nbytes / 1e9:.1f} GB again to explain it would take too long"
                without[arm] = NoFigure("skipped", why)
            else:
                tasks[arm] = BreakdownTask(**prepared.about(arm, access))
        self._log.take(turns, without, lambda arm, number: [asdict(self._take(tasks[arm]))], self._step)

    def _take(self, task: BreakdownTask) -> ReadParts:
        try:
            found: ReadParts = self._explainer.do(task)
        except WorkerError as error:
            return ReadParts(**asdict(NoFigure.of(error)))
        return found


class BreakdownMeasurement(Measurement):
    """Where the time of warm reads goes, measured in every run from a local disk."""

    name = WHAT
    rows = Breakdown
    since: ClassVar[int | None] = 3

    def open(self, config: RunConfig) -> Measuring:
        """Open the measurement for every run: its file then shows if there was nothing to explain."""
        return _BreakdownRounds(config)

    def turns(self, config: RunConfig, arms: Sequence[Arm], subject: Subject) -> Iterator[Turns]:
        """Return the turns of every access that is explained."""
        for suite, access in subject.plans:
            if _applies(config, access):
                yield _turns(config, subject, suite, access, _explained(arms))


def _turns(config: RunConfig, subject: Subject, suite: str, access: Access, arms: Sequence[Arm]) -> Turns:
    return turns_of(config, subject, suite, access, arms, WARM, rounds_of(config), WHAT)


measurement = BreakdownMeasurement()
