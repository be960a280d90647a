"""Table of the samples that all figures are computed from: a run's rows in force, by case, contender and round."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.cells import CLOSED, CLOSED_SINCE, CellSamples, SampleColumns
from harness.analysis.statistics import Comparison, compare, resampled_medians
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import CellKey, Contender
from harness.row_files import in_force
from harness.run.early_decision import counterpart, decided


class CaseKey(NamedTuple):
    """Key of a case: what all contenders that are measured in the same rounds share."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    cache: str
    executor: str
    workers: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseSamples:
    """Samples of one case: an access in one state, by every contender."""

    case: CaseKey  # The key of the case.
    cells: tuple[CellSamples, ...]  # Every contender, in the order in which they were first measured.

    @cached_property
    def by_contender(self) -> dict[Contender, CellSamples]:
        """Its cells, by contender."""
        return {cell.contender: cell for cell in self.cells}

    def key(self, contender: Contender) -> CellKey:
        """Return the key that one of its cells has in records."""
        return CellKey(**self.case._asdict(), **contender._asdict())

    @cached_property
    def ceiling(self) -> CellSamples | None:
        """The raw ceiling; None if it has no time."""
        return next((cell for cell in self.cells if cell.contender.is_ceiling and len(cell.seconds)), None)

    @cached_property
    def control(self) -> CellSamples | None:
        """The A/A control; None if there is none."""
        return next((cell for cell in self.cells if cell.contender.is_control), None)

    @property
    def skipped(self) -> bool:
        """Whether nothing was measured, because the trace has nothing to measure or the machine cannot."""
        return all((cell.states == "skipped").all() for cell in self.cells)

    @cached_property
    def counted(self) -> tuple[Contender, ...]:
        """Contenders that allow a verdict, see `CellSamples.why`."""
        return tuple(cell.contender for cell in self.cells if not cell.why)

    @property
    def why(self) -> dict[Contender, str]:
        """Reason of each other contender, see `CellSamples.why`."""
        return {cell.contender: cell.why for cell in self.cells if cell.why}

    def baseline(self, name: str | None, cell: CellSamples) -> CellSamples | None:
        """Return the cell of a format that another is compared with, see `harness.run.early_decision.counterpart`."""
        theirs = [(c, c.effort, c.group) for c in self.cells if c.contender.format == name]
        return counterpart(cell.effort, cell.group, theirs)

    def original(self, name: str | None) -> CellSamples | None:
        """Return the cell that the A/A control repeats; `name` is the run's baseline."""
        control = self.control
        return control and self.by_contender.get(control.contender._replace(format=name or ""))

    def below_raw(self, cell: CellSamples) -> bool:
        """Return whether a warm read, its interval included, took less time than the raw ceiling of the same bytes."""
        if self.case.cache != "warm" or cell.contender.is_ceiling:
            return False
        against = paired(cell, self.ceiling)
        return against is not None and against.ratio.high < 1

    def with_decided(self, name: str | None) -> CaseSamples:
        """Return the case with the contenders that left early marked as decided; `name` is the run's baseline."""
        original = self.original(name)
        if original is None or len(original.seconds) < VERDICT_ROUNDS:
            return self
        most = len(original.seconds)
        cells = (
            dataclasses.replace(cell, decided=True)
            if cell.contender.competes
            and len(cell.seconds) < most
            and direction(cell, original, self.control, original) == 1
            else cell
            for cell in self.cells
        )
        return dataclasses.replace(self, cells=tuple(cells))

    @cached_property
    def _medians(self) -> dict[tuple[str, str], dict[Contender, np.ndarray]]:
        return {}

    def medians(self, column: str = CLOSED, per: str = "") -> dict[Contender, np.ndarray]:
        """Return medians over rounds of the contenders in `counted`: of measured rounds, then of resampled rounds.

        Parameters
        ----------
        column, per : str
            A column, and another to divide it by.

        Returns
        -------
        dict of Contender to ndarray, shape (1 + RESAMPLES,)
            All have the same draws. Another case has its own draws, because its rounds were at other times.
        """
        if (column, per) not in self._medians:
            values = by_round([self.by_contender[contender] for contender in self.counted], column, per)
            drawn = resampled_medians(values, zlib.crc32(repr(tuple(self.case)).encode()))
            self._medians[column, per] = dict(zip(self.counted, drawn.T, strict=True))
        return self._medians[column, per]


