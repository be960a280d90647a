"""Measure what rounding did to a tensor, block by block."""

from __future__ import annotations

import numpy as np


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Say of each value whether its bits changed."""
    unsigned = f"u{before.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(before).view(unsigned) != np.ascontiguousarray(after).view(unsigned))


class Errors:
    """Adds up the errors of one tensor: how many values changed, and the largest errors.

    Parameters
    ----------
    rows : bool
        Whether its rows have sums to keep, as those of attention.
    """

    def __init__(self, rows: bool) -> None:
        self._rows = rows
        self.changed = 0
        self.absolute = self.relative = self.sums = 0.0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Add the next block of values."""
        before, after = np.atleast_1d(before, after)
        changed = moved(before, after)
        if not changed.any():
            return
        was, now = before[changed].astype(np.float64), after[changed].astype(np.float64)
        error = np.abs(now - was)
        self.changed += error.size
        self.absolute = max(self.absolute, float(error.max()))
        self.relative = max(self.relative, float((error / np.abs(was)).max()))  # what moves is never 0
        if self._rows:
            rows = changed.any(axis=-1)
            was, now = (values[rows].sum(axis=-1, dtype=np.float64) for values in (before, after))
            self.sums = max(self.sums, float(np.abs(now - was).max()))
