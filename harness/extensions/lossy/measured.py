"""Measure what rounding did to a tensor, block by block."""

from __future__ import annotations

import numpy as np

from harness.extensions.lossy.grid import NO_GRID
from harness.trace.loss import KEPT, Rounded

_BLOCK = 1 << 16  # values at a time, so that every pass works in cache


class Measured:
    """Adds up the errors of one tensor.

    Parameters
    ----------
    path : str
        Name of the tensor.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = 0
        self._absolute = self._relative = self._sum = 0.0
        self._rows: dict[int, int] = {}

    def add(self, before: np.ndarray, after: np.ndarray, exponents: np.ndarray | None = None) -> None:
        """Add the next block of values, and for attention the grids of its rows (see `put_on_grids`)."""
        unsigned = f"u{before.dtype.itemsize}"
        old, new = before.reshape(-1), after.reshape(-1)
        for start in range(0, old.size, _BLOCK):
            was, now = old[start : start + _BLOCK], new[start : start + _BLOCK]
            moved = was.view(unsigned) != now.view(unsigned)
            if moved.any():
                self._add_moved(was[moved].astype(np.float64), now[moved].astype(np.float64))
        if exponents is not None:
            self._add_rows(before, after, exponents)

    def _add_moved(self, before: np.ndarray, after: np.ndarray) -> None:
        error = np.abs(after - before)
        self._changed += error.size
        self._absolute = max(self._absolute, float(error.max()))
        self._relative = max(self._relative, float((error / np.abs(before)).max()))  # what moves is never 0

    def _add_rows(self, before: np.ndarray, after: np.ndarray, exponents: np.ndarray) -> None:
        for exponent, count in zip(*np.unique(exponents, return_counts=True), strict=True):
            self._rows[int(exponent)] = self._rows.get(int(exponent), 0) + int(count)
        on_grid = exponents != NO_GRID
        if on_grid.any():
            sums = (values[on_grid].sum(axis=-1, dtype=np.float64) for values in (before, after))
            self._sum = max(self._sum, float(np.abs(np.subtract(*sums)).max()))

    def rounded(self, bits: int | None) -> Rounded:
        """Return the record: with the explicit bits of significand that were kept, or None for attention."""
        rows = {KEPT if e == NO_GRID else f"2**-{e}": count for e, count in sorted(self._rows.items())}
        return Rounded(
            path=self._path,
            changed=self._changed,
            largest_absolute_error=self._absolute,
            largest_relative_error=self._relative,
            significand_bits=bits,
            largest_sum_change=self._sum if bits is None else None,
            rows=rows,
        )
