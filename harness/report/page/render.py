"""The report as one HTML page that needs nothing else, and as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import harness
from harness.analysis import formatting as words
from harness.analysis.findings import Findings
from harness.analysis.growth import section
from harness.errors import escaped_lines
from harness.report.drawing.plots import plotted
from harness.report.page import sections
from harness.report.page.answer import assumptions, flips, lead, uses
from harness.report.page.inline import inline_svg
from harness.report.page.reproduce import cite, reproduce
from harness.report.page.scaling import scaling
from harness.report.page.tables import SuiteTable, suite_tables
from harness.report.section import Block, Brought, Picture, Section
from harness.suite import Plot, Suite

_SCALING = (
    "Speed against one worker over the number of workers, for each format and executor, and the time within which 99 % "
    "of reads came back; the same figures are in the table below."
)
_GROWTH = (
    "Time of each warm read against sequence length, both logarithmic, with the fitted power of the length; exponents "
    "are in the table below."
)
SECTIONS = {
    "answer": (0, "Answer"),
    "grades": (10, "Grades"),
    "plots": (20, "Plots"),
    "tables": (30, "Figures"),
    "growth": (40, "Growth with length"),
    "scaling": (80, "Several workers"),
    "fairness": (90, "Fairness"),
    "noise": (100, "Noise"),
    "limits": (110, "Limits"),
    "reproduce": (120, "Reproduce and check"),
    "cite": (130, "Cite"),
}
"""The core's sections, each with its place among those of extensions and its title in the list of sections."""

_BLANK = re.compile(r"\n{3,}")
_OF_FORMATS = ("grades", "plots", "tables", "fairness", "noise")


def render(
    findings: Findings, plots: Path, folder: Path, links: str, brought: Brought | None = None
) -> tuple[str, str]:
    """Write the report.

    Parameters
    ----------
    findings : Findings
        Of the run.
    plots : Path
        Where its plots are.
    folder : Path
        The run's folder.
    links : str
        Where Markdown says that the plots are.
    brought : list of (Section, object), optional
        The sections of extensions, each with what it found.

    Returns
    -------
    page : str
        HTML that needs nothing else.
    markdown : str
        The same for a pull request.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report.page"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # The text is read in terminals too; style, script and drawings are the project's own, and marked as such.
        finalize=lambda value: escaped_lines(value) if type(value) is str else value,
    )
    environment.filters["bar"] = lambda text: str(text).replace("|", "\\|")
    view, samples = _view(findings, brought or [], plots, folder, links)
    source = {name: environment.loader.get_source(environment, name)[0] for name in ("style.css", "script.js")}  # type: ignore[union-attr]
    page = environment.get_template("page.html").render(
        page=view,
        style=Markup(source["style.css"]),
        script=Markup(source["script.js"]),
        samples=Markup(json.dumps(samples, separators=(",", ":"))),
    )
    return page, _BLANK.sub("\n\n", environment.get_template("page.md").render(page=view))


def _view(
    findings: Findings, brought: Brought, plots: Path, folder: Path, links: str
) -> tuple[dict[str, Any], list[list[float]]]:
    """Put every section into words; return them with the samples that cells refer to by number."""
    first = lead(findings)
    tables = suite_tables(findings.summary, findings.samples, findings.config.suites, findings.options.baseline)
    samples: list[list[float]] = []
    changes = flips(findings)
    growth = section(findings.growth)
    own = [(one, blocks) for one, found in brought if (blocks := one.blocks(found, findings))]
    alone = " and ".join(one.title for one, _ in own)
    view = {
        "title": alone if findings.without_formats and alone else "Which file format for these inference traces?",
        "run_id": findings.config.run_id,
        "facts": sections.facts(findings),
        "sections": _sections(findings, [one for one, _ in own]),
        "brought": _placed(own, plots),
        "formats": not findings.without_formats,
        "answer": first.answer,
        "warnings": sections.warnings(findings),
        "uses": uses(findings),
        "elsewhere": [found.text for found in findings.headlines]
        if len(findings.samples["trace"].unique()) > 1
        else [],
        "flips": changes,
        "decision_picture": _picture(plots, "decision", "Where the choice flips", " ".join(changes[:1])),
        "assumptions": assumptions(findings),
        "grades": sections.grades(findings),
        "plots": [
            picture
            for name, suite, plot in plotted()
            if (picture := _picture(plots, name, suite.heading, _alt(findings, suite, plot)))
        ],
        "tables": [_table(table, samples) for table in tables],
        "growth": growth and {**growth, "picture": _picture(plots, "growth", "Growth with length", _GROWTH)},
        "scaling": _scaling(findings, plots),
        "ledger": sections.ledger(findings.ledger),
        "noise": sections.noise(findings.noise),
        "limits": sections.limits(findings, brought),
        "reproduce": reproduce(findings),
        "cite": cite(findings, folder),
        "plots_at": links,
        "footer": f"trace-format-harness {harness.__version__}. Licence of the harness: Apache-2.0.",
    }
    return view, samples


def _sections(findings: Findings, brought: list[Section]) -> list[tuple[str, str]]:
    """List the sections of the page: without those on formats where there are none."""
    absent = [*(_OF_FORMATS if findings.without_formats else ())]
    absent += ["scaling"] if findings.scaling is None or findings.without_formats else []
    absent += ["growth"] if section(findings.growth) is None else []
    own = [(order, name, title) for name, (order, title) in SECTIONS.items() if name not in absent]
    own += [(one.order, one.name, one.title) for one in brought]
    return [(name, title) for _, name, title in sorted(own)]


def _placed(brought: list[tuple[Section, list[Block]]], plots: Path) -> dict[str, list[dict[str, Any]]]:
    """Arrange the sections of extensions by the name of the core's section that they stand before."""
    before: dict[str, list[dict[str, Any]]] = {name: [] for name in SECTIONS}
    for one, own in brought:
        blocks = []
        for block in own:
            drawn = _picture(plots, block.name, block.title, block.caption) if isinstance(block, Picture) else block
            blocks += [(type(block).__name__, drawn)] if drawn else []
        place = next((name for name, (order, _) in SECTIONS.items() if order > one.order), "cite")
        before[place].append({"name": one.name, "title": one.title, "blocks": blocks})
    return before


