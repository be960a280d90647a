"""What rounds note: blocks of times, exact figures, and what head failed at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.extensions.compare.question import Cell

CONTENT = "content"
"""Among exact figures: the digest of an archive's bytes, which may be others."""

Exact = dict[tuple[Cell, str, str], list[Any]]
"""For each cell, side and figure the values seen, one a round."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Times of one side in one block of a round, in seconds."""

    cell: Cell  # What was measured.
    # Where.
    round: int
    number: int
    side: str  # ``base`` or ``head``.
    # Of the fastest repetition in the block. What else a machine does makes a repetition longer and never shorter, so
    # on one that others use as well the fastest varies least (Chen & Revels 2016).
    seconds: float
    repetitions: int  # How many.


@dataclass
class Record:
    """Everything that rounds found."""

    blocks: list[Block] = field(default_factory=list)  # Times.
    exact: Exact = field(default_factory=dict)  # Bytes, files, requests, and the digest of archives' bytes.
    # For each (cell, side) the seconds of its fastest repetition, one a round.
    fastest: dict[tuple[Cell, str], list[float]] = field(default_factory=dict)
    # Why head failed at a cell where base did not; it is measured no further.
    failed: dict[Cell, str] = field(default_factory=dict)

    def note(self, cell: Cell, side: str, **figures: Any) -> None:
        """Add deterministic figures."""
        for name, value in figures.items():
            self.exact.setdefault((cell, side, name), []).append(value)
