"""Least squares with coefficients that cannot be negative, as costs cannot."""

from __future__ import annotations

import numpy as np

_ROUNDS = 1000


def nonnegative(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve ``min |matrix x - target|`` for ``x >= 0`` with the active set method of Lawson & Hanson (1974, ch. 23).

    Parameters
    ----------
    matrix : ndarray, shape (rows, columns)
        Columns of any scale; one that is zero gets the coefficient 0.
    target : ndarray, shape (rows,)
        What is to be matched.

    Returns
    -------
    ndarray, shape (columns,)
        A minimum; the only one when the columns are independent.
    """
    norms = np.sqrt((matrix**2).sum(axis=0))
    scale = np.where(norms > 0, norms, 1.0)
    scaled = matrix / scale
    tolerance = 1e-10 * max(1.0, float(np.abs(target).max(initial=0.0)))
    found = np.zeros(matrix.shape[1])
    free = np.zeros(matrix.shape[1], bool)
    for _ in range(_ROUNDS):
        slope = scaled.T @ (target - scaled @ found)
        slope[free] = -np.inf
        best = int(np.argmax(slope))
        if slope[best] <= tolerance:
            break
        free[best] = True
        _settle(scaled, target, found, free)
    return found / scale


def _settle(matrix: np.ndarray, target: np.ndarray, found: np.ndarray, free: np.ndarray) -> None:
    """Solve for the free coefficients, and fix at 0 those that would become negative, until none does."""
    while free.any():
        wanted = np.zeros_like(found)
        wanted[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        if (wanted[free] > 0).all():
            found[:] = wanted
            return
        below = free & (wanted <= 0)
        step = np.min(found[below] / np.maximum(found[below] - wanted[below], np.finfo(float).tiny))
        found += step * (wanted - found)
        free &= found > 1e-12 * max(1.0, float(found.max()))
        found[~free] = 0.0
    found[:] = 0.0
