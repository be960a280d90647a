"""Sentences and the summary table on verdicts that hold on all runs, for the page and the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from harness.analysis import formatting
from harness.extensions.beside.document import SideBySide
from harness.extensions.beside.verdicts import FRONT, Agreement, HeldVerdict, Kind, counted
from harness.report.page.conclusions import HOW

KINDS: dict[Kind, str] = {
    "standing": "Formats by criterion", "grade": "Grades", "use": "Formats for a use", "cell": "Formats by cell",
}  # fmt: skip
AGREEMENTS: dict[Agreement, str] = {
    "holds": "hold", "differs": "differ", "inconclusive": "inconclusive", "none": "no verdict",
}  # fmt: skip

_WIDTH, _LINES, _LABEL = 80, 25, 40
_FACTS = 6  # number of facts named in a sentence


def counts(found: SideBySide) -> list[tuple[str, dict[Agreement, int]]]:
    """Count verdicts of each effort and kind by whether they hold on all runs."""
    rows = []
    for effort in found.efforts:
        for kind, label in KINDS.items():
            if of := found.of(kind, effort):
                rows.append((f"{label}, {HOW[effort]}", counted(of)))
    return rows


def compared(found: SideBySide) -> str:
    """Return a sentence on what is compared and how many further cells each run has."""
    more = [f"{name} {count or 'none'}" for name, count in zip(found.names, found.shared.further, strict=True)]
    count = len(found.shared.cells)
    return f"Compared in {count} cells that all runs have; further cells, not compared: {formatting.listed(more)}."


def differences(found: SideBySide) -> str:
    """Return a sentence that names the differences between the runs' machines and settings."""
    labels = [one.label for one in found.facts if one.differs and one.label != "Started"]
    if not labels:
        return "Nothing that was recorded of machines and settings differs."
    more = f", and {len(labels) - _FACTS} more" if len(labels) > _FACTS else ""
    named = [label[:1].lower() + label[1:] for label in labels[:_FACTS]]
    return f"The runs differ in {', '.join(named) if more else formatting.listed(named)}{more}."


def in_front(found: SideBySide) -> list[str]:
    """Return one sentence for each effort: the formats in front on all runs, by criterion."""
    said = []
    for effort in found.efforts:
        by: dict[str, list[str]] = {}
        for one in found.of("standing", effort):
            if one.agreement == "holds" and all(FRONT in each.possible for each in one.said):
                by.setdefault(one.of, []).append(one.format)
        told = [f"{criterion}: {formatting.listed(names)}" for criterion, names in by.items()]
        said.append(f"{HOW[effort].capitalize()}, in front on all runs: {'; '.join(told) or 'none'}.")
    return said


def contradictions(found: SideBySide) -> list[str]:
    """Return a sentence for each format in front in one run and behind in another, and each use that prefers others."""
    said = []
    for effort in found.efforts:
        for one in [*found.of("standing", effort), *found.of("use", effort)]:
            if one.agreement == "differs":
                said.append(f"{one.of}, {HOW[effort]}: {f'{one.format} is ' if one.format else ''}{_each(one, found)}")
    return said


def _each(one: HeldVerdict, found: SideBySide) -> str:
    return ", ".join(f"{said.short} in {name}" for said, name in zip(one.said, found.names, strict=True))


def screen(found: SideBySide) -> Iterator[str]:
    """Yield at most 25 lines for a terminal, each of at most 80 characters unless names of runs are longer."""
    lines = [f"{len(found.runs)} runs side by side; times of one are never compared with times of another."]
    lines += [line for text in (differences(found), compared(found)) for line in _wrapped(text)]
    head = "".join(f"{text:>{max(6, len(text)) + 1}}" for text in AGREEMENTS.values())
    lines += ["", f"{'Verdicts on all runs':<{_LABEL}}{head}"]
    for label, count in counts(found):
        cells = "".join(f"{count[key]:>{max(6, len(text)) + 1}}" for key, text in AGREEMENTS.items())
        lines.append(f"  {label:<{_LABEL - 2}}{cells}")
    lines += ["", *(line for text in in_front(found) for line in _wrapped(text))]
    rest = contradictions(found)
    for place, text in enumerate(rest):
        more = _wrapped(f"Differs: {text}")
        left = len(rest) - place
        if len(lines) + len(more) + (left > 1) > _LINES:
            lines.append(f"{left} verdicts on criteria and uses differ: see the report." if left > 1 else more[0])
            break
        lines += more
    yield from lines[:_LINES]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
