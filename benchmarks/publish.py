"""Publish a measured run: ``python -m benchmarks.publish NAME [FOLDER]``.

Copies the records of the run in FOLDER to ``results/NAME`` (without FOLDER, the records there stay), writes its report
again with the options of the last one, copies the plots to ``plots/NAME``, and replaces the figures of the run's tables
in the README and in ``docs/``. A comment before a table marks it: ``<!-- NAME: TRACE -->`` for times and sizes of a
trace at its largest length, as *stock / best*; ``<!-- NAME: archives -->`` for sizes of archives; and
``<!-- NAME: the answer -->`` for the text block with the answer. Rows and columns of a table stay. Sentences that state
figures have to be revised by hand.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from harness.analysis.efforts import BEST, STOCK, standing
from harness.analysis.formatting import duration, size
from harness.analysis.report_options import find_options
from harness.cli.answer import screen
from harness.errors import UsageError
from harness.report.write import write_report
from harness.run.experiment import SCRATCH

ROOT = Path(__file__).parent.parent
KEPT = ("beside.json",)
"""Files of a published run that no measurement writes."""

_CASE = re.compile(r"`(\w+)/(\w+)(?:/(\w+))?`")
_MARK = r"(<!-- {run}: {what} -->\n\n)"


def copy_records(source: Path, target: Path) -> None:
    """Replace the records of a published run by those of another folder; `KEPT` stays.

    The published run is removed only after the copy is complete.

    Raises
    ------
    UsageError
        If the other folder holds no run, or is the published one.
    """
    if not (source / "run.json").is_file() or source.resolve() == target.resolve():
        raise UsageError(f"{source} holds no run to publish: name the folder that harness run --out wrote.")
    copy = target.with_name(f".{target.name}.new")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(SCRATCH, "uses"))
    for name in KEPT:
        if (target / name).exists():
            shutil.copy2(target / name, copy / name)
    shutil.rmtree(target, ignore_errors=True)
    copy.rename(target)


def case_text(part: pd.DataFrame, label: str, name: str) -> str:
    """Return what a table states of one case and format: a size ratio, or the medians stock and best."""
    found = _CASE.search(label)
    assert found, label
    suite, access, cache = found.groups()
    case = part[(part["suite"] == suite) & (part["access"] == access) & (part["cache"].fillna("") == (cache or ""))]
    mine = case[case["format"] == name]
    stock = standing(mine, STOCK).iloc[0]
    if suite == "size":
        return f"{stock['ratio_to_float32']:.2f} x"
    return f"{duration(stock['median_seconds'])} / {duration(standing(mine, BEST).iloc[0]['median_seconds'])}"


def times_of(summary: pd.DataFrame, trace: str) -> Callable[[list[str], list[str]], list[str]]:
    """Return a function that takes the header and a row of a table, and returns the row with the run's figures."""
    part = summary[summary["trace"] == trace]
    part = part[(part["n_res"] == part["n_res"].max()) & (part["executor"] == "main")]
    return lambda header, row: [row[0], *(case_text(part, row[0], name) for name in header[1:])]


def sizes_of(folder: Path) -> Callable[[list[str], list[str]], list[str]]:
    """Return a function as `times_of` does, for a table of the archives of a run with one subject."""
    (subject,) = json.loads((folder / "archives.json").read_text())["subjects"]
    sizes = {f"{one['format']} {one['profile']}".strip(): one["size_bytes"] for one in subject["archives"]}
    return lambda _, row: [row[0], size(sizes[row[0]]), f"{sizes['raw'] / sizes[row[0]]:.2f} x"]


def with_table(text: str, mark: str, figures: Callable[[list[str], list[str]], list[str]]) -> str:
    """Replace the figures of the table behind each match of a mark."""

    def table(found: re.Match[str]) -> str:
        lines = found[2].splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        rows = [f"| {' | '.join(figures(cells[0], row))} |" for row in cells[2:]]
        return found[1] + "\n".join([*lines[:2], *rows]) + "\n"

    return re.sub(mark + r"((?:\|.*\n)+)", table, text)


def main(name: str, measured: Path | None) -> None:
    """Publish one run."""
    folder, plots = ROOT / "results" / name, ROOT / "plots" / name
    options = find_options(folder if (folder / "report.json").exists() or measured is None else measured)
    if measured is not None:
        copy_records(measured, folder)
    written = write_report(folder, options)
    shutil.rmtree(plots, ignore_errors=True)
    shutil.copytree(folder / "plots", plots)
    summary = pd.read_csv(folder / "summary.csv")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        new = text
        for trace in summary["trace"].unique():
            new = with_table(new, _MARK.format(run=name, what=re.escape(str(trace))), times_of(summary, str(trace)))
        if f"<!-- {name}: archives -->" in new:
            new = with_table(new, _MARK.format(run=name, what="archives"), sizes_of(folder))
        escaped = "\n".join(screen(written)).replace("\\", r"\\")
        block = _MARK.format(run=name, what="the answer") + r"```text\n.*?\n```"
        new = re.sub(block, rf"\1```text\n{escaped}\n```", new, flags=re.DOTALL)
        if new != text:
            page.write_text(new)
            print(f"{page.relative_to(ROOT)}: figures replaced")
    print(f"Published: {folder.relative_to(ROOT)} and {plots.relative_to(ROOT)}. Now revise sentences with figures.")


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    except UsageError as error:
        sys.exit(str(error))
