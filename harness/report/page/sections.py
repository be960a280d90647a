"""Report sections on formats: the answer with what a reader must know before it, uses, grades, plots."""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import of_kind, written_once
from harness.analysis.criteria import criteria
from harness.analysis.earlier_comparison import SAME, Held, earlier
from harness.analysis.efforts import BEST, STOCK
from harness.analysis.findings import Findings
from harness.analysis.summary import BELOW_RAW, too_few
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.report.drawing.plots import plotted
from harness.report.page.answer import assumptions, flips, uses
from harness.report.page.conclusions import Said
from harness.report.page.conclusions import blocks as by_effort
from harness.report.page.sentences import sentences
from harness.report.section import Block, Items, Part, Picture, Table
from harness.run.ledger import OWN_WRITER
from harness.suite import Plot, Suite, plain

_DOUBTS = {"noise": "by noise", "one-round": "because one round disagrees", "floor": "within the A/A difference"}

_MACHINE = (
    "cpu", "cores", "cores_limit", "virtual_machine", "memory_bytes", "memory_limit_bytes", "filesystem", "commit",
    "started",
)  # fmt: skip


def facts(findings: Findings) -> str:
    """Return one line on what was measured where."""
    asked = {
        "config": findings.config,
        "baseline": findings.options.baseline,
        "without_formats": findings.without_formats,
    }
    said = sentences("facts", {name: findings.session.get(name) for name in _MACHINE} | asked)
    return f"{'; '.join(said)}."


def answer_blocks(findings: Findings, said: Said) -> list[Block]:
    """Return what decides, the standing of every format, and what a reader must know before these."""
    noted = warnings(findings)
    shown = {"sentences": said.deciding, "table": _standings(findings)}
    caption = "Time, or size, against the best of each criterion, with 95 % intervals: further left is better."
    blocks: list[Block] = [Part("Answer", shown), Picture("criteria", "Formats by criterion", caption)]
    # Failures and missing rows must be visible at once, so their notes are unfolded.
    grave = bool(findings.incomplete) or bool((findings.cells["status"] == "failed").any())
    return blocks + ([Part("Notes", {"texts": noted, "open": grave})] if noted else [])


def use_blocks(findings: Findings, told: Said) -> list[Block]:
    """Return the costs of each use in each format, and what would change the preferred format."""
    changes, rests_on = flips(findings), assumptions(findings)
    if not (each := uses(findings)):
        return []
    several = findings.samples["trace"].nunique() > 1
    said = {
        "answer": "" if told.answer in told.deciding else told.answer,
        "uses": each,
        "elsewhere": [found.text for found in findings.headlines] if several else [],
        "flips": changes,
    }
    title = "Where the choice flips"
    shown: list[Block] = [Part("Uses", said), Picture("decision", title, " ".join(changes[:1]) or title)]
    return shown + ([Items(rests_on, lead="The cost rests on these assumptions:")] if rests_on else [])


def _standings(findings: Findings) -> dict[str, Any]:
    """Return the standing of every format in each criterion, as values for the page."""
    columns, found = by_effort(findings.grades.table)
    return {
        "columns": [stated.name.capitalize() for stated in columns],
        "blocks": [
            {
                "how": block.how.capitalize(),
                "rows": [
                    {"format": name, "cells": [_standing(by[c.name]) if c.name in by else _NO_CELL for c in columns]}
                    for name, by in block.rows
                ],
            }
            for block in found
        ],
    }


def warnings(findings: Findings) -> list[str]:
    """Return sentences that a reader must know before the answer."""
    cells, ledger = findings.summary, findings.ledger
    few = cells[cells["verdict"].notna() & too_few(cells) & ~written_once(cells)]
    readers: list[str] = []
    if "reader" in ledger and not findings.has_efforts:  # recorded older runs lack the column
        known = ledger[(ledger["reader"] != "") & ~of_kind(ledger, "ceiling")]
        pairs = dict.fromkeys(zip(known["format"], known["reader"], strict=True))
        readers = [f"{name} by {reader}" for name, reader in pairs]
    failed = findings.cells[findings.cells["status"] == "failed"]
    told = ledger[~of_kind(ledger, "ceiling")] if "format" in ledger else ledger
    checks = told[told["role"] != ""] if "checked" in told else told[:0].reindex(columns=["format", "checked"])
    verified = formatting.ordered(checks["format"][checks["checked"] == "yes"])
    said = {
        "few": len(few),
        "few_suites": _suites(few),
        "least": VERDICT_ROUNDS,
        "readers": readers,
        "failed": [(*key, len(part), _suites(part)) for key, part in failed.groupby(["format", "reason"], sort=False)],
        "noise": findings.noise,
        "spread": max(findings.noise.spread.values(), default=0),
        "doubts": [f"{text} ({count})" for why, text in _DOUBTS.items() if (count := (cells["why"] == why).sum())],
        "below": formatting.listed(
            formatting.ordered(cells["format"][(cells["flag"] == BELOW_RAW) & of_kind(cells, "format")])
        ),
        "decoded": formatting.listed(formatting.ordered(cells["format"][cells["decoded_cache"].notna()])),
        "decoded_cells": int(cells["decoded_cache"].notna().sum()),
        "below_cells": int(((cells["flag"] == BELOW_RAW) & of_kind(cells, "format")).sum()),
        "below_decoded": int(((cells["flag"] == BELOW_RAW) & cells["decoded_cache"].notna()).sum()),
        "verified": verified,
        "unverified": [name for name in formatting.ordered(checks["format"]) if name not in verified],
        "written": formatting.ordered(told["format"][told["writer"] == OWN_WRITER]) if "writer" in told else [],
    }
    return [*findings.incomplete, *sentences("warnings", said)]