def _scaling(findings: Findings, plots: Path) -> dict[str, Any] | None:
    found = scaling(findings)
    return found and {**found, "picture": _picture(plots, "scaling", "Scaling over workers", _SCALING)}


def _picture(plots: Path, name: str, title: str, alt: str) -> dict[str, Any] | None:
    path = plots / f"{name}.svg"
    if not path.is_file():
        return None
    label = alt or title
    return {
        "name": name,
        "title": title,
        "caption": label,
        "svg": Markup(inline_svg(path.read_text(encoding="utf-8"), name.replace("_", "-"), label)),
    }


def _alt(findings: Findings, suite: Suite, plot: Plot) -> str:
    """Say what a plot shows, and what stands out in it."""
    if suite.criterion is None:
        return f"{plot.title}."
    table = findings.grades.table
    rows = table[(table["criterion"] == suite.criterion.name) & table["figure"].notna()].sort_values("figure")
    if rows.empty:
        return f"{plot.title}."
    best = "smallest" if suite.unit == "B" else "fastest"
    ranked = [f"{row['format']} {words.times(row['figure'])}" for row in rows.to_dict("records")]
    return f"{plot.title}. On average over its cells, against the {best} in each: {words.listed(ranked)}."


def _table(table: SuiteTable, samples: list[list[float]]) -> dict[str, Any]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.rows:
        cells = []
        for column, cell in zip(table.columns, row.cells, strict=True):
            number = None
            if len(cell.samples) > 1:
                number = len(samples)
                samples.append([float(f"{seconds:.4g}") for seconds in cell.samples])
            cells.append(
                {
                    "text": cell.text,
                    "detail": cell.detail,
                    "ratio": cell.ratio,
                    "word": cell.word,
                    "number": number,
                    "name": f"{column}, {row.case}, {_titled(row.trace, row.n_res)}",
                }
            )
        groups.setdefault((row.trace, row.n_res), []).append({"case": row.case, "cells": cells})
    return {
        "suite": table.suite,
        "title": table.title,
        "note": table.note,
        "columns": table.columns,
        "groups": [
            {
                "trace": words.pretty_trace(trace),
                "n_res": n_res,
                "title": _titled(trace, n_res),
                "rows": rows,
            }
            for (trace, n_res), rows in groups.items()
        ],
    }


def _titled(trace: str, n_res: str) -> str:
    return words.pretty_trace(trace) + (f", {n_res} residues" if n_res else "")
