"""Report page of several runs: verdicts that hold on all, differences between runs, every verdict side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.analysis import formatting
from harness.analysis.verdict import EQUIVALENT_WITHIN
from harness.errors import escaped
from harness.extensions.beside.answer import AGREEMENTS, KINDS, compared, contradictions, counts, differences, in_front
from harness.extensions.beside.document import FILE, SideBySide
from harness.extensions.beside.systems import RunFact
from harness.extensions.beside.verdicts import Agreement, HeldVerdict, Kind, counted
from harness.records import Effort
from harness.report.page.conclusions import HOW
from harness.report.page.render import PageHead, PagePart, write_page
from harness.report.section import Block, Items, Table, Text

_ON_ALL = "On all runs"
_ORDER: tuple[Agreement, ...] = ("differs", "inconclusive", "none", "holds")
"""Order of the lists of cells."""
_LIMITS = (
    "Each run compares formats with each other on its own machine, within its own rounds. Times of two machines are "
    "never compared or pooled; only words and ratios of each run stand side by side.",
    "Words are worked out again from the cells and formats that all runs share. A run with more of its own may say "
    "something else in its own report, where its means are over more cells.",
    "Best and tie count as one: in front. Neither is sure where another format of the criterion is inconclusive. A tie "
    f"is within {100 * EQUIVALENT_WITHIN:g} % of the best; a grade at the border of two is not sure.",
    "A verdict differs where two runs exclude each other: their words are different, and the intervals of their ratios "
    "do not overlap.",
    "It is inconclusive where some run cannot tell, or where such intervals overlap: the same ratio has another word "
    "on a noisier machine.",
    "It has no verdict where some run has too few rounds or a failure. The same is said of a criterion or a use in "
    "which runs have figures of different formats: words against different formats cannot be compared.",
    "At their best, each run chose the fastest reader and settings of a format on its own machine: these may differ. "
    "Single cells are compared by stock readers only.",
    "Runs of different seeds read different windows of the same values.",
)


def render_page(found: SideBySide) -> tuple[str, str]:
    """Return the page as HTML and as Markdown."""
    head = PageHead(
        title="Which verdicts hold on all runs?",
        of="Runs",
        name=formatting.listed(found.names),
        facts="Each was checked first, as by harness check. Times of one are never compared with times of another.",
    )
    parts = [
        PagePart("answer", "Answer", "What holds on all runs", _answer(found), False),
        PagePart("runs", "Runs", "The runs, and how they differ", _runs(found), False),
        *(_criteria(found, effort) for effort in found.efforts),
        PagePart("uses", "For a use", "Which format for which use", _listed(found, "use", "Use")),
        PagePart("limits", "Limits", "Limits", [Items(_LIMITS)], False),
        PagePart("cells", "Cells", "Every cell", _cells(found)),
    ]
    return write_page(head, parts, Path())  # there are no drawings


def _answer(found: SideBySide) -> list[Block]:
    rows = [[label, *(str(count[key]) for key in AGREEMENTS)] for label, count in counts(found)]
    table = Table(
        label="Verdicts on all runs", caption="How many verdicts hold on all runs.", rows=rows, figures=True,
        columns=["Verdicts", *(text.capitalize() for text in AGREEMENTS.values())],
    )  # fmt: skip
    rest = contradictions(found)
    differ: Block = Text("No format is in front in one run and behind in another, and no use prefers another one.")
    differ = _items(rest, lead="These differ between runs:") if rest else differ
    return [_items([*in_front(found), compared(found), differences(found)]), table, differ]


def _items(texts: Iterable[str], *, lead: str = "") -> Items:
    """List sentences, escaped so that a foreign file's name in them does not act as Markdown."""
    return Items([escaped(text) for text in texts], lead=lead)


def _runs(found: SideBySide) -> list[Block]:
    rows = [
        [run.name, f"{run.config.rounds}", f"{further}", run.config.run_id, run.samples_sha256[:16]]
        for run, further in zip(found.runs, found.shared.further, strict=True)
    ]
    columns = ["Run", "Rounds", "Further cells, not compared", "Its name in run.json", "SHA-256 of samples.csv"]
    differ, same = ([one for one in found.facts if one.differs is wanted] for wanted in (True, False))
    return [
        Table(label="Runs", caption=compared(found), columns=columns, rows=rows),
        *([_items(found.shared.notes)] if found.shared.notes else []),
        *([_facts(found, differ, "What differs between the runs")] if differ else [Text(differences(found))]),
        *([_facts(found, same, "What is the same in all runs", folded=True)] if same else []),
    ]


