"""Take the breakdown of every warm read access, in rounds of its own after the access's samples."""

from __future__ import annotations

from harness.measure.breakdown import BreakdownTask, Parts
from harness.measure.explaining import ExplainingRounds
from harness.measure.preparation import Prepared
from harness.measure.subject import Arm
from harness.records import Breakdown
from harness.workload import ReadAccess


class BreakdownRounds(ExplainingRounds[Breakdown]):
    """Takes breakdowns: of reads by one thread, where no other wait hides the parts."""

    what = "breakdown"

    def explains(self, access: ReadAccess) -> bool:
        return access.executor == "main" and not access.load_once

    def task(self, prepared: Prepared, arm: Arm, access: ReadAccess) -> BreakdownTask:
        return BreakdownTask(
            backend=arm.backend,
            profile=arm.settings,
            archive=prepared.archives[arm],
            reads=access.reads,
            expected=prepared.answers(access),
            by_reading=prepared.reads_little(access),
        )

    def failure(self, reason: str) -> Parts:
        return Parts(status="failed", reason=reason)
