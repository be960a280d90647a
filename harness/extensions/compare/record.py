"""Record of rounds: blocks of times, exact figures, and failures of head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.extensions.compare.question import Cell

CONTENT = "content"
"""Name of an exact figure: the digest of an archive's bytes, which may differ between sides."""

Exact = dict[tuple[Cell, str, str], list[Any]]
"""Values for each cell, side and figure, one per round."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Times of one side in one block of a round, in seconds."""

    cell: Cell  # Measured cell.
    # Number of the round, and of the block in it.
    round: int
    number: int
    side: str  # ``base`` or ``head``.
    # Time of the fastest repetition in the block. Other work on a machine makes repetitions longer and never shorter.
    # So on a machine that others use as well, the fastest varies least (Chen & Revels 2016).
    seconds: float
    repetitions: int  # Number of repetitions.


@dataclass
class Record:
    """Everything that rounds found."""

    blocks: list[Block] = field(default_factory=list)  # Times.
    exact: Exact = field(default_factory=dict)  # Bytes, files, requests, and the digest of archives' bytes.
    # Seconds of the fastest repetition for each (cell, side), one per round.
    fastest: dict[tuple[Cell, str], list[float]] = field(default_factory=dict)
    # Why head failed at a cell where base did not; the cell is not measured any further.
    failed: dict[Cell, str] = field(default_factory=dict)

    def note(self, cell: Cell, side: str, **figures: Any) -> None:
        """Add exact figures of a cell and a side."""
        for name, value in figures.items():
            self.exact.setdefault((cell, side, name), []).append(value)
