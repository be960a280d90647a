"""An outcome for machines (JSON, JUnit XML) and for a pull request (Markdown with a folded table)."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree

from harness.analysis import formatting as words
from harness.compare.comparison import WORDS, Outcome, change
from harness.compare.exact import Figure
from harness.compare.verdict import Judged
from harness.errors import escaped, escaped_lines

DOCUMENT_VERSION = 1


def to_json(outcome: Outcome) -> str:
    """Write everything an outcome holds, every block of times included, as JSON."""
    document = {
        "compare_version": DOCUMENT_VERSION,
        "verdict": WORDS[outcome.exit_code],
        "exit_code": outcome.exit_code,
        "sentence": outcome.sentence,
        "base": outcome.base,
        "head": outcome.head,
        "threshold": outcome.threshold,
        "rounds_needed": outcome.rounds_needed,
        "regressions": outcome.regressions,
        "lost": [{**one.cell._asdict(), "state": one.state, "reason": one.reason} for one in outcome.lost],
        "notes": outcome.notes,
        "times": [_time(judged) for judged in outcome.judged],
        "figures": [{**figure.cell._asdict(), **_without_cell(figure)} for figure in outcome.figures],
        "readings": [dataclasses.asdict(reading) for reading in outcome.readings],
        "same_bytes": outcome.same_bytes,
        "facts": outcome.facts,
        "blocks": [{**b.cell._asdict(), **{k: v for k, v in vars(b).items() if k != "cell"}} for b in outcome.blocks],
    }
    return json.dumps(document, indent=1) + "\n"


def _without_cell(figure: Figure) -> dict[str, object]:
    return {name: value for name, value in vars(figure).items() if name != "cell"}


def _time(judged: Judged) -> dict[str, object]:
    ratio = judged.ratio
    return {
        **judged.cell._asdict(),
        "verdict": judged.word,
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "base_seconds": judged.base_seconds,
        "head_seconds": judged.head_seconds,
        "rounds": judged.rounds,
        "rounds_needed": judged.rounds_needed,
        "note": judged.note,
        "log_ratios": list(judged.log_ratios),
    }


def to_junit(outcome: Outcome) -> str:
    """Write JUnit XML: a failure for every regression, a skipped test for every inconclusive cell.

    Where nothing could be compared there is one test, with an error.
    """
    suite = ElementTree.Element("testsuite", name="harness compare")
    failures = skipped = 0

    def case(name: str, group: str, *, failure: str = "", skip: str = "") -> None:
        nonlocal failures, skipped
        test = ElementTree.SubElement(suite, "testcase", name=name, classname=f"harness.compare.{group}")
        if failure:
            ElementTree.SubElement(test, "failure", message=failure)
        elif skip:
            ElementTree.SubElement(test, "skipped", message=skip)
        failures, skipped = failures + bool(failure), skipped + bool(skip and not failure)

    if outcome.refused:
        test = ElementTree.SubElement(suite, "testcase", name="comparison", classname="harness.compare")
        ElementTree.SubElement(test, "error", message=outcome.sentence)
    for lost in outcome.lost:
        case(str(lost.cell), "measured", failure=lost.how)
    for reading in outcome.readings:
        name = f"{reading.format} {reading.trace} written by {reading.writer}, read by {reading.reader}"
        case(name, "readable", failure=str(reading) if reading.breaks else "", skip=reading.problem)
    for figure in outcome.figures:
        said = f"{figure.base} to {figure.head}"
        case(f"{figure.cell} {figure.name}", "exact", failure=said if figure.change == "grew" else "")
    for judged in outcome.judged:
        said = change(judged)
        skip = f"inconclusive: {said}" if judged.word == "inconclusive" else ""
        case(str(judged.cell), "times", failure=said if judged.word == "slower" else "", skip=skip)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    suite.set("errors", str(int(bool(outcome.refused))))
    ElementTree.indent(suite)
    return escaped_lines(ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)) + "\n"


def to_markdown(outcome: Outcome) -> str:
    """Write what fits a pull request: the verdict, what changed, and every cell in a folded table."""
    lines = [
        f"**{_plain(outcome.sentence)}**",
        "",
        f"Base {_plain(outcome.base)}, head {_plain(outcome.head)}{'; ' if outcome.subjects else ''}"
        f"{_plain(words.listed(outcome.subjects))}.",
        "",
    ]
    lines += [f"- {_plain(text)}" for text in outcome.regressions]
    shrunk = [f for f in outcome.figures if f.change == "shrank"]
    lines += [f"- {_plain(outcome.name(f.cell))}: {f.name} {f.base:,} to {f.head:,}, smaller" for f in shrunk]
    faster = [j for j in outcome.judged if j.word == "faster"]
    lines += [f"- {_plain(outcome.name(j.cell))}: {change(j)}, faster" for j in faster]
    lines += [f"- {_plain(text)}" for text in outcome.notes]
    if lines[-1]:
        lines.append("")
    if outcome.judged:
        lines += [
            f"<details><summary>All {len(outcome.judged)} cells</summary>", "",
            "| cell | base | head | change (95 % interval) | rounds | verdict |", "|---|---:|---:|---:|---:|---|",
        ]  # fmt: skip
        lines += [
            f"| {_plain(outcome.name(j.cell))} | {words.duration(j.base_seconds)} | {words.duration(j.head_seconds)} "
            f"| {change(j)} | {j.rounds} | {verdict(j)} |"
            for j in outcome.judged
        ]
        lines += ["", "</details>", ""]
    if outcome.readings:
        good = sum(not reading.problem for reading in outcome.readings)
        lines += [
            f"{good} of {len(outcome.readings)} pairs of writer and reader agree bit for bit. "
            f"{bytes_sentence(outcome)}",
            "",
        ]
    return "\n".join(lines)


def verdict(judged: Judged) -> str:
    """Write a cell's word, with what would settle it."""
    if judged.word == "inconclusive" and judged.rounds_needed:
        return f"inconclusive, about {judged.rounds_needed} rounds"
    return f"{judged.word} ({judged.note})" if judged.note and judged.word != "slower" else judged.word


def bytes_sentence(outcome: Outcome) -> str:
    """Say of which formats both sides write the same bytes."""
    same = [name for name, alike in outcome.same_bytes.items() if alike]
    other = [name for name, alike in outcome.same_bytes.items() if alike is False]
    unsteady = [name for name, alike in outcome.same_bytes.items() if alike is None]
    parts = []
    if same:
        parts.append(f"Both sides write the same bytes in {words.listed(same)}.")
    if other:
        parts.append(f"They write other bytes in {words.listed(other)}.")
    if unsteady:
        parts.append(f"Archives of one side differ among themselves in {words.listed(unsteady)}.")
    return " ".join(parts)


def _plain(text: str) -> str:
    """Keep a name from being read as Markdown or HTML, or from doing something to a terminal."""
    text = escaped(text)
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>|" else {"<": "&lt;", ">": "&gt;", "|": "&#124;"}[mark])
    return text
