"""The tables of a report: one for each suite, every figure with its interval and its word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.accesses import written_once
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import RAW
from harness.suite import Suite, suite_named

_PLACE = ["trace", "n_res", "access", "cache", "executor", "workers"]


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One figure of a table.

    Attributes
    ----------
    text : str
        The figure; a dash where there is none.
    detail : str
        Its interval, or why there is none.
    ratio : str
        Against the baseline, with interval.
    word : str
        The verdict.
    samples : tuple of float
        Seconds, by round; empty for a size.
    """

    text: str
    detail: str = ""
    ratio: str = ""
    word: str = ""
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One case of a suite on one trace."""

    trace: str
    n_res: str
    case: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, kw_only=True)
class SuiteTable:
    """All cases of one suite."""

    suite: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[TableRow] = field(default_factory=list)


def suite_tables(
    summary: pd.DataFrame, samples: pd.DataFrame, suites: Sequence[str], baseline: str | None
) -> list[SuiteTable]:
    """Arrange a summary as one table a suite.

    Parameters
    ----------
    summary : DataFrame
        From `harness.analysis.summary.summarise`.
    samples : DataFrame
        What it was made from.
    suites : sequence of str
        In this order.
    baseline : str or None
        The format that ratios refer to.

    Returns
    -------
    list of SuiteTable
        Of the suites that measured something; a case that a trace has no tensor for is left out.
    """
    arms = words.arms_of(summary)
    columns = tuple(words.arm_name(arm, arms) for arm in arms)
    times = _seconds(samples)
    tables = []
    # One that was typed is in the configuration as it was typed, and in rows by its name.
    for suite in dict.fromkeys([*suites, *summary["suite"]]):
        part = summary[summary["suite"] == suite]
        table = SuiteTable(
            suite=suite,
            title=suite_named(suite).heading,
            note=_note(suite_named(suite), part, baseline),
            columns=columns,
        )
        for _, cells in part.groupby(_PLACE, sort=False, dropna=False):
            if (cells["status"] == "skipped").all():
                continue
            found: dict[words.Arm, dict[str, Any]] = {
                (str(c["format"]), str(c["profile"] or "")): {str(k): v for k, v in c.items()}
                for c in cells.to_dict("records")
            }
            first = cells.iloc[0]
            row = tuple(_cell(found.get(arm), times) for arm in arms)
            n_res = "" if pd.isna(first["n_res"]) else str(int(first["n_res"]))
            table.rows.append(TableRow(trace=str(first["trace"]), n_res=n_res, case=words.case(first), cells=row))
        if table.rows:
            tables.append(table)
    return tables


def _seconds(samples: pd.DataFrame) -> dict[tuple[object, ...], tuple[float, ...]]:
    good = samples[(samples["status"] == "ok") & samples["seconds"].notna()].sort_values("round", kind="stable")
    names = ["suite", *_PLACE, "format", "profile"]
    return {
        tuple(k if words.known(k) or k == "" else None for k in key): tuple(map(float, group))
        for key, group in good.groupby(names, sort=False, dropna=False)["seconds"]
    }


def _note(suite: Suite, part: pd.DataFrame, baseline: str | None) -> str:
    against = f"the ratio to {baseline}" if baseline else "no ratio, for no baseline was measured"
    if suite.unit == "B":
        return (
            "Bytes on disk, exact; in brackets how many times smaller than float32 and than native bytes; below them "
            f"{against}."
        )
    # The whole archive is written once, which says so in its own cells.
    several = part[part["median_seconds"].notna() & ~written_once(part)]
    rounds = sorted({int(n) for n in several["samples"]})
    count = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}" if rounds else "0"
    few = f" Fewer than {VERDICT_ROUNDS} rounds give no verdict." if rounds and rounds[0] < VERDICT_ROUNDS else ""
    return (
        f"Median time of {count} rounds with its 95 % interval; below it {against}, paired by round, and the verdict."
        f"{few}" + (f" {suite.note}" if suite.note else "")
    )


def _cell(cell: dict[str, Any] | None, times: dict[tuple[object, ...], tuple[float, ...]]) -> TableCell:
    if cell is None:
        return TableCell(text="–")
    if cell["status"] != "ok":
        return TableCell(text=str(cell["status"]), detail=str(cell["reason"] or ""))
    figures = {k: float(v) for k, v in cell.items() if isinstance(v, int | float) and words.known(v)}
    if "median_seconds" not in figures:
        return _size(figures, str(cell["format"]))
    names = ["suite", *_PLACE, "format", "profile"]
    key = tuple(cell[k] if words.known(cell[k]) or cell[k] == "" else None for k in names)
    found = TableCell(
        text=words.duration(figures["median_seconds"]),
        detail=f"{words.duration(figures['ci_low'])} to {words.duration(figures['ci_high'])}"
        if figures["samples"] > 1
        else "one sample",
        samples=times.get(key, ()),
    )
    if "ratio" not in figures or figures["samples"] == 1:
        return found
    ratio = f"{words.times(figures['ratio'])} ({words.between(figures['ratio_low'], figures['ratio_high'])})"
    word = str(cell["verdict"]) if words.known(cell["verdict"]) and figures["samples"] >= VERDICT_ROUNDS else ""
    return TableCell(text=found.text, detail=found.detail, ratio=ratio, word=word, samples=found.samples)


def _size(figures: dict[str, float], name: str) -> TableCell:
    if "size_bytes" not in figures:
        return TableCell(text="–")
    smaller = ""
    if name != RAW and "ratio_to_float32" in figures:
        smaller = f"{words.times(figures['ratio_to_float32'])}, {words.times(figures['ratio_to_native'])}"
    ratio = words.times(figures["ratio"]) if "ratio" in figures else ""
    files = int(figures["files"])
    return TableCell(
        text=words.size(figures["size_bytes"]),
        detail=(f"({smaller}) " if smaller else "") + f"{files} file{'s' if files != 1 else ''}",
        ratio=ratio,
    )
