"""From a plan to a report: what the command line and the API do alike once they know what is asked."""

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
    """Take every sample of a run that its folder does not have yet, and write its report.

    Parameters
    ----------
    planned, folder, disk
        As for `harness.run.experiment.run`; the folder is held, and has the configuration.
    progress : context manager
        Entered while samples are taken; gives what is told about every step.
    options : Options, optional
        As for `harness.report.write.write_report`; what the report was asked last without them.
    measure : callable
        Takes the samples; `harness.run.experiment.run` does so in this process.
    interrupted : callable, optional
        Told of Ctrl-C and its kin; the report is then of what was measured. Without it the exception goes on.

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
