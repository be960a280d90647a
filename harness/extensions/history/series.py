"""Runs that measured the same, side by side: a row of times for every cell, and what the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from harness.extensions.history.changepoint import common
from harness.extensions.history.record import CellFigures, Definition, RunRecord
from harness.records import CellKey


@dataclass(frozen=True, eq=False)
class Series:
    """Runs of one definition, in the order of time.

    Attributes
    ----------
    records : tuple of RunRecord
        The runs.
    changed : str
        What differs from the series that was begun before it; empty for the first.
    """

    records: tuple[RunRecord, ...]
    changed: str

    @cached_property
    def cells(self) -> list[dict[CellKey, CellFigures]]:
        """The cells of each run, by key."""
        return [{cell.key: cell for cell in record.cells} for record in self.records]

    @cached_property
    def keys(self) -> tuple[CellKey, ...]:
        """Every cell of any run, in the order in which it first appeared."""
        return tuple(dict.fromkeys(key for cells in self.cells for key in cells))

    @property
    def claims(self) -> list[CellKey]:
        """The cells that say something about a format."""
        return [key for key in self.keys if key.contender.competes]

    def figures(self, key: CellKey, name: str) -> np.ndarray:
        """Return a figure of a cell in each run: shape (runs,), NaN where a run has none."""
        found = [getattr(cells[key], name) if key in cells else None for cells in self.cells]
        return np.array([np.nan if value is None else value for value in found], float)

    def logs(self, keys: Iterable[CellKey]) -> np.ndarray:
        """Return logarithms of median seconds: shape (keys, runs)."""
        rows = [np.log(self.figures(key, "median_seconds")) for key in keys]
        return np.array(rows).reshape(-1, len(self.records))

    @cached_property
    def machine(self) -> np.ndarray:
        """What the raw ceiling says of the machine in each run: shape (runs,), as `common` finds it."""
        return common(self.logs(key for key in self.keys if key.contender.is_ceiling))

    def ceiling(self, key: CellKey) -> np.ndarray:
        """What the raw ceiling of a cell's own reads did, from its median: shape (runs,), NaN where a run has none."""
        place = key._replace(format="", profile="")
        raws = [raw for raw in self.keys if raw.contender.is_ceiling]
        same = [raw for raw in raws if raw._replace(format="", profile="") == place]
        if not same:
            return np.full(len(self.records), np.nan)
        (logs,) = self.logs(same[:1])
        return logs - np.nanmedian(logs)


@dataclass(frozen=True)
class Vanished:
    """A cell that earlier runs of a series have and its newest run has not: it failed there, or was not measured.

    Attributes
    ----------
    key : CellKey
        Which.
    place : int
        Number of the first run without it.
    last : RunRecord
        The last run that has it.
    """

    key: CellKey
    place: int
    last: RunRecord


def vanished(series: Series) -> list[Vanished]:
    """List the cells that say something about a format and that the newest run of a series lacks."""
    found = []
    for key in series.claims:
        last = max(place for place, cells in enumerate(series.cells) if key in cells)
        if last + 1 < len(series.records):
            found.append(Vanished(key, last + 1, series.records[last]))
    return found


def arrange(records: Iterable[RunRecord]) -> list[Series]:
    """Put runs into series, by what they measured.

    Parameters
    ----------
    records : iterable of RunRecord
        Of one kind of machine.

    Returns
    -------
    list of Series
        Each with all runs of one definition, in the order of time; the one with the latest run comes last.
    """
    groups: list[tuple[Definition, list[RunRecord]]] = []
    for record in sorted(records, key=lambda record: record.started):
        known = next((runs for definition, runs in groups if definition == record.definition), None)
        if known is None:
            groups.append((record.definition, [record]))
        else:
            known.append(record)
    changed = [""] + [one.differences(other) for (one, _), (other, _) in pairwise(groups)]
    series = [Series(tuple(runs), text) for (_, runs), text in zip(groups, changed, strict=True)]
    return sorted(series, key=lambda found: found.records[-1].started)
