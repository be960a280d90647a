"""Noise floors of a run's cells: from a cell's own A/A control, and from controls with similar times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from harness.analysis.cells import CellSamples
from harness.analysis.statistics import Comparison
from harness.analysis.table import CaseSamples, paired
from harness.analysis.verdict import Floor, noise_floor

NEAREST = 5
"""Number of A/A controls with similar times whose median floor is used."""

_RAISED = "best"  # the effort of a contender that no A/A control repeats


class Floors:
    """Noise floors of the cells of a run.

    The A/A control of a cell repeats a stock reader. A format at its best may take a small part of that time, and equal
    contenders differ more in short reads. So the floor of a comparison with such a format is the larger of two: that of
    the cell, and the median floor of the `NEAREST` controls of the run with similar times in the same cache state.

    Parameters
    ----------
    cases : iterable of CaseSamples
        The cases of a run, with their A/A controls.
    original : str or None
        The format that the control repeats.
    similar : bool
        Whether to use the second of these floors; reports of versions before
        `harness.analysis.report_options.SIMILAR_SINCE` used only the first.
    """

    def __init__(self, cases: Iterable[CaseSamples], original: str | None, *, similar: bool = True) -> None:
        self._name = original
        self._known: dict[str, list[tuple[float, Comparison]]] = {}
        for case in cases if similar else ():
            repeated, of = self.repeated(case), self.original(case)
            if repeated is not None and of is not None:
                self._known.setdefault(case.case.cache, []).append((float(np.median(of.seconds)), repeated))

    def original(self, case: CaseSamples) -> CellSamples | None:
        """Return the cell that the A/A control of a case repeats."""
        return case.original(self._name)

    def repeated(self, case: CaseSamples) -> Comparison | None:
        """Compare the A/A control of a case with the cell that it repeats."""
        return paired(case.control, self.original(case))

    def nearest(self, cache: str, seconds: float) -> list[Comparison]:
        """Return the `NEAREST` A/A comparisons of a cache state with times closest to `seconds`, the closest first."""
        ranked = sorted(self._known.get(cache, ()), key=lambda known: abs(np.log(known[0] / seconds)))
        return [repeated for _, repeated in ranked[:NEAREST]]

    def raised(self, case: CaseSamples) -> Comparison | None:
        """Return the A/A comparison nearest to the shortest time of a case; None without a format at its best."""
        times = [float(np.median(cell.seconds)) for cell in case.cells if len(cell.seconds)]
        if not times or not any(cell.effort == _RAISED for cell in case.cells):
            return None
        return next(iter(self.nearest(case.case.cache, min(times))), None)

    def of(self, case: CaseSamples, *compared: CellSamples) -> Floor:
        """Return the floor for a comparison of cells of a case."""
        own = noise_floor(self.repeated(case))
        times = [float(np.median(cell.seconds)) for cell in compared if len(cell.seconds)]
        if not times or not any(cell.effort == _RAISED for cell in compared):
            return own
        near = [noise_floor(repeated) for repeated in self.nearest(case.case.cache, min(times))]
        return larger(own, usual(near)) if near else own


def usual(floors: Sequence[Floor]) -> Floor:
    """Return the median of several floors, in each figure."""
    differences, excesses = ([getattr(floor, name) for floor in floors] for name in ("difference", "excess"))
    return Floor(difference=float(np.median(differences)), excess=float(np.median(excesses)))


def larger(one: Floor, other: Floor) -> Floor:
    """Return the larger of two floors, in each figure."""
    return Floor(difference=max(one.difference, other.difference), excess=max(one.excess, other.excess))
