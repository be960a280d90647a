"""Criteria that formats are graded by: those that suites state, their limits, and the rules as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.table import CaseKey
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.suite import suites

WORDS = ("Strong", "Good", "Limited", "Poor")

# Times. Up to 1.25 little can be claimed: in one of four cells of the reference run, two equal arms cannot be shown to
# be closer than that (its smallest detectable effects). At 2 everything takes twice as long, which users notice without
# measuring. Beyond 5, what took one minute takes more than five, and users no longer wait for it.
_TIMES = (1.25, 2.0, 5.0)
# Sizes are exact, so their limits are tighter. A tenth is lost in rounding up to the next disk. At 2 the same data need
# twice the disks, as when bfloat16 values are stored as float32.
_SIZES = (1.1, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class GradedCriterion:
    """One row of the criteria table: a criterion that a suite states, with its limits."""

    # The suite, the name of the criterion, and a description of its cells.
    suite: str
    name: str
    cells: str
    accesses: tuple[str, ...]  # Accesses that count; empty for all of the suite.
    short: str  # Name for the head of a narrow column.
    limits: tuple[float, float, float]  # The largest ratios that are still Strong, Good, Limited.
    exact: bool  # Whether the cells hold sizes, which have no spread.

    def takes(self, case: CaseKey) -> bool:
        """Return whether a case counts for this criterion."""
        return case.suite == self.suite and (not self.accesses or case.access in self.accesses)


def criteria() -> list[GradedCriterion]:
    """Return the criteria of all suites that state one, in the order of the suites."""
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
    """Return sentences that explain the grades by these criteria.

    Parameters
    ----------
    stated : sequence of GradedCriterion
        The criteria.
    closed : bool
        Whether times include opening the archive.
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
        "In that mean, the weight of a cell is the number of residues of its trace, because users wait for long "
        "sequences. A trace without residues has the weight of the shortest trace of the run.",
        *scales,
        *(f"{c.name.capitalize()}: {c.cells}." for c in stated),
        "A grade is borderline when the figure's 95 % interval (bootstrap over rounds, the same rounds for all formats "
        "of a cell) crosses a limit.",
        "A warm read that took less time than the raw ceiling of the same bytes is marked. The cause may be fewer "
        "stored bytes, more threads at work, or what opening the raw archive takes.",
        f"No grade is given without at least {VERDICT_ROUNDS} rounds in a cell with another format to compare with, "
        "nor to a format that failed in one of the criterion's cells. A format that is far slower in each of fewer "
        "rounds is dropped early, and graded by these rounds.",
    ]


def word(figure: float, limits: Sequence[float]) -> str:
    """Return the grade for a ratio to the best format."""
    return WORDS[int(np.searchsorted(limits, figure, side="left"))]
