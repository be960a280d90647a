"""``harness report RUN RUN ...``: compare the verdicts of checked runs, and find those that hold on all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import harness
from harness.analysis import formatting
from harness.analysis.findings import Findings, find
from harness.analysis.report_options import Options
from harness.errors import UsageError, unknown_name
from harness.extensions.beside.answer import screen
from harness.extensions.beside.document import FILE, SideBySide, to_json
from harness.extensions.beside.page import render_page
from harness.extensions.beside.runs import CheckedRun, checked_runs
from harness.extensions.beside.shared import SharedCells, share
from harness.extensions.beside.systems import describe_runs
from harness.extensions.beside.verdicts import held_verdicts


def report_on_runs(
    paths: Sequence[Path], baseline: str | None, tell: Callable[[str], object]
) -> tuple[dict[str, str], list[str]]:
    """Check runs and compare their verdicts side by side.

    Parameters
    ----------
    paths : sequence of Path
        Folders of runs, or bundles; two at least.
    baseline : str or None
        The format that ratios of cells refer to; None for the baseline of the runs, which must then be the same.
    tell : callable
        Called with a description of the next step.

    Returns
    -------
    dict of str to str
        The texts of the report by file name, the page last.
    list of str
        The lines to show in a terminal.

    Raises
    ------
    HarnessError
        If a run is refused or nothing can be compared; the message names the run and the reason.
    """
    with checked_runs(paths, tell) as runs:
        shared = share(runs)
        reference = _baseline(runs, shared, baseline)
        found: list[Findings] = []
        for run in runs:
            tell(f"working out the words of {run.name}")
            found.append(find(run.folder, Options(baseline=reference), keep=shared.keep(run)))
        together = SideBySide(
            runs=runs, baseline=reference, shared=shared, verdicts=held_verdicts(found, shared.efforts),
            facts=describe_runs(runs, shared.formats),
        )  # fmt: skip
    page, markdown = render_page(together)
    files = {FILE: to_json(together, harness.__version__), "report.md": markdown, "report.html": page}
    return files, list(screen(together))


def _baseline(runs: Sequence[CheckedRun], shared: SharedCells, asked: str | None) -> str:
    """Return the format that the ratios of all runs refer to."""
    formats = sorted({name for name, _ in shared.formats})
    if asked is not None and asked not in formats:
        raise unknown_name("format that all runs measured", asked, formats)
    theirs = dict.fromkeys(run.config.baseline for run in runs)
    if asked is None and len(theirs) > 1:
        raise UsageError(
            f"The ratios of the runs refer to different formats, {formatting.listed(theirs)}: choose one with "
            "--baseline."
        )
    return asked or next(iter(theirs))
