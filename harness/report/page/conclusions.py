"""Concluding sentences: which format is best by stock readers and at its best, by how much, and how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.criteria import GradedCriterion, criteria
from harness.analysis.efforts import BEST, STOCK, stated
from harness.analysis.findings import Findings
from harness.analysis.ranking import SURE
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.analysis.withdrawal import CORRECTION
from harness.report.page.answer import answer, least_rounds
from harness.report.page.sentences import sentences

HOW = {STOCK: "by stock readers", BEST: "at their best", "": "as measured"}
"""Name of a block of formats, by its effort."""

_NAMED = 3
"""Largest number of formats behind the best that a sentence names; the table has all."""


@dataclass(frozen=True)
class Said:
    """The first sentences of a report."""

    deciding: tuple[str, ...]  # Sentences on what decides between formats; if nothing is graded, the answer.
    answer: str  # Which format is preferred for which use.


def said(findings: Findings) -> Said:
    """Return the first sentences of a report, the same for the page, its Markdown and the terminal."""
    preferred = answer(findings)
    return Said(tuple(lead(findings, preferred)), preferred)


def lead(findings: Findings, preferred: str) -> list[str]:
    """Return what decides, a sentence or two for each effort, then how sure it is; the answer if nothing is graded."""
    grades = findings.grades.table
    told = grades[grades["standing"] != ""]
    exact = {criterion.name for criterion in criteria() if criterion.exact}
    efforts = [_effort(of, str(effort), exact) for effort, of in told.groupby("effort", sort=False)]
    least = [one["sizes"]["least"] for one in efforts if one["sizes"]]
    if len(set(least)) == 1 < len(least):
        efforts[-1]["sizes"] = None  # it would repeat the same sentence
        efforts = [one for one in efforts if one["won"] or one["close"] or one["sizes"]]
    compared = told[~told["criterion"].isin(exact) & (told["standing"] != "best")]
    rounds = least_rounds(findings.summary)
    if len(compared):  # cells in which an interrupted run has fewer rounds were not compared
        rounds = least_rounds(findings.summary[findings.summary["samples"] >= VERDICT_ROUNDS]) or rounds
    values = {
        "busy": findings.noise.busy,
        "withdrawn": CORRECTION if findings.withdrawn else "",
        "efforts": efforts,
        "sure": int(compared["standing"].isin(SURE).sum()),
        "compared": len(compared),
        "rounds": rounds,
        "least": VERDICT_ROUNDS,
        "few": 0 < rounds < VERDICT_ROUNDS and compared.empty and not findings.withdrawn,
        "noise": findings.noise,
        "unmeasured": formatting.ordered(findings.best_unmeasured),
        "lacking": _lacking(formatting.ordered(told["format"])),
    }
    found = sentences("deciding", values)
    return found if efforts else [*found, preferred]


def _effort(of: pd.DataFrame, effort: str, exact: set[str]) -> dict[str, Any]:
    """Return the fastest formats, criteria without a clear one, how far others are behind, and who stores least."""
    timed = of[~of["criterion"].isin(exact)]
    by_criterion = {str(name): rows for name, rows in timed.groupby("criterion", sort=False)}
    won: dict[str, list[str]] = {}
    close: dict[tuple[str, ...], list[str]] = {}
    for name, rows in by_criterion.items():
        near = rows[rows["standing"].isin(["best", "tie", "inconclusive"])]["format"]
        if len(near) == 1:
            won.setdefault(str(near.iloc[0]), []).append(name)
        else:
            close.setdefault(tuple(formatting.ordered(near)), []).append(name)
    behind = timed[timed["standing"] == "behind"].groupby("format")["ratio"].agg(["min", "max"]).sort_values("max")
    first = sorted(won.items(), key=lambda each: -len(each[1]))
    return {
        "how": HOW[effort].capitalize(),
        "won": [(name, _won(criteria_, list(by_criterion))) for name, criteria_ in first],
        "close": [(formatting.listed(names), formatting.listed(criteria_)) for names, criteria_ in close.items()],
        "behind": [(str(name), _range(row["min"], row["max"])) for name, row in behind.head(_NAMED).iterrows()],
        "sizes": _sizes(of[of["criterion"].isin(exact)]),
    }


def _lacking(formats: list[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return what exists for formats but was not measured, once for all formats with the same list."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in formats:
        if (backend := stated(name)) and backend.unmeasured:
            found.setdefault(backend.unmeasured, []).append(name)
    return list(found.items())


def _won(won: list[str], every: list[str]) -> str:
    return f"all {len(every)} kinds of access" if won == every and len(every) > 1 else formatting.listed(won)


def _range(low: float, high: float) -> str:
    ends = [formatting.factor(ratio) for ratio in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _sizes(sizes: pd.DataFrame) -> dict[str, Any] | None:
    """Return the format that stores least, and how much more the others take; None without sizes."""
    if sizes.empty:
        return None
    ordered = sizes[sizes["criterion"] == sizes["criterion"].iloc[0]].sort_values("ratio", kind="stable")
    more = [(str(row["format"]), formatting.percent(row["ratio"] - 1)) for row in ordered.iloc[1:].to_dict("records")]
    return {"least": str(ordered["format"].iloc[0]), "more": more[:_NAMED]}


@dataclass(frozen=True, kw_only=True)
class EffortBlock:
    """Rows of the criteria table for formats with one effort."""

    how: str  # The effort, in words.
    # Each format with its rows of the grades by criterion; the best on average comes first.
    rows: list[tuple[str, dict[str, dict[Any, Any]]]]


def blocks(grades: pd.DataFrame) -> tuple[list[GradedCriterion], list[EffortBlock]]:
    """Arrange grades as a table: the criteria are its columns, and formats its rows, in a block for each effort."""
    columns = [criterion for criterion in criteria() if criterion.name in set(grades["criterion"])]
    found = []
    for effort, of in grades.groupby("effort", sort=False):
        logs = of.assign(log=np.log(of["figure"].astype(float)))
        mean = logs.groupby("format")["log"].mean().sort_values(kind="stable")
        by_format = {str(name): part.to_dict("records") for name, part in of.groupby("format")}
        rows = [(str(name), {row["criterion"]: row for row in by_format[str(name)]}) for name in mean.index]
        found.append(EffortBlock(how=HOW[str(effort)], rows=rows))
    return columns, found
