"""Messages in the terminal at the end of a run: failures, and where the results are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.cli import terminal
from harness.evidence.rerun import Repeat
from harness.records import KEY_COLUMNS
from harness.report.write import WrittenReport
from harness.row_files import read_samples


def sections(written: WrittenReport) -> None:
    """Print the tables that the sections of extensions provide for the end of a run."""
    for section, found in written.brought:
        if (table := section.closing(found)) is not None:
            shown = terminal.table(table.caption, *table.columns)
            for row in table.rows:
                shown.add_row(*row)
            terminal.console().print(shown, markup=False)


def where(folder: Path, written: WrittenReport) -> None:
    """Print where the results are."""
    terminal.say("")
    terminal.say(f"Report     {written.page}")
    terminal.say(f"           {written.markdown} for a pull request; drawings in {written.plots}")
    terminal.say(f"All cells  harness show {folder}")


_OUTCOMES = {
    "holds": "hold",
    "weaker": "were different and are inconclusive now",
    "new": "were inconclusive and are different now",
    "contradicted": "are contradicted",
    "untold": "comparisons have no verdict in either run",
    "other": "were given by one of the two only, or changed otherwise",
}


def repeat(found: Repeat, folder: Path) -> None:
    """Print how a second run compares with the first."""
    if found.nothing:
        terminal.say(f"There was no verdict to hold: the run gives none for its {len(found.verdicts)} comparisons.")
    else:
        counts = found.verdicts["outcome"].value_counts()
        shown = terminal.table(f"{len(found.verdicts)} verdicts, measured again in {folder}", "verdicts", "")
        for outcome, text in _OUTCOMES.items():
            shown.add_row(str(counts.get(outcome, 0)), text)
        terminal.console().print(shown, markup=False)
    for row in found.verdicts[found.verdicts["outcome"] == "contradicted"].to_dict("records"):
        place = " ".join(str(row[k]) for k in ("suite", "access", "trace", "n_res", "format", "cache") if row[k])
        terminal.say(
            f"contradicted: {place}: {row['before']} ({row['ratio_before']:.2f}), "
            f"then {row['after']} ({row['ratio_after']:.2f})"
        )
    for text in (*found.sizes, *found.digests, *found.answers):
        terminal.say(text)
    if not found.sizes and not found.digests:
        terminal.say("Every archive has the same size and the same bytes.")
    if not found.answers and not found.nothing:
        terminal.say("Every use prefers the same format.")


def failures(summary: pd.DataFrame, folder: Path, resume: str) -> int:
    """Print the failed cells on standard error, and how many of them the command `resume` would measure again.

    Returns
    -------
    int
        Exit code: 1 if there are any, else 0.
    """
    failed = summary[summary["status"] == "failed"]
    if failed.empty:
        return 0
    out = terminal.console(errors=True)
    for (name, reason), cells in failed.groupby(["format", "reason"], sort=False):
        cases = ", ".join(dict.fromkeys(cells["suite"] + "/" + cells["access"]))
        out.print(f"harness: {name} failed in {_cells(len(cells))} ({cases}): {reason}.", markup=False)
    samples = read_samples(folder / "samples.csv")
    spoilt = samples[samples["cause"] == "machine"].groupby(KEY_COLUMNS, dropna=False).ngroups
    if spoilt:
        terminal.complain(
            f"In {_cells(spoilt)} this machine failed, not the format. When it has what it lacked, take "
            f"{'it' if spoilt == 1 else 'them'} again with: {resume}"
        )
    return 1


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
