"""Criteria that formats are graded by: what suites state, their limits, and the rules in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.table import CaseKey
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.suite import suites

WORDS = ("Strong", "Good", "Limited", "Poor")

# Times. Up to 1.25 little can be claimed: in one of four cells of the reference run, two equal arms cannot be shown to
# lie closer than that (its smallest detectable effects). At 2 everything takes twice as long, which nobody needs to
# measure to notice; beyond 5, what took a minute takes more than five and is no longer waited for.
_TIMES = (1.25, 2.0, 5.0)
# Sizes are exact, so their limits are tighter. A tenth is lost in rounding up to the next disk; at 2 the same data need
# twice the disks, which is all that storing bfloat16 values as float32 would cost.
_SIZES = (1.1, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class GradedCriterion:
    """One row of the table: what a suite states, with the limits of what it measures."""

    # Whose it is, what it is called, and which cells it is made of, in words.
    suite: str
    name: str
    cells: str
    accesses: tuple[str, ...]  # Those that count; all of the suite without it.
    short: str  # Its name at the head of a narrow column.
    limits: tuple[float, float, float]  # The largest ratio that is still Strong, Good, Limited.
    exact: bool  # Whether the cells hold sizes, which have no spread.

    def takes(self, case: CaseKey) -> bool:
        """Say whether a cell counts."""
        return case.suite == self.suite and (not self.accesses or case.access in self.accesses)


def criteria() -> list[GradedCriterion]:
    """Return the criteria of all suites that state one, in their order."""
    return [
        GradedCriterion(
            suite=suite.name, name=stated.name, cells=stated.cells, accesses=stated.accesses,
            short=stated.short or stated.name,
            limits=stated.limits or (_SIZES if suite.unit == "B" else _TIMES), exact=suite.unit == "B",
        )
        for suite in suites()
        if (stated := suite.criterion) is not None
    ]  # fmt: skip


def rules(stated: Sequence[GradedCriterion], *, closed: bool = True) -> list[str]:
    """Say in sentences how grades by these criteria come about.

    Parameters
    ----------
    stated : sequence of GradedCriterion
        The criteria.
    closed : bool
        Whether times are from a closed archive.
    """
    scales = [
        f"{of}: {', '.join(f'{word} up to {limit:g}' for word, limit in zip(WORDS, limits, strict=False))}, "
        f"{WORDS[-1]} beyond."
        for limits, of in ((_TIMES, "Times"), (_SIZES, "Sizes, which are exact"))
    ]
    return [
        "In each cell (a trace, a length, an access, a cache state, an executor, a number of workers) a "
        f"format's median time{', opening included,' if closed else ''} is divided by the best format's; the figure is "
        "the geometric mean over the criterion's cells, so that 1 is the best everywhere. The raw ceiling and the A/A "
        "control do not compete.",
        "In that mean a cell weighs as many times as its trace has residues, for long sequences are what is waited "
        "for; a trace without residues weighs as the shortest of the run.",
        *scales,
        *(f"{c.name.capitalize()}: {c.cells}." for c in stated),
        "A grade is borderline when the figure's 95 % interval (bootstrap over rounds, the same rounds for all formats "
        "of a cell) crosses a limit.",
        "A warm read that took less time than the raw ceiling of the same bytes is marked. The cause may be fewer "
        "stored bytes, more threads at work, or what opening the raw archive takes.",
        f"No grade is given without at least {VERDICT_ROUNDS} rounds in a cell with another format to compare with, "
        "nor to a format that failed in one of the criterion's cells. A format that is far slower in each of fewer "
        "rounds leaves, and is graded by these.",
    ]


def word(figure: float, limits: Sequence[float]) -> str:
    """Return the word for a ratio to the best format."""
    return WORDS[int(np.searchsorted(limits, figure, side="left"))]
