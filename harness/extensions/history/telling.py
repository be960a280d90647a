"""How a step is told to people, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.analysis import formatting as words
from harness.extensions.history.commits import commit_range
from harness.extensions.history.series import Series
from harness.extensions.history.steps import MACHINE, SECONDS, Step
from harness.records import CellKey

FIGURES = {
    SECONDS: "time", MACHINE: "machine", "size_bytes": "bytes", "files": "files", "files_opened": "files opened",
    "requests": "requests",
}  # fmt: skip


def case(step: Step) -> str:
    """Say what a step is of."""
    return "the machine itself" if step.key is None else cell(step.key)


def cell(key: CellKey) -> str:
    """Name a cell."""
    length = "" if key.n_res is None else f" {key.n_res}"
    arm = f"{key.format} ({key.profile})" if key.profile else key.format
    return f"{arm}: {key.suite}, {words.case(key._asdict())}; {words.pretty_trace(key.trace)}{length}"


def level(step: Step, value: float) -> str:
    """Write a level with its unit."""
    if step.figure == SECONDS:
        return words.duration(value)
    return f"{value:.2f}" if step.figure == MACHINE else f"{value:,.0f}"


def change(step: Step) -> str:
    """Write a change, as a ratio of times or a difference of exact figures."""
    if step.figure in (SECONDS, MACHINE):
        return f"{words.times(step.ratio)} {'slower' if step.ratio > 1 else 'faster'}".replace("×", " x")
    return f"{step.level_after - step.level_before:+,.0f}"


_COLUMNS = [
    "series", *CellKey._fields, "figure", "level_before", "level_after", "ratio", "regression", "run_before",
    "run_after", "commit_before", "commit_after", "commits", "found_in", "meanwhile",
]  # fmt: skip


def step_table(series: Sequence[Series], found: Sequence[Sequence[Step]]) -> pd.DataFrame:
    """Return one row a step, oldest first: the key columns of ``summary.csv``, levels in seconds or as counted.

    Parameters
    ----------
    series : sequence of Series
        From `harness.extensions.history.series.arrange`.
    found : sequence of sequence of Step
        The steps of each.
    """
    rows = []
    for number, steps in enumerate(found, 1):
        for step in steps:
            key = step.key._asdict() if step.key is not None else {}
            told = {
                "series": number,
                "figure": FIGURES[step.figure],
                "run_before": step.before.run_id,
                "run_after": step.after.run_id,
                "commit_before": step.before.commit,
                "commit_after": step.after.commit,
                "commits": commit_range(step.before, step.after),
                "found_in": step.series,
                "meanwhile": ", ".join(step.meanwhile),
            }
            plain = {n: getattr(step, n) for n in ("level_before", "level_after", "ratio", "regression")}
            rows.append(key | told | plain)
    return pd.DataFrame(rows, columns=_COLUMNS)