def _suites(cells: pd.DataFrame) -> list[str]:
    return [plain(str(suite)) for suite in cells["suite"].unique()]


def grades(findings: Findings) -> list[Block]:
    """Return the cells behind the table of the answer, and the rules of the grades."""
    found = findings.grades
    formats = formatting.ordered(found.table["format"])
    exact = {criterion.name for criterion in criteria() if criterion.exact}
    cells: dict[str, list[dict[str, Any]]] = {}
    place = ["criterion", "effort", "trace", "n_res", "access", "cache", "executor", "workers"]
    for _, part in found.cells.groupby(place, sort=False, dropna=False):
        row = part.iloc[0]
        write = formatting.size if row["criterion"] in exact else formatting.duration
        figures = {r["format"]: f"{write(r['value'])}, {formatting.times(r['ratio'])}" for r in part.to_dict("records")}
        said = [_labelled(row["criterion"], row["effort"]), formatting.case(row)]
        one = {"place": said, "figures": [figures.get(name, "–") for name in formats]}
        cells.setdefault(formatting.subject(str(row["trace"]), row["n_res"]), []).append(one)
    shown = {"columns": formats, "cells": cells, "rules": found.rules}
    return [Part("Grades", shown), *(_held(findings.held) if findings.held else [])]


_MEASURED_AS = {SAME: "its settings, measured again", STOCK: "stock", BEST: "at their best"}


def _held(held: Held) -> list[Block]:
    """Return a table that compares an earlier comparison with the measurements, and whether its choice holds."""
    said = earlier()
    rows = []
    for (criterion, name), part in held.table.groupby(["criterion", "format"], sort=False):
        by = {row["measured_as"]: _measured(row) for row in part.to_dict("records")}
        rows.append([f"{str(criterion).capitalize()}, {name}", part["said"].iloc[0], *map(by.get, _MEASURED_AS)])
    caption = f"{_capital(said.name)} beside what was measured. Its grades: {said.source}."
    chosen, reasons = said.decision.format, formatting.listed(list(said.decision.criteria))
    lead = f"It chose {chosen}, by {reasons}. That holds where none that it compared is graded better in one of these:"
    answers = [
        f"{_capital(name)}: {_holds(held.better.get(measured_as))}" for measured_as, name in _MEASURED_AS.items()
    ]
    columns = ["Criterion, format", "It said", *map(_capital, _MEASURED_AS.values())]
    return [Table(label=said.name, caption=caption, columns=columns, rows=rows), Items(answers, lead=lead)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _measured(row: dict[Any, Any]) -> str:
    if not row["grade"]:
        return "not measured"
    return f"{row['grade']} ({formatting.times(row['figure'])}){', borderline' if row['borderline'] else ''}"


def _holds(better: dict[str, dict[str, str]] | None) -> str:
    if better is None:
        return "not measured."
    said = [f"{criterion}: {', '.join(map(' '.join, graded.items()))}" for criterion, graded in better.items()]
    return f"no. {_capital(formatting.listed(said))}." if said else "yes, it holds."


def _labelled(criterion: str, effort: str) -> str:
    """Return the label of a criterion, with the effort if there are several."""
    return f"{criterion.capitalize()}, {effort}" if effort else criterion.capitalize()


_NO_CELL = {"word": "–", "grade": "", "figure": "", "note": "not measured so"}


def _standing(row: dict[Any, Any]) -> dict[str, str]:
    """Return the cell of a format in a criterion: the word or ratio, its grade, the figure behind it, and notes."""
    given = row["grade"] if isinstance(row["grade"], str) else ""
    interval = "" if row["low"] == row["high"] else f", {formatting.between(row['low'], row['high'])}"
    below = [f"faster than the raw ceiling in {row['below_raw']} of {row['cells']} cells"] if row["below_raw"] else []
    notes = (["borderline"] if row["borderline"] else []) + below + ([str(row["reason"])] if row["reason"] else [])
    held = (
        "" if row["ratio_low"] == row["ratio_high"] else f" ({formatting.between(row['ratio_low'], row['ratio_high'])})"
    )
    told = [f"{formatting.times(row['ratio'])}{held} of the best"] if row["standing"] not in ("", "best") else []
    return {
        "word": formatting.stands(row), "grade": given,
        "figure": f"{formatting.times(row['figure'])}{interval}" if given else "",
        "note": "; ".join(told + notes),
    }  # fmt: skip


def plots(findings: Findings) -> list[Block]:
    """Return the drawing of every suite that was measured."""
    measured = set(findings.summary["suite"])
    return [
        Picture(name, suite.heading, _alt(findings, suite, plot), headed=True)
        for name, suite, plot in plotted()
        if suite.name in measured
    ]


def _alt(findings: Findings, suite: Suite, plot: Plot) -> str:
    """Return the text alternative of a plot: its title, and the formats by their average ratio to the best."""
    table = findings.grades.table
    table = table[table["effort"] != BEST]
    named = suite.criterion.name if suite.criterion else None
    rows = table[(table["criterion"] == named) & table["figure"].notna()].sort_values("figure")
    if rows.empty:
        return f"{plot.title}."
    best = "smallest" if suite.unit == "B" else "fastest"
    ranked = [f"{row['format']} {formatting.times(row['figure'])}" for row in rows.to_dict("records")]
    return f"{plot.title}. On average over its cells, against the {best} in each: {formatting.listed(ranked)}."
