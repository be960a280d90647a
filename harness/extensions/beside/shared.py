"""The cells and formats that all runs measured, and the number of further cells of each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analysis import formatting
from harness.analysis.table import CaseKey
from harness.errors import UsageError
from harness.extensions.beside.runs import CheckedRun, Settled, cases_of
from harness.records import Effort, kind_of
from harness.report.page.conclusions import HOW


@dataclass(frozen=True, kw_only=True)
class SharedCells:
    """The cells that are compared."""

    # Cells of the same values and requested bytes that all runs measured. Each maps to the formats, in a profile, that
    # all runs measured there with the same efforts: at least two, including the formats that A/A controls repeat.
    cells: Mapping[CaseKey, frozenset[Settled]]
    efforts: tuple[Effort, ...]  # Efforts (how formats were read) that all runs share.
    further: tuple[int, ...]  # Number of cells of each run that are not compared.
    notes: tuple[str, ...]  # Sentences on why apparently shared cells or formats are not compared.

    @property
    def formats(self) -> list[Settled]:
        """Formats, each in a profile, that are compared in at least one cell."""
        return sorted(frozenset[Settled]().union(*self.cells.values()))

    def keep(self, run: CheckedRun) -> Callable[[pd.DataFrame], pd.Series]:
        """Return a mask function for samples of a run: True for compared ones, its ceiling and A/A control included."""

        def kept(samples: pd.DataFrame) -> pd.Series:
            numbers, cases = cases_of(samples)
            formats = {number: self.cells.get(case) for number, case in cases.items()}
            others = samples["format"].map(kind_of) != "format"
            each = zip(numbers.tolist(), run.settled(samples), others, strict=True)
            counts = [
                (of := formats[number]) is not None and (other or settled in of) for number, settled, other in each
            ]
            return pd.Series(counts, index=samples.index, dtype=bool)

        return kept


def share(runs: Sequence[CheckedRun]) -> SharedCells:
    """Return the cells and formats that all runs share.

    Raises
    ------
    UsageError
        If they share none that can be compared.
    """
    efforts = _efforts(runs)
    named = frozenset.intersection(*(frozenset(run.cells) for run in runs))
    if not named:
        raise UsageError(f"The runs share no cell, so that nothing can be compared: {_traces(runs)}.")
    alike, notes = _comparable(runs, named)
    # A cell has no noise floor without the format that the run's A/A control repeats.
    needed = {run.config.baseline for run in runs}
    shared = {case: _formats(runs, case, efforts) for case in runs[0].cells if case in alike}
    cells = {case: of for case, of in shared.items() if len(of) > 1 and needed <= {name for name, _ in of}}
    if lost := len(shared) - len(cells):
        said = f"two formats and {formatting.listed(sorted(needed))}"
        notes = (*notes, f"Not compared, because not all runs measured {said} in the same profile: {_cells(lost)}.")
    if not cells:
        raise UsageError(f"The runs share no cell that can be compared. {' '.join(notes)}".rstrip())
    further = tuple(len(run.cells) - len(cells) for run in runs)
    return SharedCells(cells=cells, efforts=efforts, further=further, notes=(*notes, *_left_out(runs, cells, efforts)))


def _efforts(runs: Sequence[CheckedRun]) -> tuple[Effort, ...]:
    """Return the efforts with which all runs read formats; raise UsageError if there are none."""
    shared = tuple(effort for effort in runs[0].efforts if all(effort in run.efforts for run in runs))
    if shared:
        return shared
    said = formatting.listed(f"{run.name}: {formatting.listed(HOW[effort] for effort in run.efforts)}" for run in runs)
    raise UsageError(
        f"The runs measured formats in other ways ({said}), so that none are compared: measure them again with the "
        "same --readers."
    )


def _formats(runs: Sequence[CheckedRun], case: CaseKey, efforts: Sequence[Effort]) -> frozenset[Settled]:
    """Return the formats of a cell with equal efforts in all runs, so that each best is among the same formats."""
    each = [
        {of: found & frozenset(efforts) for of, found in run.measured[case].items() if efforts == ("",) or found}
        for run in runs
    ]
    return frozenset(of for of, found in each[0].items() if all(of in one and one[of] == found for one in each))


def _left_out(
    runs: Sequence[CheckedRun], cells: Mapping[CaseKey, frozenset[Settled]], efforts: Sequence[Effort]
) -> Iterator[str]:
    """Yield sentences on formats left out of compared cells, and on efforts that are left out everywhere."""
    lost: Counter[Settled] = Counter()
    for case, formats in cells.items():
        lost.update({of for run in runs for of in run.measured[case]} - formats)
    if lost:
        names = formatting.listed(
            f"{formatting.arm_name(of, lost)} in {_cells(count)}" for of, count in sorted(lost.items())
        )
        yield f"Not compared, because not all runs measured it so: {names}."
    for effort in sorted({effort for run in runs for effort in run.efforts} - {*efforts}):
        without = formatting.listed(run.name for run in runs if effort not in run.efforts)
        yield f"Formats {HOW[effort]} are not compared: {without} did not measure them."


def _comparable(runs: Sequence[CheckedRun], named: frozenset[CaseKey]) -> tuple[frozenset[CaseKey], tuple[str, ...]]:
    """Drop cells that share a name but are not comparable; return the rest, and a sentence for each reason."""
    notes = []
    places = {(case.trace, case.n_res) for case in named}
    unknown = {place for place in places if not all(run.values.get(place) for run in runs)}
    other = {place for place in places - unknown if len({tuple(sorted(r.values[place].items())) for r in runs}) > 1}
    for left, why in (
        (unknown, "it is not recorded that its values are the same in all runs"),
        (other, "its values differ between the runs"),
    ):
        if left:
            traces = formatting.listed(formatting.subject(*place) for place in sorted(left, key=str))
            notes.append(f"Not compared, because {why}: {traces}.")
    cells = {case for case in named if (case.trace, case.n_res) not in unknown | other}
    # A run whose reads of a cell were all rejected recorded no bytes for it.
    bytes_differ = {case for case in cells if len({asked for run in runs if (asked := run.cells[case])}) > 1}
    if bytes_differ:
        notes.append(f"Not compared, because their samples ask for other bytes: {_cells(len(bytes_differ))}.")
    least = min((cores for run in runs if (cores := run.session.get("cores_usable"))), default=None)
    waiting = {case for case in cells - bytes_differ if least is not None and case.workers > least}
    if waiting:
        notes.append(
            f"Not compared, because a machine has {least} cores, on which more workers wait for each other: "
            f"{_cells(len(waiting))}."
        )
    return frozenset(cells - bytes_differ - waiting), tuple(notes)


def _traces(runs: Sequence[CheckedRun]) -> str:
    said = []
    for run in runs:
        places = dict.fromkeys((case.trace, case.n_res) for case in run.cells)
        said.append(f"{run.name} measured {formatting.listed(formatting.subject(*place) for place in places)}")
    return "; ".join(said)


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count != 1 else ''}"
