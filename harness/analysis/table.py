"""The one table of samples that figures are made of: a run's rows in force, by case, by contender, by round."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.statistics import Comparison, compare, resampled_medians
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import CellKey, Contender
from harness.row_files import in_force


class CaseKey(NamedTuple):
    """What all contenders that are measured in the same rounds share."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    cache: str
    executor: str
    workers: int


class _Columns(dict[str, np.ndarray]):
    """The columns of the table as arrays, each converted once: numbers, but for those of text."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows

    def __missing__(self, name: str) -> np.ndarray:
        self[name] = self._rows[name].to_numpy(object if name in ("run_id", "status", "reason") else float)
        return self[name]


def few(count: int) -> str:
    """Say that there are too few rounds."""
    return f"{count} round{'s' if count != 1 else ''}: a verdict needs {VERDICT_ROUNDS}"


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSamples:
    """One contender in one case.

    Attributes
    ----------
    contender : Contender
        Whose.
    rows : ndarray of int
        All its samples, as places in the table.
    columns : mapping of str to ndarray
        The complete table, by column.
    """

    contender: Contender
    rows: np.ndarray
    columns: Mapping[str, np.ndarray]

    @cached_property
    def states(self) -> np.ndarray:
        """What became of each of its samples."""
        return self.columns["status"][self.rows]

    @property
    def status(self) -> str:
        """``failed`` when any sample failed, else ``ok`` when any counts, else what the first one is."""
        return next((s for s in ("failed", "ok") if s in self.states), str(self.states[0]))

    @property
    def reason(self) -> str:
        """Why it is so."""
        bad = self.states == "failed" if self.status == "failed" else self.states != "ok"
        return str(self.columns["reason"][self.rows][bad][0]) if bad.any() else ""

    @cached_property
    def good(self) -> np.ndarray:
        """The rows that count."""
        return self.rows[self.states == "ok"]

    @cached_property
    def timed(self) -> np.ndarray:
        """Those of them that have a time, in the order of rounds; a failed cell has none."""
        timed = self.good[~np.isnan(self.columns["seconds"][self.good])]
        return timed[:0] if self.status == "failed" else timed[np.argsort(self.columns["round"][timed], kind="stable")]

    @cached_property
    def seconds(self) -> np.ndarray:
        """The times that count, in the order of rounds."""
        return self.columns["seconds"][self.timed]

    @cached_property
    def rounds(self) -> np.ndarray:
        """The rounds of `seconds`."""
        return self.columns["round"][self.timed].astype(int)

    def known(self, column: str) -> np.ndarray:
        """Return the values that samples which count have in a column."""
        values = self.columns[column][self.good]
        return values[~np.isnan(values)]

    def median(self, column: str) -> float | None:
        """Return the median of `known`; None where there is none."""
        known = self.known(column)
        return float(np.median(known)) if len(known) else None

    @cached_property
    def why(self) -> str:
        """Why it has no figure to decide by; empty where it has `VERDICT_ROUNDS` rounds and none failed."""
        if self.status == "failed":
            return f"failed: {self.reason}"
        if (count := len(self.seconds)) >= VERDICT_ROUNDS:
            return ""
        bad = self.states[self.states != "ok"]
        told = f"{bad[0]}: {self.reason}".removesuffix(": ") if len(bad) else ""
        return (few(count) + (f" ({told})" if told else "")) if count else told or "no time was measured"


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseSamples:
    """One access in one state.

    Attributes
    ----------
    case : CaseKey
        Which.
    cells : tuple of CellSamples
        Every contender, in the order in which they were first measured.
    smoothed : bool
        How rounds are drawn anew, see `harness.analysis.statistics.resample`.
    """

    case: CaseKey
    cells: tuple[CellSamples, ...]
    smoothed: bool = True

    @cached_property
    def by_contender(self) -> dict[Contender, CellSamples]:
        """Its cells."""
        return {cell.contender: cell for cell in self.cells}

    def key(self, contender: Contender) -> CellKey:
        """Return what records call one of its cells."""
        return CellKey(**self.case._asdict(), **contender._asdict())

    @cached_property
    def ceiling(self) -> CellSamples | None:
        """The raw ceiling, where it has a time."""
        return next((cell for cell in self.cells if cell.contender.is_ceiling and len(cell.seconds)), None)

    @cached_property
    def control(self) -> CellSamples | None:
        """The A/A control."""
        return next((cell for cell in self.cells if cell.contender.is_control), None)

    @property
    def skipped(self) -> bool:
        """Whether nothing was measured at all, because the trace has nothing to measure or the machine cannot."""
        return all((cell.states == "skipped").all() for cell in self.cells)

    @cached_property
    def counted(self) -> tuple[Contender, ...]:
        """Those that have figures to decide by."""
        return tuple(cell.contender for cell in self.cells if not cell.why)

    @property
    def why(self) -> dict[Contender, str]:
        """Why each of the others has none."""
        return {cell.contender: cell.why for cell in self.cells if cell.why}

    def baseline(self, name: str | None, profile: str) -> CellSamples | None:
        """Return a format's cell: in the same profile where it was measured in it, else in any."""
        same = self.by_contender.get(Contender(name or "", profile))
        return same or next((cell for cell in self.cells if cell.contender.format == name), None)

    def original(self, name: str | None) -> CellSamples | None:
        """Return the cell that the A/A control repeats, `name` being the run's baseline."""
        control = self.control
        return control and self.by_contender.get(Contender(name or "", control.contender.profile))

    @cached_property
    def _medians(self) -> dict[tuple[str, str], dict[Contender, np.ndarray]]:
        return {}

    def medians(self, column: str = "seconds", per: str = "") -> dict[Contender, np.ndarray]:
        """Return medians over rounds of those that count: of what was measured, then of rounds drawn anew.

        Parameters
        ----------
        column, per : str
            A column, and another that it is divided by.

        Returns
        -------
        dict of Contender to ndarray, shape (1 + RESAMPLES,)
            All have the same draws, but another case draws its own: its rounds were other moments.
        """
        if (column, per) not in self._medians:
            values = by_round([self.by_contender[contender] for contender in self.counted], column, per)
            drawn = resampled_medians(values, zlib.crc32(repr(tuple(self.case)).encode()), smoothed=self.smoothed)
            self._medians[column, per] = dict(zip(self.counted, drawn.T, strict=True))
        return self._medians[column, per]


