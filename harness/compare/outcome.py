"""What a comparison found: times with a verdict, exact figures, what head lost, who reads whose archives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from harness.compare.question import Cell
from harness.compare.record import Block

NO_REGRESSION, REGRESSION, NOT_COMPARABLE, INCONCLUSIVE = 0, 1, 2, 3
"""Exit codes; 2 says also that the question could not be asked."""

WORDS = {
    NO_REGRESSION: "no regression",
    REGRESSION: "regression",
    NOT_COMPARABLE: "not-comparable",
    INCONCLUSIVE: "inconclusive",
}

THRESHOLD = 0.10
"""The slowdown that matters: a green comparison rules it out, and it is found. A suspicion begins at half of it."""

MOST_LOOKS = 4
"""Times as many rounds as a comparison begins with are taken of a cell that stays open."""

Word = Literal["slower", "faster", "no regression", "inconclusive"]


class Entry:
    """One thing that was compared: in ``junit.xml`` a test, and a regression where it has a failure."""

    cell: Cell
    group: ClassVar[str]

    @property
    def title(self) -> str:
        """Name it among all."""
        return str(self.cell)

    @property
    def failure(self) -> str:
        """Say how it is a regression; empty where it is none."""
        return ""

    @property
    def skip(self) -> str:
        """Say why it was not settled; empty where it was."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Lost(Entry):
    """What base has and head has not: always a regression, or a gate would pass because something failed.

    Attributes
    ----------
    cell : Cell
        Of what.
    state : str
        What it is in head: ``failed``, ``rejected``, ``skipped``, or ``absent``.
    reason : str
        Why, in head's words; empty where there are none.
    """

    cell: Cell
    state: str
    reason: str = ""
    group: ClassVar[str] = "measured"

    @property
    def failure(self) -> str:
        """Say what became of it."""
        return f"{self.state} in head{': ' if self.reason else ''}{self.reason}"


@dataclass(frozen=True, kw_only=True)
class ReadBack(Entry):
    """Whether one side can read what a side wrote.

    Attributes
    ----------
    cell : Cell
        Of which archive.
    writer, reader : str
        ``base`` or ``head``.
    problem : str
        What is wrong; empty when every tensor came back bit for bit.
    """

    cell: Cell
    writer: str
    reader: str
    problem: str
    group: ClassVar[str] = "readable"

    @property
    def title(self) -> str:
        """Name it among all."""
        return f"{self.cell} written by {self.writer}, read by {self.reader}"

    @property
    def failure(self) -> str:
        """Say what head cannot read."""
        return self.skip if self.reader == "head" else ""

    @property
    def skip(self) -> str:
        """Say how it cannot be read."""
        return f"written by {self.writer} cannot be read by {self.reader}: {self.problem}" if self.problem else ""


@dataclass(frozen=True, kw_only=True)
class Figure(Entry):
    """One deterministic figure of both sides.

    Attributes
    ----------
    cell : Cell
        Of what.
    name : str
        ``bytes``, ``files``, ``bytes_read`` or ``requests``.
    base, head : int
        The figure; of several the smallest.
    change : str
        ``grew`` (a regression: every figure of head is above every one of base), ``shrank``, ``equal``, or ``varies``
        where a side did not give one figure in every round and the two overlap, so that it cannot be gated.
    """

    cell: Cell
    name: str
    base: int
    head: int
    change: Literal["grew", "shrank", "equal", "varies"]
    group: ClassVar[str] = "exact"

    @property
    def title(self) -> str:
        """Name it among all."""
        return f"{self.cell} {self.name}"

    def __str__(self) -> str:
        """Write it with both values."""
        return f"{self.name} {self.base:,} to {self.head:,}"

    @property
    def failure(self) -> str:
        """Say by how much it grew."""
        return str(self) if self.change == "grew" else ""


