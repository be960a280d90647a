"""Report section on the causes of differences: claims about formats, and every step between two of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.efforts import stated
from harness.analysis.findings import Findings
from harness.analysis.table import CaseKey
from harness.report.drawing.attribution import against, turned_around
from harness.report.section import Block, Items, Picture, Table, Text

_COLUMNS = {
    "reader": "Readers",
    "settings": "Settings",
    "slimming": "Slimming",
    "container": "Container",
    "": "Several together",
}
_CASE = list(CaseKey._fields)


def attribution(findings: Findings) -> list[Block]:
    """Return the blocks of the section; none for a run without contenders that differ in one thing only."""
    found = findings.attribution
    if found.pairs.empty:
        return []
    baseline = findings.config.baseline
    chains = against(found.chains, baseline)
    blocks: list[Block] = [
        Text(
            "Two contenders that differ in one thing only show what that thing costs. Formats at their best, by "
            "maintained readers, differ in reader, settings and container together. A difference in several of these "
            "cannot be attributed to one of them."
        ),
        Items(claims(findings), lead="Of formats at their best:"),
    ]
    if chains:
        text = f"Each format's time over that of {baseline}, divided into readers, settings, slimming and container"
        blocks += [Picture("attribution", "What is due to what", f"{text}."), *_chains(findings, chains)]
    return [*blocks, *_pairs(found.pairs)]


def claims(findings: Findings) -> list[str]:
    """Return sentences on formats at their best, with what exists for each but was not measured."""
    chains = findings.attribution.chains
    best = chains[chains["part"] == "best"]
    found = []
    for names, rows in best.groupby(["compared", "compared_with"], sort=False):
        one, other = map(str, names)
        turned = best[(best["compared"] == other) & (best["compared_with"] == one)]
        if one > other and len(turned):
            continue  # the other order has the sentence
        counts = Counter(rows["verdict"]) + Counter(turned["verdict"].map(_OPPOSITE))
        cells = sum(counts.values())
        said = [f"{word} in {counts[key]}" for key, word in _SAID.items() if counts[key]]
        found.append(f"{one} against {other}, in {cells} cells: {formatting.listed(said)}.{_not_measured(one, other)}")
    found += [
        f"{name}: best not measured ({findings.best_unmeasured[name]}). Nothing is claimed about the format."
        for name in formatting.ordered(findings.best_unmeasured)
    ]
    return found or ["No two formats were measured at their best."]


_SAID = {"faster": "faster", "slower": "slower", "equivalent": "a tie", "inconclusive": "inconclusive"}
_OPPOSITE = {"faster": "slower", "slower": "faster"} | {word: word for word in ("equivalent", "inconclusive")}


def _not_measured(*names: str) -> str:
    """Return a sentence on what exists for formats but was not measured; empty if there is nothing."""
    lacking = {name: backend.unmeasured for name in names if (backend := stated(name)) and backend.unmeasured}
    told = [f"of {name} {formatting.listed(what)}" for name, what in lacking.items()]
    return f" Not measured: {'; '.join(told)}." if told else ""


def _chains(findings: Findings, chains: list[tuple[dict[Any, Any], list[dict[Any, Any]]]]) -> list[Block]:
    named = {due for _, steps in chains for due in map(_column, steps)}
    columns = [due for due in _COLUMNS if due in named]
    chained = findings.attribution.chains
    best = {_place(row): row for row in chained[chained["part"] == "best"].to_dict("records")}
    rows: dict[str, list[list[str]]] = {}
    for total, steps in chains:
        cells = {due: "; ".join(_step(step) for step in steps if _column(step) == due) for due in columns}
        rows.setdefault(formatting.subject(str(total["trace"]), total["n_res"]), []).append([
            formatting.case(total), f"{total['compared']} over {total['compared_with']}", _ratio(total),
            *cells.values(), _best(total, best, findings),
        ])  # fmt: skip
    caption = (
        "Stock over stock, and the steps that multiply to it: ratios of medians with 95 % intervals. Best over best is "
        "paired by round: each format with its fastest maintained reader and its settings, which differ too. "
        "report.json has all pairs of formats."
    )
    heads = ["Case", "Compared", "Stock", *(_COLUMNS[due] for due in columns), "Best"]
    return _by_subject("Breakdown of each case", caption, heads, rows)


def _by_subject(title: str, caption: str, columns: list[str], rows: dict[str, list[list[str]]]) -> list[Block]:
    """Return a folded table for each trace and length, below the caption of all."""
    named = {subject: f"{title}: {subject}" for subject in rows}
    tables = [
        Table(label=named[subject], caption=subject, columns=columns, rows=of, folded=named[subject])
        for subject, of in rows.items()
    ]
    return [Text(caption), *tables]


def _place(row: dict[Any, Any]) -> tuple[Any, ...]:
    return (*(str(row[name]) for name in _CASE), *sorted((row["compared"], row["compared_with"])))


def _best(total: dict[Any, Any], best: dict[tuple[Any, ...], dict[Any, Any]], findings: Findings) -> str:
    row = best.get(_place(total))
    if row is None:
        unknown = [name for name in (total["compared"], total["compared_with"]) if name in findings.best_unmeasured]
        return f"best not measured of {formatting.listed(unknown)}" if unknown else "–"
    if row["compared"] != total["compared"]:
        row = turned_around(row) | {"verdict": _OPPOSITE[row["verdict"]]}
    return f"{_ratio(row)} {formatting.verdict(row)}".strip()


def _column(step: dict[Any, Any]) -> str:
    return step["due"] if step["due"] in _COLUMNS else ""


def _step(step: dict[Any, Any]) -> str:
    """Return the two ends of a step and its factor, as text."""
    due, name = step["due"], step["format"]
    if due == "reader":
        what = f"{name}: {step['reader']} over {step['against_reader']}"
    elif due == "settings" and name == step["against_format"]:
        what = f"{name}: {step['profile']} over {step['against_profile']}"
    else:
        what = f"{name} over {step['against_format']}"
        what += "" if due in _COLUMNS else f", {formatting.listed(due.split())} together"
    return f"{_ratio(step)} {what}"


def _ratio(row: dict[Any, Any]) -> str:
    return f"{formatting.times(row['ratio'])} ({formatting.between(row['ratio_low'], row['ratio_high'])})"


def _pairs(pairs: pd.DataFrame) -> list[Block]:
    """Return tables of each case's pairs whose second contender is the first of its kind, such as the stock one."""
    kind = [*_CASE, "due", "format", "against_format"]
    kind_of_pair = pairs.assign(fixed=pairs["profile"].where(pairs["due"] == "reader", ""))
    first = kind_of_pair.groupby([*kind, "fixed"], sort=False, dropna=False)[["against_profile", "against_reader"]]
    shown = pairs[(pairs[["against_profile", "against_reader"]] == first.transform("first")).all(axis=1)]
    own = bool(shown["own"].any())
    rows: dict[str, list[list[str]]] = {}
    for row in shown.to_dict("records"):
        rows.setdefault(formatting.subject(str(row["trace"]), row["n_res"]), []).append([
            formatting.case(row), str(row["due"]), _name(row, ""), _name(row, "against_"), _ratio(row),
            formatting.verdict(row), _busy(row), *(["this project's own" * row["own"]] if own else []),
        ])  # fmt: skip
    caption = (
        "Ratio of times paired by round, its word, and processor time over wall time of each. attribution.csv has "
        "every pair."
    )
    columns = ["Case", "Due to", "Contender", "Over", "Ratio", "", "Processors at work", *([""] if own else [])]
    return _by_subject("Contenders that differ in one thing only", caption, columns, rows)


def _name(row: dict[Any, Any], side: str) -> str:
    return f"{row[f'{side}format']} ({row[f'{side}profile']}, {row[f'{side}reader']})"


def _busy(row: dict[Any, Any]) -> str:
    known = [row["cpu_per_second"], row["against_cpu_per_second"]]
    return " and ".join(f"{value:.2f}" if formatting.known(value) else "–" for value in known)
