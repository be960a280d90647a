"""Report tables: one for each suite, every figure with its interval and its verdict."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import written_once
from harness.analysis.cells import CLOSED, closed_seconds
from harness.analysis.efforts import at_their_best, standing
from harness.analysis.findings import Findings
from harness.analysis.summary import too_few
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import kind_of
from harness.report.section import Block, Part
from harness.run.ledger import OWN_WRITER
from harness.suite import Suite, suite_named

_PLACE = ["trace", "n_res", "access", "cache", "executor", "workers"]
_CELL = ["suite", *_PLACE, "format", "profile", "reader"]


def tables(findings: Findings) -> list[Block]:
    """Return the cells of each suite as a table, without cases that a trace has no tensor for."""
    summary, samples = standing(findings.summary), findings.samples
    best = at_their_best(findings.summary)
    good = samples[(samples["status"] == "ok") & samples["seconds"].notna()].sort_values("round", kind="stable")
    good = good.assign(**{CLOSED: closed_seconds(good)})
    times = {
        _key(dict(zip(_CELL, key, strict=True))): [float(f"{seconds:.4g}") for seconds in group]
        for key, group in good.groupby(_CELL, sort=False, dropna=False)[CLOSED]
    }
    arms = formatting.arms_of(summary)
    found = []
    # The configuration has suites as the user typed them, rows have their names.
    for name in dict.fromkeys([*findings.config.suites, *summary["suite"]]):
        part, suite = summary[summary["suite"] == name], suite_named(name)
        if groups := _groups(part, best[best["suite"] == name], times, arms):
            columns = [formatting.arm_name(arm, arms) for arm in arms]
            note = _note(suite, part, findings.options.baseline)
            if own := _own_writers(part, findings.ledger):
                note += (
                    f" Files of {formatting.listed(own)} are written by code of this project, the others by libraries."
                )
            if (best["suite"] == name).any():
                note += " In rows of the best, each cell names the reader, and the settings where they are others."
            found.append({"title": suite.heading, "note": note, "columns": columns, "groups": groups})
    return [Part("Figures", found)]


def _key(row: dict[Any, Any]) -> tuple[object, ...]:
    return tuple(row[name] if formatting.known(row[name]) or row[name] == "" else None for name in _CELL)


def _groups(
    part: pd.DataFrame, best: pd.DataFrame, times: dict[tuple[object, ...], list[float]], arms: list[formatting.Arm]
) -> list[dict[str, Any]]:
    """Return the cells of a suite by trace and length: a row for each case, and one for formats at their best."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    raced = {str(place): cells for place, cells in best.groupby(_PLACE, sort=False, dropna=False)}
    for place, cells in part.groupby(_PLACE, sort=False, dropna=False):
        if (cells["status"] == "skipped").all():
            continue
        first, case = cells.iloc[0], formatting.case(cells.iloc[0])
        trace, title = (
            formatting.pretty_trace(str(first["trace"])),
            formatting.subject(str(first["trace"]), first["n_res"]),
        )
        n_res = "" if pd.isna(first["n_res"]) else str(int(first["n_res"]))
        group = {"trace": trace, "n_res": n_res, "title": title, "rows": []}
        rows = groups.setdefault((trace, n_res), group)["rows"]
        fastest = raced.get(str(place))
        shown = [(case, cells, False)]
        if fastest is not None:
            shown = [(f"{case}, stock", cells, False), (f"{case}, best", fastest, True)]
        for name, part, at_best in shown:
            rows.append({"case": name, "cells": _row(f"{name}, {title}", part, times, arms, best=at_best)})
    return list(groups.values())