@dataclass(frozen=True, kw_only=True)
class Judged(Entry):
    """What the rounds say of one cell.

    Attributes
    ----------
    cell : Cell
        Which.
    verdict : str
        ``slower``: the estimate lies beyond half the threshold and chance is excluded. ``no regression``: the interval
        lies below the threshold. ``faster``: that, and faster by more than half the threshold, with chance excluded.
        ``inconclusive``: none of these.
    ratio, ratio_low, ratio_high : float
        Time of head over base's, with its 95 % interval.
    base_seconds, head_seconds : float
        Medians over rounds.
    rounds : int
        How many count.
    rounds_needed : int or None
        How many rounds in all would most likely settle an inconclusive cell; None for one that is settled, and where
        no practical number would.
    note : str
        What else is to say, such as that a suspicion was not confirmed.
    log_ratios : tuple of float
        Natural logarithm of the ratio in each round; empty where rounds are not paired.
    """

    cell: Cell
    verdict: Word
    ratio: float
    ratio_low: float
    ratio_high: float
    base_seconds: float
    head_seconds: float
    rounds: int
    rounds_needed: int | None = None
    note: str = ""
    log_ratios: tuple[float, ...] = ()
    group: ClassVar[str] = "times"

    def __str__(self) -> str:
        """Write the change with its interval."""
        middle, low, high = (100 * (value - 1) for value in (self.ratio, self.ratio_low, self.ratio_high))
        return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"

    @property
    def failure(self) -> str:
        """Say by how much it is slower."""
        return str(self) if self.verdict == "slower" else ""

    @property
    def skip(self) -> str:
        """Say between what it is open."""
        return f"inconclusive: {self}" if self.verdict == "inconclusive" else ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a comparison found.

    Attributes
    ----------
    base, head : str
        What was compared, for people.
    threshold : float
        The slowdown that matters, as a part of base's time.
    judged, figures, lost, readings : sequence of Entry
        Times, deterministic figures, what base has and head has not, and who can read whose archives.
    refused : str
        Why nothing could be compared, in a sentence; empty where something was.
    same_bytes : mapping of str to bool or None
        For each format whether both sides write the same bytes.
    notes : list of str
        What a reader has to know.
    blocks : sequence of Block
        Every block of times.
    facts : mapping
        Sides, settings, machine.
    """

    base: str
    head: str
    threshold: float = THRESHOLD
    judged: Sequence[Judged] = ()
    figures: Sequence[Figure] = ()
    lost: Sequence[Lost] = ()
    refused: str = ""
    readings: Sequence[ReadBack] = ()
    same_bytes: Mapping[str, bool | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    blocks: Sequence[Block] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        """All that was compared, in the order of regressions."""
        return [*self.readings, *self.lost, *self.figures, *self.judged]

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression, 2 not comparable, 3 inconclusive."""
        if self.refused:
            return NOT_COMPARABLE
        if self.regressions:
            return REGRESSION
        return INCONCLUSIVE if any(judged.skip for judged in self.judged) else NO_REGRESSION

    @property
    def regressions(self) -> list[str]:
        """Every regression, each in words."""
        return [f"{self.name(entry)}: {entry.failure}" for entry in self.entries if entry.failure]

    def name(self, entry: Entry) -> str:
        """Name an entry's cell for people, with its trace only where there are several."""
        return entry.cell.among(other.cell for other in self.entries)

    @property
    def subjects(self) -> list[str]:
        """The traces, each with its length."""
        return list(dict.fromkeys(entry.cell.subject for entry in self.entries))

    @property
    def rounds_needed(self) -> int | None:
        """Rounds that would most likely settle every inconclusive cell; None where that is not known of all."""
        needed = [judged.rounds_needed for judged in self.judged if judged.skip]
        return None if None in needed else max((n for n in needed if n is not None), default=None)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence or two."""
        if self.refused:
            return f"Could not compare: {self.refused}"
        if regressions := self.regressions:
            more = f", and {len(regressions) - 1} more" if len(regressions) > 1 else ""
            return f"Regression: {regressions[0]}{more}."
        percent, needed, cells = f"{100 * self.threshold:g} %", self.rounds_needed, len(self.judged)
        if open_cells := sum(bool(judged.skip) for judged in self.judged):
            many = "no practical number of rounds would settle all of it on a machine as noisy as this one was"
            if needed:
                many = f"about {needed} rounds would settle it (--rounds {math.ceil(needed / MOST_LOOKS)} goes so far)"
            open_of = f"in {open_cells} of {cells} cells"
            return f"Inconclusive: {open_of} a slowdown of {percent} can neither be shown nor ruled out; {many}."
        if not self.judged:
            return "No regression: no deterministic figure grew; no times were compared."
        return f"No regression: a slowdown of {percent} is ruled out in all {cells} cells, and no figure grew."
