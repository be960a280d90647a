"""Samples of one contender in one case: which ones count, their times, and why they may not allow a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import Contender

CLOSED_SINCE = 4
"""First schema of rows whose verdicts and grades use the time from a closed archive, opening included."""

_TEXTS = ("run_id", "status", "reason", "effort", "group")

CLOSED = "closed_seconds"
"""Name of a derived column: the time for a user who has not opened the archive."""


def closed_seconds(rows: pd.DataFrame) -> np.ndarray:
    """Return the seconds that verdicts and grades use: opening plus reading; before `CLOSED_SINCE`, reading alone."""
    seconds = rows["seconds"].to_numpy(float)
    opening = np.nan_to_num(rows["open_seconds"].to_numpy(float))  # a write has no opening
    return np.where(rows["schema_version"].to_numpy(int) >= CLOSED_SINCE, seconds + opening, seconds)


WAITED = "waited_seconds"
"""Name of a derived column: the time that all workers together spent in reads, see `waited_seconds`."""


def waited_seconds(rows: pd.DataFrame) -> np.ndarray:
    """Return the sum of the workers' read times; where these were not recorded, an upper bound of it.

    The time of a sample with several workers is from the first start to the last end. For reads that take microseconds,
    much of it is the start of the workers, which no reader of a user waits for.
    """
    most = rows["seconds"].to_numpy(float) * rows["workers"].to_numpy(float)
    shares = np.array([sum(map(float, str(text).split())) for text in rows["worker_seconds"].fillna("")])
    return np.where(shares > 0, shares, most)


_DERIVED = {CLOSED: closed_seconds, WAITED: waited_seconds}


class SampleColumns(dict[str, np.ndarray]):
    """The columns of the table as arrays, each converted once: to numbers, except for text columns."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows

    def __missing__(self, name: str) -> np.ndarray:
        if derive := _DERIVED.get(name):
            self[name] = derive(self._rows)
        else:
            self[name] = self._rows[name].to_numpy(object if name in _TEXTS else float)
        return self[name]


def few(count: int) -> str:
    """Return the reason that there are too few rounds for a verdict."""
    return f"{count} round{'s' if count != 1 else ''}: a verdict needs {VERDICT_ROUNDS}"


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSamples:
    """Samples of one contender in one case."""

    contender: Contender  # The contender of the samples.
    rows: np.ndarray  # Array of int: positions of all its samples in the table.
    columns: Mapping[str, np.ndarray]  # The complete table, by column.
    # Whether it left after a few rounds because it was much slower than the baseline in each
    # (`harness.run.early_decision`). Then these rounds are enough for a verdict.
    decided: bool = False

    @cached_property
    def states(self) -> np.ndarray:
        """Status of each of its samples."""
        return self.columns["status"][self.rows]

    @property
    def status(self) -> str:
        """``failed`` if any sample failed, else ``ok`` if any sample is, else the status of the first sample."""
        return next((s for s in ("failed", "ok") if s in self.states), str(self.states[0]))

    @property
    def reason(self) -> str:
        """Recorded reason of the first failed sample, or else of the first that is not ``ok``; empty if all are."""
        bad = self.states == "failed" if self.status == "failed" else self.states != "ok"
        return str(self.columns["reason"][self.rows][bad][0]) if bad.any() else ""

    @property
    def effort(self) -> str:
        """Effort of its contender: ``stock``, ``best``, ``both``, or empty if it has none."""
        return str(self.columns["effort"][self.rows[0]])

    @property
    def group(self) -> str:
        """Profile of the run in which it may be its format's best, even if it has its own settings."""
        return str(self.columns["group"][self.rows[0]])

    @cached_property
    def good(self) -> np.ndarray:
        """Positions of the samples that count."""
        return self.rows[self.states == "ok"]

    @cached_property
    def timed(self) -> np.ndarray:
        """Positions of the samples in `good` that have a time, in the order of rounds; none if the cell failed."""
        timed = self.good[~np.isnan(self.columns["seconds"][self.good])]
        return timed[:0] if self.status == "failed" else timed[np.argsort(self.columns["round"][timed], kind="stable")]

    @cached_property
    def seconds(self) -> np.ndarray:
        """Times that count, in the order of rounds: from a closed archive, see `closed_seconds`."""
        return self.columns[CLOSED][self.timed]

    @cached_property
    def read_seconds(self) -> np.ndarray:
        """As `seconds`, but from an open archive."""
        return self.columns["seconds"][self.timed]

    @cached_property
    def rounds(self) -> np.ndarray:
        """Round numbers of `seconds`."""
        return self.columns["round"][self.timed].astype(int)

    def known(self, column: str) -> np.ndarray:
        """Return the values of a column in the samples that count, without NaN."""
        values = self.columns[column][self.good]
        return values[~np.isnan(values)]

    def median(self, column: str) -> float | None:
        """Return the median of `known`; None if there are no values."""
        known = self.known(column)
        return float(np.median(known)) if len(known) else None

    @cached_property
    def why(self) -> str:
        """Why it allows no verdict; empty if no sample failed and it has `VERDICT_ROUNDS` times or is `decided`."""
        if self.status == "failed":
            return f"failed: {self.reason}"
        if (count := len(self.seconds)) >= VERDICT_ROUNDS or self.decided:
            return ""
        bad = self.states[self.states != "ok"]
        told = f"{bad[0]}: {self.reason}".removesuffix(": ") if len(bad) else ""
        return (few(count) + (f" ({told})" if told else "")) if count else told or "no time was measured"
