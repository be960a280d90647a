"""The command ``beside``: show runs of other machines and budgets in a run's report."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from harness.analysis.asked import find_options
from harness.analysis.findings import find
from harness.cli import show
from harness.cli.options import add_plugins
from harness.cli.parser import examples
from harness.errors import UsageError
from harness.extensions.beside.section import FILE, VERSION, Run, summed
from harness.files import write_text
from harness.report.folders import held
from harness.report.write import lasting, write_report
from harness.run.complete import SAMPLES


def add_beside(parser: argparse.ArgumentParser) -> None:
    """Show runs of other machines and budgets in a run's report."""
    parser.epilog = examples("beside results/first results/other", "beside results/first    # takes them out again")
    parser.description = (
        f"Keep the machines, budgets and grades of other runs in RUN/{FILE}, and make the report of RUN again, which "
        "shows them below its own. Without OTHER, take them out of it."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of the run whose report shows the others")
    parser.add_argument("others", type=Path, nargs="*", metavar="OTHER", help="folders of the other runs")
    add_plugins(parser)
    parser.set_defaults(command=_beside)


def _beside(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.run
    options = find_options(folder)
    mine = find(folder, options).config.run_id
    others = [_other(path) for path in arguments.others]
    names = [run["run"] for run in others]
    if twice := sorted({name for name in [mine, *names] if [mine, *names].count(name) > 1}):
        raise UsageError(f"Two of the runs are called {twice[0]}: rename the folder of one and its run_id in run.json.")
    with held(folder):
        if others:
            document = lasting({"beside_version": VERSION, "runs": others})
            write_text(folder / FILE, json.dumps(document, indent=1) + "\n")
        else:
            (folder / FILE).unlink(missing_ok=True)
        with show.busy("writing the report and its drawings"):
            written = write_report(folder, options)
    show.say(f"Report: {written.page}   for a pull request: {written.markdown}")
    return 0


def _other(folder: Path) -> Run:
    """Read another run; its grades are worked out again from its samples."""
    found = find(folder, find_options(folder))
    if found.withdrawn:
        raise UsageError(
            f"{folder}: verdicts on its reads are withdrawn. Measure it again, then show it beside another."
        )
    return summed(found, hashlib.sha256((folder / SAMPLES).read_bytes()).hexdigest())
