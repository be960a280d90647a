"""Withdrawal of published verdicts that do not hold: the affected rows, and the text that replaces the verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.records import HELD_SINCE

CORRECTION = (
    "Verdicts on reads are withdrawn (28 November 2026): this run's readers did not get equal effort. Data sets were "
    "opened, and decoded chunks forgotten, for each read. Libraries ran with their defaults, in the versions that the "
    "ledger names, beside a reader of this project's own that uses all cores. Sizes stand; reads have to be "
    "measured again."
)
"""First text in the report of a run whose reads are withdrawn."""

SHORT = "withdrawn"


def withdrawn(samples: pd.DataFrame) -> bool:
    """Return whether a run's reads predate readers that hold data sets and arrays open, by its rows' schema."""
    return bool(len(samples)) and int(samples["schema_version"].iloc[0]) < HELD_SINCE


def without_verdicts(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary without verdicts on reads; medians, ratios and intervals stay as they were recorded."""
    reads = summary["cache"].astype(bool) & summary["verdict"].notna()
    empty = {name: summary[name].where(~reads, np.nan) for name in ("verdict", "why")}
    return summary.assign(**empty, reason=summary["reason"].mask(reads, SHORT))
