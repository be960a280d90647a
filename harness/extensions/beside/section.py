"""Grades of other runs that earlier versions stored in a run's folder, for its report to show as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypedDict

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.analysis.plain_values import plain
from harness.documents import Figure, read_document
from harness.report.section import Block, Section, Table, Text

FILE = "beside.json"
VERSION = 1


class Graded(TypedDict):
    """A grade of one of the runs."""

    criterion: str
    format: str
    effort: str
    grade: str
    figure: Figure | None


class Run(TypedDict):
    """The facts of a run that the section shows; `None` for a budget without a limit."""

    run: str
    started: str
    commit: str
    samples_sha256: str
    cpu: str
    cores: int | None
    threads: int | None
    cache_bytes: int | None
    rounds: int
    traces: list[str]
    grades: list[Graded]


class _Kept(TypedDict):
    runs: list[Run]


def summed(findings: Findings, samples_sha256: str) -> Run:
    """Return the facts of a run to show; `samples_sha256` identifies the samples that they follow from."""
    config, session = findings.config, findings.session
    graded = plain(findings.grades.table[["criterion", "format", "effort", "grade", "figure"]])
    return {
        "run": config.run_id, "started": session.get("started") or "", "commit": session.get("commit") or "",
        "samples_sha256": samples_sha256, "cpu": session.get("cpu") or "", "cores": session.get("cores_usable"),
        "threads": config.threads, "cache_bytes": config.cache_bytes, "rounds": config.rounds,
        "traces": list(config.traces), "grades": graded,
    }  # fmt: skip


class _Section(Section):
    """The grades of this run, and below each grade those of other runs."""

    name = "beside"
    title = "Comparison with other runs"
    order = 27
    measured: ClassVar = {FILE: f"what other runs found, in {FILE}; a bundle of each shows whether it follows"}

    def find(self, folder: Path, findings: Findings) -> Any:
        """Read ``beside.json``; return None if it is missing or if this run's reads are withdrawn from comparison."""
        path = folder / FILE
        if findings.withdrawn or not path.exists():
            return None
        mend = "remove it: harness report RUN RUN --out DIR shows runs side by side"
        return read_document(path, _Kept, version=("beside_version", VERSION), mend=mend)["runs"]

    def blocks(self, found: Any, findings: Findings) -> list[Block]:
        """Show the machines and budgets, then every grade of every run."""
        runs: list[Run] = [summed(findings, ""), *found]
        return [
            Text(
                "Each run compares formats with each other on its own machine and in its own budgets; times of one are "
                "not compared with times of another. Traces and lengths may differ, as the first table says."
            ),
            Table(
                label="Runs",
                caption="Where and how each was measured.",
                columns=_COLUMNS,
                rows=list(map(_told, runs)),
            ),
            _grades(runs),
        ]


section = _Section()

_COLUMNS = ("Run", "Machine", "Threads of a contender", "Decoded chunks kept", "Rounds", "Traces", "Started", "Commit")


def _told(run: Run) -> list[str]:
    cores = f"{run['cores']} cores, {run['cpu']}" if run["cores"] else run["cpu"]
    cache = run["cache_bytes"]
    return [
        run["run"], cores or "–", f"{run['threads'] or run['cores'] or '–'}",
        "as each library has it" if cache is None else formatting.size(cache), f"{run['rounds']}",
        ", ".join(map(formatting.pretty_trace, run["traces"])), run["started"] or "–", run["commit"][:12] or "–",
    ]  # fmt: skip


def _grades(runs: list[Run]) -> Table:
    """Put the grades of all runs into one table, a row for each criterion, effort and run."""
    formats = formatting.ordered(row["format"] for run in runs for row in run["grades"])
    places = dict.fromkeys((row["criterion"], row["effort"]) for run in runs for row in run["grades"])
    rows = []
    for criterion, effort in places:
        for run in runs:
            of = {r["format"]: r for r in run["grades"] if (r["criterion"], r["effort"]) == (criterion, effort)}
            if of:
                named = f"{criterion.capitalize()}{f', {effort}' if effort else ''}: {run['run']}"
                rows.append([named, *(_grade(of.get(name)) for name in formats)])
    return Table(label="Grades of all runs", caption="Grades of all runs.", columns=["Criterion", *formats], rows=rows)


def _grade(row: Graded | None) -> str:
    if row is None or not row["grade"] or row["figure"] is None:
        return "no grade"
    return f"{row['grade']} ({formatting.times(row['figure'])})"