def by_round(cells: Sequence[CellSamples], column: str = CLOSED, per: str = "") -> np.ndarray:
    """Return a column, or its ratio to another, of several cells: shape (cells, rounds); NaN where one has no time."""
    rounds = np.unique(np.concatenate([cell.rounds for cell in cells])) if cells else np.zeros(0)
    values = np.full((len(cells), len(rounds)), np.nan)
    for row, cell in zip(values, cells, strict=True):
        found = cell.columns[column][cell.timed]
        row[np.searchsorted(rounds, cell.rounds)] = found / cell.columns[per][cell.timed] if per else found
    return values


def paired(cell: CellSamples | None, baseline: CellSamples | None, column: str = CLOSED) -> Comparison | None:
    """Compare times of two cells by the rounds in which both have one; None without a common round."""
    if cell is None or baseline is None:
        return None
    _, mine, theirs = np.intersect1d(cell.rounds, baseline.rounds, return_indices=True)
    times = (one.columns[column][one.timed[places]] for one, places in ((cell, mine), (baseline, theirs)))
    return compare(*times) if len(mine) else None


def direction(
    cell: CellSamples | None, against: CellSamples | None, control: CellSamples | None, original: CellSamples | None
) -> int:
    """Return whether few rounds decide between two cells: 1 if the first is slower, -1 if it is faster, else 0.

    `harness.run.early_decision.decided` judges the rounds in which all four have a time: those before one of them left.
    """
    if cell is None or against is None or control is None or original is None:
        return 0
    logs = np.log(by_round([cell, against, control, original]))
    logs = logs[:, np.isfinite(logs).all(axis=0)]
    ratios, equal = logs[0] - logs[1], logs[2] - logs[3]
    return int(decided(ratios, equal)) - int(decided(-ratios, equal))


@dataclass(frozen=True, eq=False)
class SampleTable:
    """The samples of a run."""

    # The rows in force of `harness.row_files.read_samples`, with a column ``group`` (`CellSamples.group`).
    rows: pd.DataFrame
    cases: tuple[CaseSamples, ...]  # In the order in which they were first measured.

    @classmethod
    def of(
        cls,
        samples: pd.DataFrame,
        *,
        baseline: str | None = None,
        groups: Mapping[tuple[str, str], str] | None = None,
    ) -> SampleTable:
        """Return the table of samples, without those that a later attempt supersedes.

        Parameters
        ----------
        samples : DataFrame
            Rows as recorded.
        baseline : str, optional
            The run's own baseline, by which contenders left early. Without it, no cell is marked as decided.
        groups : mapping of (str, str) to str, optional
            `harness.run.subject.groups` of its arms. Without it, each profile is a group of its own.
        """
        rows = in_force(samples).reset_index(drop=True)
        contenders = zip(rows["format"], rows["profile"], strict=True)
        rows["group"] = [(groups or {}).get(contender, contender[1]) for contender in contenders]
        columns = SampleColumns(rows)
        keys = rows[list(CellKey._fields)]
        cells = rows.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
        found: dict[CaseKey, list[CellSamples]] = {}
        order = np.argsort(cells, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(cells[order])) + 1) if len(order) else []:
            key = CellKey.of(keys.iloc[places[0]])
            case = CaseKey(*(getattr(key, name) for name in CaseKey._fields))
            found.setdefault(case, []).append(CellSamples(contender=key.contender, rows=places, columns=columns))
        cases = (CaseSamples(case=case, cells=tuple(cells)) for case, cells in found.items())
        return cls(rows, tuple(case.with_decided(baseline) for case in cases))

    @property
    def all_rounds(self) -> bool:
        """Whether verdicts use disturbed rounds, as published for older runs; see `harness.analysis.verdict.judge`."""
        return len(self.rows) > 0 and int(self.rows["schema_version"].iloc[0]) < CLOSED_SINCE

    @cached_property
    def lengths(self) -> dict[str, int | None]:
        """The largest length of each trace; None for a trace without residues."""
        longest = self.rows.groupby("trace", sort=False)["n_res"].max()
        return {str(trace): None if pd.isna(length) else int(length) for trace, length in longest.items()}

    @cached_property
    def profiles(self) -> list[str]:
        """The profiles of formats, in the order in which they were first measured."""
        return [profile for profile in dict.fromkeys(c.profile for c in self.contenders()) if profile]

    @property
    def judged_profile(self) -> str:
        """The profile that formats are judged in: ``tuned``, their best honest settings, else the first measured."""
        return "tuned" if "tuned" in self.profiles else next(iter(self.profiles), "")

    def contenders(self, cases: Iterable[CaseSamples] | None = None) -> list[Contender]:
        """Return all contenders, of the given cases or of all."""
        return list(dict.fromkeys(c.contender for case in (self.cases if cases is None else cases) for c in case.cells))