def by_round(cells: Sequence[CellSamples], column: str = "seconds", per: str = "") -> np.ndarray:
    """Return a column, or its ratio to another, of several cells: shape (cells, rounds); NaN where one has no time."""
    rounds = np.unique(np.concatenate([cell.rounds for cell in cells])) if cells else np.zeros(0)
    values = np.full((len(cells), len(rounds)), np.nan)
    for row, cell in zip(values, cells, strict=True):
        found = cell.columns[column][cell.timed]
        row[np.searchsorted(rounds, cell.rounds)] = found / cell.columns[per][cell.timed] if per else found
    return values


def paired(cell: CellSamples | None, baseline: CellSamples | None) -> Comparison | None:
    """Compare two cells by the rounds in which both have a time; None without a common round."""
    if cell is None or baseline is None:
        return None
    _, mine, theirs = np.intersect1d(cell.rounds, baseline.rounds, return_indices=True)
    return compare(cell.seconds[mine], baseline.seconds[theirs]) if len(mine) else None


@dataclass(frozen=True, eq=False)
class SampleTable:
    """The samples of a run.

    Attributes
    ----------
    rows : DataFrame
        As `harness.row_files.read_samples` gives them, those in force.
    cases : tuple of CaseSamples
        In the order in which they were first measured.
    """

    rows: pd.DataFrame
    cases: tuple[CaseSamples, ...]

    @classmethod
    def of(cls, samples: pd.DataFrame, *, smoothed: bool = True) -> SampleTable:
        """Arrange samples; those that a later attempt supersedes are left out."""
        rows = in_force(samples).reset_index(drop=True)
        columns = _Columns(rows)
        keys = rows[list(CellKey._fields)]
        groups = rows.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
        found: dict[CaseKey, list[CellSamples]] = {}
        order = np.argsort(groups, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []:
            key = CellKey.of(keys.iloc[places[0]])
            case = CaseKey(*(getattr(key, name) for name in CaseKey._fields))
            found.setdefault(case, []).append(CellSamples(contender=key.contender, rows=places, columns=columns))
        return cls(rows, tuple(CaseSamples(case=c, cells=tuple(f), smoothed=smoothed) for c, f in found.items()))

    @cached_property
    def lengths(self) -> dict[str, int | None]:
        """The largest length of each trace, None for one that has no residues."""
        longest = self.rows.groupby("trace", sort=False)["n_res"].max()
        return {str(trace): None if pd.isna(length) else int(length) for trace, length in longest.items()}

    @cached_property
    def profiles(self) -> list[str]:
        """The profiles of formats, in the order in which they were first measured."""
        return [profile for profile in dict.fromkeys(c.profile for c in self.contenders()) if profile]

    @property
    def judged_profile(self) -> str:
        """The profile that formats are judged in: each at its best honest settings, else the first measured."""
        return "tuned" if "tuned" in self.profiles else next(iter(self.profiles), "")

    def contenders(self, cases: Iterable[CaseSamples] | None = None) -> list[Contender]:
        """List all contenders, of some cases or of all."""
        return list(dict.fromkeys(c.contender for case in (self.cases if cases is None else cases) for c in case.cells))
