"""Write the summary, plots and report of a run's samples; each file appears complete or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.findings import Findings, find
from harness.analysis.report_options import REPORT_VERSION, Options, find_options
from harness.analysis.summary import before
from harness.files import write_text
from harness.report.drawing.attribution import draw_attribution
from harness.report.drawing.criteria import draw_criteria
from harness.report.drawing.plots import draw, plotted
from harness.report.drawing.scaling import draw_scaling
from harness.report.page.conclusions import Said, said
from harness.report.page.render import render
from harness.report.section import Brought, brought

DIGITS = 10
"""Significant digits of a derived figure. Versions of NumPy and processors differ from the 13th digit on."""


def core_drawings() -> tuple[str, ...]:
    """Return the names of all drawings of the core that a report may have, without suffix."""
    return (*(name for name, *_ in plotted()), "criteria", "scaling", "attribution")


@dataclass(frozen=True)
class Target:
    """Output folder of a report: the run's own, or another, which leaves the run unchanged."""

    folder: Path  # The folder of tables and pages.
    links: str = "plots"  # The folder of the drawings in links of the Markdown, relative to it.

    @property
    def plots(self) -> Path:
        """The folder of the drawings."""
        return self.folder / "plots"


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenReport:
    """Results of a report, and the paths of its files."""

    summary: pd.DataFrame  # The cells of formats.
    brought: Brought  # The sections of extensions, each with what it found.
    cells: pd.DataFrame  # The rows of ``summary.csv``.
    grades: pd.DataFrame  # The criteria, a row for each format and effort.
    plots: Path  # The folder of the plots.
    # The report.
    page: Path
    markdown: Path
    deciding: tuple[str, ...]  # Sentences on what decides between formats; if nothing is graded, the answer.
    answer: str  # Which format is preferred for which use.
    incomplete: tuple[str, ...] = ()  # Sentences on what is wrong with the rows of the run.


def write_report(
    folder: Path,
    options: Options,
    *,
    target: Target | None = None,
    version: int = REPORT_VERSION,
) -> WrittenReport:
    """Summarise a run, draw its plots and write its report; the same files give the same bytes.

    Parameters
    ----------
    folder : Path
        The run's folder.
    options : Options
        Baseline and mix.
    target : Target, optional
        The output folder; by default the run's own.
    version : int
        As for `harness.analysis.findings.find`.

    Raises
    ------
    HarnessError
        As `harness.analysis.findings.find`.
    """
    target = target or Target(folder)
    findings, parts = _found(folder, options, version)
    _write_tables(findings, parts, target)
    _draw(findings, parts, target)
    document = findings.to_document()
    for section, found in parts:
        document |= section.document(found)
    document = {name: part if name == "options" else lasting(part) for name, part in document.items()}
    start = said(findings)
    written = _written(findings, parts, target, start)
    page, markdown = render(findings, target.plots, folder, target.links, parts, start)
    write_text(target.folder / "report.json", json.dumps(document, indent=1) + "\n")
    write_text(written.page, page)
    write_text(written.markdown, markdown)
    return written


def _written(findings: Findings, parts: Brought, target: Target, start: Said) -> WrittenReport:
    return WrittenReport(
        summary=findings.summary, brought=parts, cells=findings.cells, grades=findings.grades.table,
        plots=target.plots, deciding=start.deciding, answer=start.answer,
        page=target.folder / "report.html", markdown=target.folder / "report.md", incomplete=findings.incomplete,
    )  # fmt: skip


def read_report(folder: Path) -> WrittenReport:
    """Compute the results of a run's report with its last options, without writing anything.

    Raises
    ------
    HarnessError
        As `harness.analysis.findings.find`.
    """
    findings, parts = _found(folder, find_options(folder))
    return _written(findings, parts, Target(folder), said(findings))


def write_plots(folder: Path) -> list[Path]:
    """Summarise a run and draw its plots, without a report; return the paths of the drawings.

    Raises
    ------
    HarnessError
        As `harness.analysis.findings.find`.
    """
    target = Target(folder)
    findings, parts = _found(folder, find_options(folder))
    _write_tables(findings, parts, target)
    return sorted(_draw(findings, parts, target))


def _found(folder: Path, options: Options, version: int = REPORT_VERSION) -> tuple[Findings, Brought]:
    findings = find(folder, options, version)
    parts = brought(folder, findings)
    more = [cells for section, found in parts if (cells := section.cells(found)) is not None]
    return dataclasses.replace(findings, more=pd.concat(more) if more else findings.more), parts


def _write_tables(findings: Findings, parts: Brought, target: Target) -> None:
    tables = {"summary.csv": before(findings.cells, findings.version), "scaling.csv": findings.scaling}
    mine = {"attribution.csv": findings.attribution.pairs}
    tables |= {name: table for name, table in mine.items() if not table.empty}
    for section, found in parts:
        tables |= section.tables(found)
    for name, table in tables.items():
        if table is not None:
            write_table(table, target.folder / name)


def _draw(findings: Findings, parts: Brought, target: Target) -> list[Path]:
    """Write the drawings, and remove outdated ones of an earlier report."""
    target.plots.mkdir(parents=True, exist_ok=True)
    drawn = draw(findings.summary, target.plots, joined=findings.nodes < 2)
    drawn += draw_criteria(findings.grades.table, target.plots)
    drawn += draw_attribution(findings.attribution.chains, findings.config.baseline, target.plots)
    if findings.scaling is not None:
        drawn += draw_scaling(findings.scaling, target.plots)
    for section, found in parts:
        drawn += section.draw(found, target.plots)
    for old in {*target.plots.glob("*.svg"), *target.plots.glob("*.png")} - set(drawn):
        old.unlink()
    return drawn


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, figures with `DIGITS` digits, under its final name only when it is complete."""
    # Columns of objects, because pandas would turn whole numbers with gaps into fractions.
    rounded = {name: pd.Series([lasting(v) for v in table[name]], dtype=object) for name in table}
    write_text(path, pd.DataFrame(rounded).to_csv(index=False))


def lasting(value: Any) -> Any:
    """Round every derived figure of a value to `DIGITS`; whole numbers are counts and stay as they are."""
    if isinstance(value, Mapping):
        return {name: lasting(part) for name, part in value.items()}
    if isinstance(value, list):
        return [lasting(part) for part in value]
    if isinstance(value, float) and not value.is_integer():
        return float(f"{value:.{DIGITS}g}")
    return value
