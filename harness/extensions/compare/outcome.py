"""Outcome of a comparison: one list of entries, an exit code, and the sentence that states it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.extensions.compare.question import Cell
from harness.extensions.compare.record import Block

NO_REGRESSION, REGRESSION, NOT_COMPARABLE, INCONCLUSIVE = 0, 1, 2, 3
"""Exit codes; 2 also means that the comparison could not be made."""

WORDS = {
    NO_REGRESSION: "no regression",
    REGRESSION: "regression",
    NOT_COMPARABLE: "not-comparable",
    INCONCLUSIVE: "inconclusive",
}

THRESHOLD = 0.10
"""The slowdown that matters: it is detected, and a green comparison rules it out. A suspicion begins at half of it."""

MOST_LOOKS = 4
"""Most rounds for a cell that stays open, as a multiple of the rounds with which a comparison begins."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One compared item: who reads an archive, whether a cell is there, a figure, or a time."""

    kind: Literal["readable", "measured", "exact", "times"]  # Kind of item.
    cell: Cell  # Cell of the item.
    # Of an archive: ``read`` or, with the reason as note, ``unreadable``. Of a cell that base has and head does not:
    # its state in head, ``failed``, ``rejected``, ``skipped`` or ``absent``. Of a figure: ``grew`` (every value of head
    # is above every value of base), ``shrank``, ``equal``, or ``varies`` if a side did not give one value in every
    # round and the two overlap, so that it cannot be gated. Of an archive's content: ``equal``, ``other`` or
    # ``varies``. Of a time: ``slower`` (the estimate lies beyond half the threshold and chance is excluded),
    # ``no regression`` (the interval lies below the threshold), ``faster`` (that, and faster by more than half the
    # threshold, with chance excluded), or ``inconclusive``.
    verdict: str
    name: str = ""  # Name of a figure, such as ``bytes``; ``content`` for that of an archive.
    # Sides that wrote and read an archive: ``base`` or ``head``.
    writer: str = ""
    reader: str = ""
    # Medians over rounds in seconds, or figures; the smallest of several figures.
    base: float | None = None
    head: float | None = None
    # Time of head divided by base's, with its 95 % interval.
    ratio: float = 1.0
    ratio_low: float = 1.0
    ratio_high: float = 1.0
    rounds: int = 0  # Number of rounds that count.
    # Total number of rounds that would most likely settle an inconclusive time; None if no practical number would.
    rounds_needed: int | None = None
    note: str = ""  # Reason or remark, such as that a suspicion was not confirmed.
    # Natural logarithm of the ratio in each round; empty if rounds are not paired.
    log_ratios: tuple[float, ...] = ()

    @property
    def red(self) -> bool:
        """Whether it is a regression; a lost cell always is, or a gate would pass because something failed."""
        bad = self.verdict in ("slower", "grew") or (self.verdict == "unreadable" and self.reader == "head")
        return bad or self.kind == "measured"

    @property
    def open(self) -> bool:
        """Whether it is undecided: neither a regression nor the absence of one."""
        return self.verdict in ("inconclusive", "unreadable") and not self.red

    def __str__(self) -> str:
        """Return the change, or the state of the item, as text."""
        note = f": {self.note}" if self.note else ""
        if self.kind == "times":
            middle, low, high = (100 * (value - 1) for value in (self.ratio, self.ratio_low, self.ratio_high))
            return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"
        if self.kind == "exact":
            return self.name if self.base is None else f"{self.name} {self.base:,} to {self.head:,}"
        if self.kind == "measured":
            return f"{self.verdict} in head{note}"
        how = "is" if self.verdict == "read" else "cannot be"
        return f"written by {self.writer} {how} read by {self.reader}{note}"


def lost(cell: Cell, verdict: str, why: str = "") -> Entry:
    """Return the entry of a cell that base has and head does not."""
    return Entry(kind="measured", cell=cell, verdict=verdict, note=why)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a comparison."""

    # Labels of the two sides.
    base: str
    head: str
    threshold: float = THRESHOLD  # The slowdown that matters, as a fraction of base's time.
    entries: Sequence[Entry] = ()  # All that was compared, in the order of regressions.
    refused: str = ""  # Why nothing could be compared, in a sentence; empty if something was.
    notes: list[str] = field(default_factory=list)  # Notes that a reader needs.
    blocks: Sequence[Block] = ()  # Every block of times.
    facts: Mapping[str, Any] = field(default_factory=dict)  # Facts on sides, settings and machine.

    def of(self, kind: str) -> list[Entry]:
        """Return the entries of a kind."""
        return [entry for entry in self.entries if entry.kind == kind]

    def name(self, entry: Entry) -> str:
        """Return the readable name of an entry's cell, with its trace only if there are several."""
        return entry.cell.among(other.cell for other in self.entries)

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression, 2 not comparable, 3 inconclusive."""
        if self.refused:
            return NOT_COMPARABLE
        if any(entry.red for entry in self.entries):
            return REGRESSION
        return INCONCLUSIVE if any(entry.open for entry in self.of("times")) else NO_REGRESSION

    @property
    def regressions(self) -> list[str]:
        """Every regression in words."""
        return [f"{self.name(entry)}: {entry}" for entry in self.entries if entry.red]

    @property
    def subjects(self) -> list[str]:
        """The traces, each with its length."""
        return list(dict.fromkeys(entry.cell.subject for entry in self.entries))

    @property
    def rounds_needed(self) -> int | None:
        """Rounds that would most likely settle every inconclusive cell; None if that is not known for all."""
        needed = [entry.rounds_needed for entry in self.of("times") if entry.open]
        return None if None in needed else max((n for n in needed if n is not None), default=None)

    @property
    def sentence(self) -> str:
        """The outcome in one or two sentences."""
        if self.refused:
            return f"Could not compare: {self.refused}"
        if regressions := self.regressions:
            more = f", and {len(regressions) - 1} more" if len(regressions) > 1 else ""
            return f"Regression: {regressions[0]}{more}."
        times, needed, percent = self.of("times"), self.rounds_needed, f"{100 * self.threshold:g} %"
        if open_cells := sum(entry.open for entry in times):
            many = "no practical number of rounds would settle all of it on a machine as noisy as this one was"
            if needed:
                many = f"about {needed} rounds would settle it (--rounds {math.ceil(needed / MOST_LOOKS)} goes so far)"
            open_of = f"in {open_cells} of {len(times)} cells"
            return f"Inconclusive: {open_of} a slowdown of {percent} can neither be shown nor ruled out; {many}."
        if not times:
            return "No regression: no deterministic figure grew; no times were compared."
        return f"No regression: a slowdown of {percent} is ruled out in all {len(times)} cells, and no figure grew."
