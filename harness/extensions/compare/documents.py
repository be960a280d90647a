"""Documents of an outcome: JSON and JUnit XML, Markdown with a folded table for a pull request, and sentences."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from xml.etree import ElementTree

from harness.analysis import formatting
from harness.errors import escaped, escaped_lines
from harness.extensions.compare.outcome import WORDS, Entry, Outcome
from harness.extensions.compare.record import CONTENT

DOCUMENT_VERSION = 2
"""Since 1: everything that was compared is in one list, `entries`."""

COLUMNS = ("cell", "base", "head", "change (95 % interval)", "rounds", "verdict")
_CONTENTS = {
    "equal": "Both sides write the same bytes in {}.",
    "varies": "Archives of one side differ among themselves in {}.",
    "other": "They write other bytes in {}.",
}
_MARKS = {"<": "&lt;", ">": "&gt;", "|": "&#124;"}


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Return the complete outcome as plain values, every block of times included."""
    return {
        "compare_version": DOCUMENT_VERSION,
        "verdict": WORDS[outcome.exit_code],
        "exit_code": outcome.exit_code,
        "sentence": outcome.sentence,
        "rounds_needed": outcome.rounds_needed,
        "regressions": outcome.regressions,
        **{name: _plain(part) for name, part in vars(outcome).items()},
    }


def to_json(outcome: Outcome) -> str:
    """Return `as_document` as JSON text."""
    return json.dumps(as_document(outcome), indent=1) + "\n"


def _plain(value: Any) -> Any:
    """Convert entries and blocks to plain values; the fields of their cell are added to their own."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value):
        fields = dict(vars(value))
        return {**fields.pop("cell")._asdict(), **fields}
    return value


def to_junit(outcome: Outcome) -> str:
    """Return JUnit XML: a failure for every regression, a skipped test for every inconclusive cell.

    If nothing could be compared, there is one test with an error.
    """
    suite = ElementTree.Element("testsuite", name="harness compare")
    if outcome.refused:
        test = ElementTree.SubElement(suite, "testcase", name="comparison", classname="harness.compare")
        ElementTree.SubElement(test, "error", message=outcome.sentence)
    for entry in outcome.entries:
        archive = f"written by {entry.writer}, read by {entry.reader}" if entry.kind == "readable" else entry.name
        name = f"{entry.cell} {archive}".strip()
        test = ElementTree.SubElement(suite, "testcase", name=name, classname=f"harness.compare.{entry.kind}")
        if entry.red or entry.open:
            ElementTree.SubElement(test, "failure" if entry.red else "skipped", message=f"{entry.verdict}: {entry}")
    suite.set("tests", str(len(suite)))
    for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        suite.set(name, str(len(suite.findall(f".//{tag}"))))
    ElementTree.indent(suite)
    return escaped_lines(ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)) + "\n"


def to_markdown(outcome: Outcome) -> str:
    """Return Markdown for a pull request: the verdict, what changed, and every cell in a folded table."""
    traces = f"; {formatting.listed(outcome.subjects)}" if outcome.subjects else ""
    lines = [f"**{_marked(outcome.sentence)}**", ""]
    lines += [_marked(f"Base {outcome.base}, head {outcome.head}{traces}."), ""]
    lines += [f"- {_marked(text)}" for text in [*outcome.regressions, *sentences(outcome)]]
    if times := outcome.of("times"):
        lines += ["", f"<details><summary>All {len(times)} cells</summary>", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|---|---:|---:|---:|---:|---|"]
        lines += [f"| {' | '.join(map(_marked, row(outcome, entry)))} |" for entry in times]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def row(outcome: Outcome, entry: Entry) -> list[str]:
    """Return a cell's times and verdict, with what would settle it, for `COLUMNS`."""
    verdict = entry.verdict
    if entry.open and entry.rounds_needed:
        verdict = f"inconclusive, about {entry.rounds_needed} rounds"
    elif entry.note and not entry.red:
        verdict = f"{verdict} ({entry.note})"
    seconds = [formatting.duration(value or 0.0) for value in (entry.base, entry.head)]
    return [outcome.name(entry), *seconds, str(entry), str(entry.rounds), verdict]


def sentences(outcome: Outcome) -> list[str]:
    """Return sentences on improvements, on archives that only base cannot read, on differing bytes, and the notes."""
    better = ("shrank", "faster")
    found = [f"{outcome.name(one)}: {one}, {one.verdict}" for one in outcome.entries if one.verdict in better]
    readings = outcome.of("readable")
    found += [f"{outcome.name(one)}: {one}" for one in readings if one.open]
    if readings:
        good = sum(one.verdict == "read" for one in readings)
        found.append(f"{good} of {len(readings)} pairs of writer and reader agree bit for bit.")
    contents = [one for one in outcome.of("exact") if one.name == CONTENT]
    worst = {
        one.cell.format: one.verdict for one in sorted(contents, key=lambda one: list(_CONTENTS).index(one.verdict))
    }
    for verdict, text in _CONTENTS.items():
        if names := [name for name, said in worst.items() if said == verdict]:
            found.append(text.format(formatting.listed(names)))
    return [*found, *outcome.notes]


def _marked(text: str) -> str:
    """Escape text, so that names in it do not act as Markdown or HTML, or on a terminal."""
    text = escaped(text)
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, _MARKS.get(mark, f"\\{mark}"))
    return text
