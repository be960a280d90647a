"""Selection of rows by the kind of their arm, and by the facts of their access."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from harness.records import Kind, kind_of
from harness.suite import SIZE, AccessInfo, access_named


def of_kind(rows: pd.DataFrame, kind: Kind) -> pd.Series[bool]:
    """Return for each row whether its arm is of a kind: a format, the raw ceiling or the A/A control."""
    return rows["format"].map(kind_of) == kind


def rows_where(rows: pd.DataFrame, says: Callable[[AccessInfo], bool]) -> np.ndarray:
    """Return for each row whether a condition holds for its access."""
    pairs = list(zip(rows["access"].astype(str), rows["suite"].astype(str), strict=True))
    found = {pair: says(access_named(*pair)) for pair in set(pairs)}
    return np.array([found[pair] for pair in pairs], dtype=bool)


def written_once(rows: pd.DataFrame) -> np.ndarray:
    """Return for each row whether it has one sample by design, such as writing the archives that are read from."""
    return rows_where(rows, lambda info: info.once)


def archive_sizes(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the samples with the size in bytes of a trace's archive."""
    here = rows_where(samples, lambda info: info.cost == SIZE)
    return samples[here & (samples["status"] == "ok") & samples["size_bytes"].notna()]
