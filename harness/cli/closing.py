"""What a run says in the terminal when it has ended: its tables, what failed, and where everything is."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from harness.analysis import formatting as words
from harness.analysis.efforts import at_their_best, standing
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.cli import show
from harness.evidence.rerun import Repeat
from harness.records import KEY_COLUMNS, kind_of
from harness.report.write import WrittenReport
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.suite import suite_named
from harness.workload import ReadAccess


def tables(written: WrittenReport, config: RunConfig) -> None:
    """Print the closing tables of a run: of its traces, and of sections of extensions."""
    out = show.console()
    if not written.summary.empty:
        for trace, part in standing(written.summary).groupby("trace", sort=False):  # at its largest length
            n_res = part["n_res"].max()
            rows = part if pd.isna(n_res) else part[part["n_res"] == n_res]
            length = "" if pd.isna(n_res) else f", {int(n_res)} residues"
            out.print(_of_trace(rows, f"{trace}{length}", wide=out.width >= show.PLAIN_WIDTH), markup=False)
        note = f"Median of {config.rounds} rounds, ratio to {config.baseline} with its 95 % interval; sizes are exact."
        if config.rounds < VERDICT_ROUNDS:
            note += f" A verdict needs {VERDICT_ROUNDS} rounds: this run gives none."
        out.print(note, markup=False)
        for line in _best_readers(written.summary):
            out.print(line, markup=False)
    for section, found in written.brought:
        if (table := section.closing(found)) is not None:
            shown = show.table(table.caption, *table.columns)
            for row in table.rows:
                shown.add_row(*row)
            out.print(shown, markup=False)


def _of_trace(rows: pd.DataFrame, title: str, *, wide: bool) -> Table:
    """Show one row a case, one column a format."""
    found = set(zip(rows["format"], rows["profile"], strict=True))
    arms = sorted(
        (arm for arm in found if kind_of(arm[0]) != "control"), key=lambda arm: (kind_of(arm[0]) == "ceiling", *arm)
    )
    several = len({profile for _, profile in arms if profile}) > 1
    shown = show.table(title, "case")
    for name, profile in arms:
        shown.add_column(f"{name} {profile}" if several else name, justify="right", no_wrap=True)
    place = ["suite", "access", "cache", "executor", "workers"]
    for _, cell in rows.groupby(place, sort=False, dropna=False):
        if (cell["status"] == "skipped").all():
            continue
        by_arm = {(row["format"], row["profile"]): row for row in cell.to_dict("records")}
        shown.add_row(_case(cell.iloc[0]), *(_cell(by_arm.get(arm), wide=wide) for arm in arms))
    return shown


def _best_readers(summary: pd.DataFrame) -> Iterator[str]:
    """Say which reader was a format's best in which access, a line for each format and profile."""
    best = at_their_best(summary)
    arms = dict.fromkeys(zip(best["format"], best["group"], strict=True))
    for arm in arms:
        rows = best[(best["format"] == arm[0]) & (best["group"] == arm[1])]
        won: dict[str, dict[str, None]] = {}
        for row in rows.to_dict("records"):
            settings = "" if row["profile"] == row["group"] else f" on {row['profile']}"
            won.setdefault(f"{row['reader']}{settings}", {})[str(row["access"])] = None
        told = "; ".join(f"{reader} ({', '.join(accesses)})" for reader, accesses in won.items())
        yield f"Best of {words.arm_name(arm, arms)}: {told}."


def _case(row: pd.Series) -> str:
    parts = [suite_named(str(row["suite"])).prefix, str(row["access"]), str(row["cache"])]
    if row["executor"] != ReadAccess.executor:
        parts.append(f"{row['workers']} {row['executor']}")
    return " ".join(filter(None, parts))


def _cell(row: Mapping[Hashable, Any] | None, *, wide: bool) -> str:
    if row is None:
        return ""
    if row["status"] != "ok":
        return str(row["status"])
    if pd.isna(row["median_seconds"]):
        return f"{row['size_bytes'] / 1e6:.2f} MB"
    text = words.duration(row["median_seconds"])
    if pd.isna(row["ratio"]) or row["samples"] == 1:
        return text
    text += f" x{row['ratio']:.2f}"
    if wide:
        text += f" ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})"
    return f"{text} {words.verdict(row)}".rstrip()


def where(folder: Path, written: WrittenReport) -> None:
    """Say where the results are."""
    show.say(f"Summary: {folder / 'summary.csv'}   samples: {folder / 'samples.csv'}   ledger: {folder / 'ledger.csv'}")
    show.say(f"Plots:   {written.plots}")
    show.say(written.answer)
    show.say(f"Report:  {written.page}   for a pull request: {written.markdown}")


_OUTCOMES = {
    "holds": "hold",
    "weaker": "were a difference and cannot be told now",
    "new": "could not be told and are a difference now",
    "contradicted": "are contradicted",
    "untold": "comparisons have no verdict in either run",
    "other": "were given by one of the two only, or changed otherwise",
}


def repeat(found: Repeat, folder: Path) -> None:
    """Print what a second run says of the first."""
    if found.nothing:
        show.say(f"There was no verdict to hold: the run gives none for its {len(found.verdicts)} comparisons.")
    else:
        counts = found.verdicts["outcome"].value_counts()
        shown = show.table(f"{len(found.verdicts)} verdicts, measured again in {folder}", "verdicts", "")
        for outcome, text in _OUTCOMES.items():
            shown.add_row(str(counts.get(outcome, 0)), text)
        show.console().print(shown, markup=False)
    for row in found.verdicts[found.verdicts["outcome"] == "contradicted"].to_dict("records"):
        place = " ".join(str(row[k]) for k in ("suite", "access", "trace", "n_res", "format", "cache") if row[k])
        show.say(
            f"contradicted: {place}: {row['before']} ({row['ratio_before']:.2f}), "
            f"then {row['after']} ({row['ratio_after']:.2f})"
        )
    for text in (*found.sizes, *found.digests, *found.answers):
        show.say(text)
    if not found.sizes and not found.digests:
        show.say("Every archive has the same size and the same bytes.")
    if not found.answers and not found.nothing:
        show.say("Every use prefers the same format.")


def failures(summary: pd.DataFrame, folder: Path, resume: str) -> int:
    """Name the cells that failed, on standard error, and say which the command `resume` would take again.

    Returns
    -------
    int
        Exit code: 1 when there is any, else 0.
    """
    failed = summary[summary["status"] == "failed"]
    if failed.empty:
        return 0
    out = show.console(errors=True)
    for (name, reason), cells in failed.groupby(["format", "reason"], sort=False):
        cases = ", ".join(dict.fromkeys(cells["suite"] + "/" + cells["access"]))
        out.print(f"harness: {name} failed in {_cells(len(cells))} ({cases}): {reason}.", markup=False)
    samples = read_samples(folder / "samples.csv")
    spoilt = samples[samples["cause"] == "machine"].groupby(KEY_COLUMNS, dropna=False).ngroups
    if spoilt:
        show.complain(
            f"In {_cells(spoilt)} this machine failed, not the format. When it has what it lacked, take "
            f"{'it' if spoilt == 1 else 'them'} again with: {resume}"
        )
    return 1


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