def _row(
    case: str,
    cells: pd.DataFrame,
    times: dict[tuple[object, ...], list[float]],
    arms: list[formatting.Arm],
    *,
    best: bool,
) -> list[dict[str, Any]]:
    """Return a cell for each format; one at its best names its reader."""
    by_arm: dict[Any, dict[Any, Any]] = {(row["format"], row["group"]): row for row in cells.to_dict("records")}
    row = []
    for arm in arms:
        cell, name = by_arm.get(arm), f"{formatting.arm_name(arm, arms)}, {case}"
        found = _cell(cell, times.get(_key(cell), [])) if cell else {}
        if cell and best:
            reader = formatting.listed(
                filter(None, [cell["reader"], cell["profile"] * (cell["profile"] != cell["group"])])
            )
            found["detail"] = "; ".join(filter(None, [found.get("detail", ""), reader]))
        row.append(_EMPTY | {"name": name} | found)
    return row


def _note(suite: Suite, part: pd.DataFrame, baseline: str | None) -> str:
    against = f"the ratio to {baseline}" if baseline else "no ratio, for no baseline was measured"
    if suite.unit == "B":
        return (
            "Bytes on disk, exact; in brackets how many times smaller than float32 and than native bytes; below them "
            f"{against}."
        )
    # The complete archive is written once; its own cells report that.
    several = part[part["median_seconds"].notna() & ~written_once(part)]
    rounds = sorted({int(n) for n in several["samples"]})
    count = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}" if rounds else "0"
    few = f" Fewer than {VERDICT_ROUNDS} rounds give no verdict." if too_few(several).any() else ""
    return (
        f"Median time of {count} rounds with its 95 % interval; below it {against}, paired by round, and the verdict."
        f"{few}" + (f" {suite.note}" if suite.note else "")
    )


def _own_writers(part: pd.DataFrame, ledger: pd.DataFrame) -> list[str]:
    """Return the formats whose writing was measured and is done by code of this project."""
    if "writer" not in ledger:  # an older run
        return []
    written = part[part["median_seconds"].notna() & (part["cache"].fillna("") == "")]
    own = set(ledger.loc[ledger["writer"] == OWN_WRITER, "format"]) & set(written["format"])
    return [name for name in formatting.ordered(written["format"]) if name in own and kind_of(name) == "format"]


_EMPTY = {"text": "–", "detail": "", "ratio": "", "verdict": "", "word": "", "samples": []}
"""A cell of a table: figure, interval or reason without one, ratio, verdict, its text, and seconds by round."""


def _cell(cell: dict[Any, Any], samples: list[float]) -> dict[str, Any]:
    if cell["status"] != "ok":
        return {"text": str(cell["status"]), "detail": str(cell["reason"] or "")}
    known = {name: value for name, value in cell.items() if formatting.known(value)}
    if "median_seconds" in known:
        several = known["samples"] > 1
        opened = known.get("median_read_seconds", known["median_seconds"])
        beside = f"; once open {formatting.duration(opened)}" if opened < known["median_seconds"] else ""
        interval = f"{formatting.duration(known['ci_low'])} to {formatting.duration(known['ci_high'])}"
        found = {
            "text": formatting.duration(known["median_seconds"]),
            "detail": (interval if several else "one sample") + beside,
            "samples": samples,
        }
        if several and "ratio" in known:
            between = formatting.between(known["ratio_low"], known["ratio_high"])
            found["ratio"] = f"{formatting.times(known['ratio'])} ({between})"
            found |= {"verdict": str(known.get("verdict", "")), "word": formatting.verdict(known)}
        marks = [str(known.get("flag", "")), "data fit the decoded cache" if "decoded_cache" in known else ""]
        if any(marks):
            found["word"] = formatting.listed(filter(None, [str(found.get("word", "")), *marks]))
        return found
    if "size_bytes" not in known:
        return {}
    files = f"{int(known['files'])} file{'s' if known['files'] != 1 else ''}"
    if kind_of(str(cell["format"])) != "ceiling" and "ratio_to_float32" in known:
        files = f"({formatting.times(known['ratio_to_float32'])}, {formatting.times(known['ratio_to_native'])}) {files}"
    ratio = formatting.times(known["ratio"]) if "ratio" in known else ""
    return {"text": formatting.size(known["size_bytes"]), "detail": files, "ratio": ratio}