def _facts(found: SideBySide, facts: Sequence[RunFact], what: str, *, folded: bool = False) -> Table:
    if folded:
        rows = [[one.label, one.texts[0]] for one in facts]
        return Table(label=what, caption=f"{what}.", columns=["What", "All runs"], rows=rows, folded=what)
    rows = [[one.label, *one.texts] for one in facts]
    return Table(label=what, caption=f"{what}.", columns=["What", *found.names], rows=rows)


def _criteria(found: SideBySide, effort: Effort) -> PagePart:
    """Show the standing and the grade of every format in each run, by criterion."""
    how = HOW[effort]
    standing = _table(
        found, found.of("standing", effort), f"Each format, {how}", "Criterion, format",
        "Relative to the best of the criterion in each run, with 95 % intervals.",
    )  # fmt: skip
    grades = _table(
        found, found.of("grade", effort), f"Grades, {how}", "Criterion, format",
        "Each grade is of the mean ratio to the best of each cell.", folded=True,
    )  # fmt: skip
    name = f"criteria-{effort or 'measured'}"
    return PagePart(name, how.capitalize(), f"Formats by criterion, {how}", [*standing, *grades], False)


def _table(
    found: SideBySide, verdicts: Sequence[HeldVerdict], label: str, first: str, caption: str, *, folded: bool = False
) -> list[Block]:
    if not verdicts:
        return []
    rows = [[_named(one), *map(str, one.said), _agreement(one, found.names)] for one in verdicts]
    columns = [first, *found.names, _ON_ALL]
    return [Table(label=label, caption=caption, columns=columns, rows=rows, folded=label if folded else "")]


def _named(one: HeldVerdict) -> str:
    return f"{one.of[:1].upper()}{one.of[1:]}, {one.format}" if one.format else one.of


def _agreement(one: HeldVerdict, names: Sequence[str]) -> str:
    """Return the agreement in words, with the runs that are inconclusive or have no verdict, if there are any."""
    if one.agreement in ("holds", "differs"):
        return one.agreement
    none = one.agreement == "none"
    pairs = zip(names, one.said, strict=True)
    of = [name for name, said in pairs if (not said.possible if none else len(said.possible) > 1)]
    return f"{AGREEMENTS[one.agreement]}: {formatting.listed(of)}" if of else AGREEMENTS[one.agreement]


def _listed(found: SideBySide, kind: Kind, first: str) -> list[Block]:
    return [
        block
        for effort in found.efforts
        for block in _table(
            found, found.of(kind, effort), f"{KINDS[kind]}, {HOW[effort]}", first,
            f"What each run prefers, {HOW[effort]}: by its own times and stated prices, on the largest shared length.",
        )
    ]  # fmt: skip


def _cells(found: SideBySide) -> list[Block]:
    """Count the verdicts of cells by suite, then list the cells, those that differ first."""
    lead = f"In each cell a format is held against {found.baseline}, the baseline, within each run. {FILE} has all."
    blocks: list[Block] = [Text(lead)]
    for effort in found.efforts:
        of = found.of("cell", effort)
        parts = dict.fromkeys(one.part for one in of)
        rows = [[part, *(str(n) for n in counted(one for one in of if one.part == part).values())] for part in parts]
        if rows:
            columns = ["Suite", *(text.capitalize() for text in AGREEMENTS.values())]
            what = f"Formats by cell, {HOW[effort]}"
            blocks.append(Table(label=what, caption=f"{what}.", columns=columns, rows=rows, figures=True))
        for agreement in _ORDER:
            blocks += _cell_list(found, of, agreement, effort)
    return blocks


def _cell_list(found: SideBySide, of: Sequence[HeldVerdict], agreement: Agreement, effort: Effort) -> list[Block]:
    chosen = [one for one in of if one.agreement == agreement]
    label = f"Cells, {HOW[effort]}: {AGREEMENTS[agreement]} ({len(chosen)})"
    return _table(found, chosen, label, "Cell, format", f"{label}.", folded=True)
