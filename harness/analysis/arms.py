"""The samples of a run by arm: what each took in every round, next to the arms that ran in the same rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.statistics import Comparison, compare

PLACE = ["suite", "access", "trace", "n_res", "cache", "executor", "workers"]
"""The key columns that arms measured in the same rounds share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmSamples:
    """One format in one profile, on one access in one state.

    Attributes
    ----------
    name, profile : str
        The ``format`` and ``profile`` columns.
    rows : ndarray of int
        All its samples, as places in the table.
    status : str
        ``failed`` when any sample failed, else ``ok`` when any counts, else what the first one is.
    good : ndarray of int
        Those that count.
    rounds, positions : ndarray of int, shape (timed,)
        Round and position within it of every sample that counts and has a time, in the order of rounds; empty when any
        sample failed, because a failed cell has no time.
    seconds : ndarray of float, shape (timed,)
        Their times.
    """

    name: str
    profile: str
    rows: np.ndarray
    status: str
    good: np.ndarray
    rounds: np.ndarray
    positions: np.ndarray
    seconds: np.ndarray

    @property
    def label(self) -> str:
        """Name and profile, as the ``baseline`` column shows them."""
        return f"{self.name} ({self.profile})"


def arms_by_place(samples: pd.DataFrame) -> list[tuple[ArmSamples, ...]]:
    """Arrange samples by what was measured, and by arm.

    Parameters
    ----------
    samples : DataFrame
        From `harness.row_files.read_samples`.

    Returns
    -------
    list of tuple of ArmSamples
        One tuple for each access in each state, arms and tuples in the order in which they were first measured.
    """
    places = samples.groupby(PLACE, sort=False, dropna=False).ngroup().to_numpy()
    codes = samples.groupby([*PLACE, "format", "profile"], sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    found: dict[int, list[ArmSamples]] = {}
    # Column by column and by place in the table: a frame for each arm would take longer than all of the statistics.
    status, seconds = samples["status"].to_numpy(object), samples["seconds"].to_numpy(float)
    rounds, positions = samples["round"].to_numpy(int), samples["position"].to_numpy(int)
    names, profiles = samples["format"].to_numpy(object), samples["profile"].to_numpy(object)
    ok, failed, timed = status == "ok", status == "failed", ~np.isnan(seconds)
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []:
        good = rows[ok[rows]]
        counted = good[timed[good]] if not failed[rows].any() else good[:0]
        counted = counted[np.argsort(rounds[counted], kind="stable")]
        arm = ArmSamples(
            name=str(names[rows[0]]),
            profile=str(profiles[rows[0]]),
            rows=rows,
            status="failed" if failed[rows].any() else "ok" if len(good) else str(status[rows[0]]),
            good=good,
            rounds=rounds[counted],
            positions=positions[counted],
            seconds=seconds[counted],
        )
        found.setdefault(int(places[rows[0]]), []).append(arm)
    return [tuple(arms) for arms in found.values()]


def paired(arm: ArmSamples | None, other: ArmSamples | None) -> Comparison | None:
    """Compare two arms by the rounds in which both have a time.

    Parameters
    ----------
    arm, other : ArmSamples or None
        The second is the baseline.

    Returns
    -------
    Comparison or None
        None without a common round.
    """
    if arm is None or other is None:
        return None
    _, mine, theirs = np.intersect1d(arm.rounds, other.rounds, return_indices=True)
    return compare(arm.seconds[mine], other.seconds[theirs]) if len(mine) else None
