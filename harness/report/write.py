"""Turn a run's samples into its summary, plots and report, each file whole or not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.files import write_text
from harness.report.directories import DirectorySizes
from harness.report.drawing.flips import draw_flips
from harness.report.drawing.growth import draw_growth
from harness.report.drawing.plots import draw
from harness.report.drawing.scaling import draw_scaling
from harness.report.drawing.time_plot import draw_time
from harness.report.findings import Findings, Options, find, find_options
from harness.report.page.answer import lead
from harness.report.page.render import render
from harness.report.seed_table import seed_table


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """What `write_report` wrote.

    Attributes
    ----------
    summary : DataFrame
        The cells of formats.
    directories : DirectorySizes or None
        The result directories of the run.
    cells : DataFrame
        Of ``summary.csv``: both.
    plots : Path
        The folder of the plots.
    page, markdown : Path
        The report.
    answer : str
        Its first sentence.
    """

    summary: pd.DataFrame
    directories: DirectorySizes | None
    cells: pd.DataFrame
    plots: Path
    page: Path
    markdown: Path
    answer: str


def write_report(folder: Path, options: Options, *, pictures: bool = False) -> Written:
    """Summarise a run, draw its plots and write its report; the same files give the same bytes.

    Parameters
    ----------
    folder : Path
        The run's folder.
    options : Options
        Baseline and mix.
    pictures : bool
        Whether to draw each PNG in any case, or only where there is none or its SVG has changed.

    Returns
    -------
    Written
        ``summary.csv``, ``report.json``, ``report.md``, ``report.html`` in the folder, plots in `plots_folder`.

    Raises
    ------
    HarnessError
        As `harness.report.findings.find`.
    """
    findings = find(folder, options)
    plots = _draw(findings, folder, pictures=pictures)
    write_text(folder / "report.json", json.dumps(findings.to_document(), indent=1) + "\n")
    page, markdown = render(findings, plots, folder)
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", markdown)
    return Written(
        summary=findings.summary,
        directories=findings.directories,
        cells=findings.cells,
        plots=plots,
        page=folder / "report.html",
        markdown=folder / "report.md",
        answer=lead(findings).answer,
    )


def write_plots(folder: Path) -> list[Path]:
    """Summarise a run and draw its plots, without a report; returns the drawings.

    Raises
    ------
    HarnessError
        As `harness.report.findings.find`.
    """
    plots = _draw(find(folder, find_options(folder)), folder, pictures=True)
    return sorted(path for path in plots.iterdir() if path.suffix in (".png", ".svg"))


def _draw(findings: Findings, folder: Path, *, pictures: bool) -> Path:
    write_table(findings.cells, folder / "summary.csv")
    if not findings.growth.empty:
        write_table(findings.growth, folder / "growth.csv")
    if findings.directories is not None:
        write_table(findings.directories.table, folder / "directories.csv")
    if findings.scaling is not None:
        write_table(findings.scaling, folder / "scaling.csv")
    if findings.config.preset == "seed":
        table = seed_table(findings.summary, findings.config.options.attention_windows)
        write_table(table, folder / "benchmark_results.csv")
    target = plots_folder(folder)
    target.mkdir(parents=True, exist_ok=True)
    drawn = draw(findings.summary, target, pictures=pictures)
    drawn += draw_growth(findings.growth, findings.summary, target, pictures=pictures)
    if (decision := lead(findings).decision) is not None:
        drawn += draw_flips(decision, target, pictures=pictures)
    if findings.time is not None:
        drawn += draw_time(findings.time, target, pictures=pictures)
    if findings.scaling is not None:
        drawn += draw_scaling(findings.scaling, target, pictures=pictures)
    for old in set(target.glob("*.svg")) | set(target.glob("*.png")):
        if old not in drawn:  # of an earlier report with other choices: it would no longer be true
            old.unlink()
    return target


def plots_folder(folder: Path) -> Path:
    """Say where a run's plots go: ``plots/NAME`` beside ``results/NAME``, else ``plots`` inside the run's folder."""
    resolved = folder.resolve()
    if resolved.parent.name == "results":
        return folder.parent.parent / "plots" / resolved.name
    return folder / "plots"


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV under its final name only when it is complete."""
    write_text(path, table.to_csv(index=False))
