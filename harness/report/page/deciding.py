"""The sentences that decide: which format is best as installed and at its best, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.criteria import GradedCriterion, criteria
from harness.analysis.efforts import BEST, STOCK
from harness.analysis.findings import Findings
from harness.analysis.standing import SURE
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.report.page.sentences import sentences

HOW = {STOCK: "as installed", BEST: "at their best", "": "as measured"}
"""What a block of formats is called, by its effort."""

_NAMED = 3
"""How many formats a sentence names behind the best; the table has all."""


def deciding(findings: Findings) -> list[str]:
    """Say what decides, a sentence or two for each effort, then how sure it is; nothing where nothing is graded."""
    grades = findings.grades.table
    graded = grades[grades["standing"] != ""]
    exact = {stated.name for stated in criteria() if stated.exact}
    efforts = [_effort(of, str(effort), exact) for effort, of in graded.groupby("effort", sort=False)]
    least = [one["sizes"]["least"] for one in efforts if one["sizes"]]
    if len(set(least)) == 1 < len(least):
        efforts[-1]["sizes"] = None  # it would say the same
    compared = graded[~graded["criterion"].isin(exact) & (graded["standing"] != "best")]
    said = {
        "busy": findings.noise.busy,
        "efforts": [one for one in efforts if one["leads"] or one["sizes"]],
        "sure": int(compared["standing"].isin(SURE).sum()),
        "compared": len(compared),
        "rounds": findings.config.rounds,
        "least": VERDICT_ROUNDS,
        "few": findings.config.rounds < VERDICT_ROUNDS and compared.empty and not findings.withdrawn,
        "noise": findings.noise,
        "unmeasured": words.ordered(findings.best_unmeasured),
    }
    return sentences("deciding", said)


def _effort(of: pd.DataFrame, effort: str, exact: set[str]) -> dict[str, Any]:
    timed, sizes = of[~of["criterion"].isin(exact)], of[of["criterion"].isin(exact)]
    every = list(dict.fromkeys(timed["criterion"]))
    first = timed[timed["standing"] == "best"].groupby("format", sort=False)["criterion"].agg(list)
    leads = sorted(first.items(), key=lambda lead: -len(lead[1]))
    behind = timed[(timed["standing"] == "behind") & ~timed["format"].isin([name for name, _ in leads[:1]])]
    ranges = behind.groupby("format")["figure"].agg(["min", "max"]).sort_values("max")
    close = timed[timed["standing"].isin(["tie", "inconclusive"])]
    return {
        "how": HOW[effort].capitalize(),
        "leads": [(name, _won(won, every)) for name, won in leads],
        "behind": [(str(name), _range(row["min"], row["max"])) for name, row in ranges.head(_NAMED).iterrows()],
        "close": [f"{name} in {words.listed(part['criterion'])}" for name, part in close.groupby("format", sort=False)],
        "sizes": _sizes(sizes),
    }  # fmt: skip


def _won(won: list[str], every: list[str]) -> str:
    return f"all {len(every)} kinds of access" if won == every and len(every) > 1 else words.listed(won)


def _range(low: float, high: float) -> str:
    ends = [words.factor(ratio) for ratio in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _sizes(sizes: pd.DataFrame) -> dict[str, Any] | None:
    """Say which stores least, and how much more the others take."""
    if len(sizes) < 2:  # the only one is the smallest of one
        return None
    ordered = sizes.sort_values("figure", kind="stable")
    least = ordered.iloc[0]
    more = [(str(row["format"]), row["figure"] / least["figure"] - 1) for row in ordered.iloc[1:].to_dict("records")]
    return {"least": str(least["format"]), "more": [(name, words.percent(part)) for name, part in more[:_NAMED]]}


@dataclass(frozen=True, kw_only=True)
class EffortBlock:
    """Formats with one effort.

    Attributes
    ----------
    how : str
        The effort, in words.
    rows : list of (str, dict)
        Each format with its rows of the grades by criterion; the best on average comes first.
    """

    how: str
    rows: list[tuple[str, dict[str, dict[Any, Any]]]]


def blocks(grades: pd.DataFrame) -> tuple[list[GradedCriterion], list[EffortBlock]]:
    """Arrange grades as a table: the criteria are its columns, and formats its rows, in a block for each effort."""
    columns = [stated for stated in criteria() if stated.name in set(grades["criterion"])]
    found = []
    for effort, of in grades.groupby("effort", sort=False):
        logs = of.assign(log=np.log(of["figure"].astype(float)))
        mean = logs.groupby("format")["log"].mean().sort_values(kind="stable")
        by_format = {str(name): part.to_dict("records") for name, part in of.groupby("format")}
        rows = [(str(name), {row["criterion"]: row for row in by_format[str(name)]}) for name in mean.index]
        found.append(EffortBlock(how=HOW[str(effort)], rows=rows))
    return columns, found
