"""Run a plan and write its report: the steps that the command line and the API share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from harness.analysis.report_options import Options, find_options
from harness.report.write import WrittenReport, write_report
from harness.run.disk_space import Space
from harness.run.experiment import run
from harness.run.planned_run import PlannedRun
from harness.run.progress import Progress


def run_and_report(
    planned: PlannedRun,
    folder: Path,
    progress: AbstractContextManager[Progress],
    disk: Space | None = None,
    *,
    options: Options | None = None,
    measure: Callable[[PlannedRun, Path, Progress, Space | None], object] = run,
    interrupted: Callable[[KeyboardInterrupt], object] | None = None,
) -> WrittenReport:
    """Take every sample of a run that its folder lacks, and write the report.

    Parameters
    ----------
    planned, folder, disk
        As for `harness.run.experiment.run`; the folder is locked, and has the configuration.
    progress : context manager
        Entered while samples are taken; its value is notified of every step.
    options : Options, optional
        As for `harness.report.write.write_report`; by default those of the last report.
    measure : callable
        Takes the samples; `harness.run.experiment.run` does so in this process.
    interrupted : callable, optional
        Receives a `KeyboardInterrupt`; the report then covers what was measured. Without it, the exception propagates.

    Raises
    ------
    UsageError, HarnessError
        As `harness.run.experiment.run` and `harness.report.write.write_report`.
    """
    try:
        with progress as told:
            measure(planned, folder, told, disk)
    except KeyboardInterrupt as error:
        if interrupted is None:
            raise
        interrupted(error)
    return write_report(folder, options or find_options(folder))
