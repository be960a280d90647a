"""The samples of one contender in one case: which count, their times, and why it has no figure to decide by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import Contender

CLOSED_SINCE = 4
"""The first schema of rows whose words and grades are of the time from a closed archive, opening included."""

_TEXTS = ("run_id", "status", "reason", "effort", "group")

CLOSED = "closed_seconds"
"""A column that is no row's own: what a user waits for who has not opened the archive."""


def closed_seconds(rows: pd.DataFrame) -> np.ndarray:
    """Return what words and grades are of: opening and reading, or the reads alone in rows before `CLOSED_SINCE`."""
    seconds = rows["seconds"].to_numpy(float)
    opening = np.nan_to_num(rows["open_seconds"].to_numpy(float))  # a write has none
    return np.where(rows["schema_version"].to_numpy(int) >= CLOSED_SINCE, seconds + opening, seconds)


WAITED = "waited_seconds"
"""A column that is no row's own: what all workers together spent in reads, see `waited_seconds`."""


def waited_seconds(rows: pd.DataFrame) -> np.ndarray:
    """Return the sum of the times of the workers' shares; where these were not recorded, what they can be at most.

    The time of a sample of several workers is from the first start to the last end. Of reads that take microseconds
    much of that is the start of the workers, which none of a user's readers waits for.
    """
    most = rows["seconds"].to_numpy(float) * rows["workers"].to_numpy(float)
    shares = np.array([sum(map(float, str(text).split())) for text in rows["worker_seconds"].fillna("")])
    return np.where(shares > 0, shares, most)


_DERIVED = {CLOSED: closed_seconds, WAITED: waited_seconds}


class SampleColumns(dict[str, np.ndarray]):
    """The columns of the table as arrays, each converted once: numbers, but for those of text."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows

    def __missing__(self, name: str) -> np.ndarray:
        if derive := _DERIVED.get(name):
            self[name] = derive(self._rows)
        else:
            self[name] = self._rows[name].to_numpy(object if name in _TEXTS else float)
        return self[name]


def few(count: int) -> str:
    """Say that there are too few rounds."""
    return f"{count} round{'s' if count != 1 else ''}: a verdict needs {VERDICT_ROUNDS}"


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSamples:
    """One contender in one case."""

    contender: Contender  # Whose.
    rows: np.ndarray  # Ndarray of int. All its samples, as places in the table.
    columns: Mapping[str, np.ndarray]  # The complete table, by column.
    # Whether it left after few rounds, because it was so much slower than the baseline in each (`harness.run.early_decision`):
    # then these are enough.
    decided: bool = False

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

    @property
    def effort(self) -> str:
        """What its contender stands for."""
        return str(self.columns["effort"][self.rows[0]])

    @property
    def group(self) -> str:
        """The profile of the run whose best it may be, also where it has settings of its own."""
        return str(self.columns["group"][self.rows[0]])

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
        """The times that count, in the order of rounds: from a closed archive, see `closed_seconds`."""
        return self.columns[CLOSED][self.timed]

    @cached_property
    def read_seconds(self) -> np.ndarray:
        """The same of an open archive."""
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
        """Why it has no figure to decide by; empty where none failed and `VERDICT_ROUNDS` count, or it is decided."""
        if self.status == "failed":
            return f"failed: {self.reason}"
        if (count := len(self.seconds)) >= VERDICT_ROUNDS or self.decided:
            return ""
        bad = self.states[self.states != "ok"]
        told = f"{bad[0]}: {self.reason}".removesuffix(": ") if len(bad) else ""
        return (few(count) + (f" ({told})" if told else "")) if count else told or "no time was measured"
