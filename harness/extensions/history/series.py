"""Series of runs that measured the same: a row of times for every cell, and the speed of the machine in each run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from harness.extensions.history.changepoint import common
from harness.extensions.history.record import RunRecord
from harness.records import CellKey


@dataclass(frozen=True, eq=False)
class Series:
    """Runs of one definition, in order of time."""

    records: tuple[RunRecord, ...]  # The runs.
    changed: str  # Differences, in words, from the series that began before it; empty for the first.

    @cached_property
    def keys(self) -> tuple[CellKey, ...]:
        """Every cell of any run, in the order in which it first appeared."""
        return tuple(dict.fromkeys(key for record in self.records for key in record.cells))

    @property
    def claims(self) -> list[CellKey]:
        """The cells of contenders that compete, which excludes the raw ceiling."""
        return [key for key in self.keys if key.contender.competes]

    def figures(self, key: CellKey, name: str) -> np.ndarray:
        """Return a figure of a cell in each run: shape (runs,), NaN where a run has none."""
        return np.array([record.cells.get(key, {}).get(name) for record in self.records], float)

    def logs(self, keys: Iterable[CellKey]) -> np.ndarray:
        """Return logarithms of median seconds: shape (keys, runs)."""
        rows = [np.log(self.figures(key, "median_seconds")) for key in keys]
        return np.array(rows).reshape(-1, len(self.records))

    @cached_property
    def machine(self) -> np.ndarray:
        """The machine's slowdown in each run by the raw ceiling, from `common`: log scale, shape (runs,)."""
        return common(self.logs(key for key in self.keys if key.contender.is_ceiling))

    def ceiling(self, key: CellKey) -> np.ndarray:
        """Return the deviation of the raw ceiling of a cell's own reads from its median.

        Logarithms, shape (runs,); NaN where a run has no raw ceiling.
        """
        for raw in self.keys:
            if raw.contender.is_ceiling and raw._replace(format=key.format, profile=key.profile) == key:
                (logs,) = self.logs([raw])
                return np.asarray(logs - np.nanmedian(logs))
        return np.full(len(self.records), np.nan)


def vanished(series: Series) -> list[tuple[CellKey, int]]:
    """Return the competing cells that the newest run of a series lacks, each with the index of the last run with it."""
    found = []
    for key in series.claims:
        last = max(place for place, record in enumerate(series.records) if key in record.cells)
        if last + 1 < len(series.records):
            found.append((key, last))
    return found


def arrange(records: Iterable[RunRecord]) -> list[Series]:
    """Group runs into series by definition.

    Parameters
    ----------
    records : iterable of RunRecord
        Of one kind of machine.

    Returns
    -------
    list of Series
        Each with all runs of one definition, in order of time; the series with the latest run comes last.
    """
    groups: list[list[RunRecord]] = []
    for record in sorted(records, key=lambda record: record.started):
        known = next((runs for runs in groups if runs[0].definition == record.definition), None)
        if known is None:
            groups.append([record])
        else:
            known.append(record)
    changed = [""] + [one[0].definition.differences(other[0].definition) for one, other in pairwise(groups)]
    series = [Series(tuple(runs), text) for runs, text in zip(groups, changed, strict=True)]
    return sorted(series, key=lambda found: found.records[-1].started)
