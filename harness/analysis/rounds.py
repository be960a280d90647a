"""Cells with their rounds kept: what every arm took in each round, and medians of rounds drawn anew, alike for all."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.statistics import CONFIDENCE
from harness.analysis.verdict import VERDICT_ROUNDS

RESAMPLES = 2000

Arm = tuple[str, str]  # format and profile


class Place(NamedTuple):
    """What the arms of one cell share."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    cache: str
    executor: str
    workers: int


class _Row(NamedTuple):
    """What of a sample counts here."""

    number: int
    seconds: float
    opening: float
    requested: float
    status: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounds:
    """One access in one state, measured in every arm.

    Attributes
    ----------
    place : Place
        Which access, of which trace, in which state.
    arms : tuple of (str, str)
        Format and profile of those with samples that count in at least `VERDICT_ROUNDS` rounds, and none that failed.
    seconds, opening : ndarray of float, shape (arms, rounds)
        Of the reads, and of opening the archive before them; NaN where an arm has no sample that counts.
    requested : ndarray of float, shape (arms, rounds)
        Bytes asked for.
    why : mapping
        For every other arm, why it has no figure.
    skipped : bool
        Whether no arm was measured at all, because the trace has nothing to measure or the machine cannot.
    """

    place: Place
    arms: tuple[Arm, ...]
    seconds: np.ndarray
    opening: np.ndarray
    requested: np.ndarray
    why: Mapping[Arm, str]
    skipped: bool

    def medians(self, values: np.ndarray | None = None) -> np.ndarray:
        """Return medians over rounds: of what was measured, then of rounds drawn anew with replacement.

        Every arm gets the same drawn rounds, so that what disturbed a round disturbs all of them alike and cancels in
        a ratio. Another cell draws its own: its rounds were other moments.

        Parameters
        ----------
        values : ndarray, shape (arms, rounds), optional
            Instead of ``seconds``.

        Returns
        -------
        ndarray, shape (1 + RESAMPLES, arms)
            Row 0 is what was measured. The same cell gives the same rows.
        """
        values = self.seconds if values is None else values
        count = values.shape[1]
        rng = np.random.default_rng(zlib.crc32(repr(tuple(self.place)).encode()))
        picks = np.vstack([np.arange(count), rng.integers(count, size=(RESAMPLES, count))])
        drawn = np.sort(values.T[picks], axis=1)  # (1 + RESAMPLES, rounds, arms); NaN, if any, last
        known = np.maximum((~np.isnan(drawn)).sum(axis=1, keepdims=True), 1)
        middle = [np.take_along_axis(drawn, index, axis=1)[:, 0] for index in ((known - 1) // 2, known // 2)]
        return (middle[0] + middle[1]) / 2


def rounds(samples: pd.DataFrame) -> list[Rounds]:
    """Arrange samples by cell, arm and round.

    Parameters
    ----------
    samples : DataFrame
        From `harness.row_files.read_samples`.

    Returns
    -------
    list of Rounds
        In the order in which cells were first measured, the ceiling and the twin among the arms.
    """
    found: dict[Place, dict[Arm, list[_Row]]] = {}
    columns = [
        *Place._fields, "format", "profile", "round", "seconds", "open_seconds", "bytes_requested", "status", "reason",
    ]  # fmt: skip
    for *place, name, profile, number, seconds, opening, requested, status, reason in _rows(samples, columns):
        suite, access, trace, n_res, cache, executor, workers = place
        residues = None if pd.isna(n_res) else int(n_res)
        key = Place(suite, access, trace, residues, cache, executor, int(workers))
        row = _Row(int(number), float(seconds), float(opening), float(requested), str(status), str(reason))
        found.setdefault(key, {}).setdefault((name, profile), []).append(row)
    return [_cell(place, arms) for place, arms in found.items()]


def _rows(samples: pd.DataFrame, columns: Sequence[str]) -> zip[tuple]:
    """Walk over rows, which is much faster column by column; an empty text is ``""`` whoever read the file."""
    lists = []
    for column in columns:
        values = samples[column]
        if column in ("cache", "profile", "reason"):
            values = values.astype(object).where(values.notna(), "")
        elif column in ("seconds", "open_seconds", "bytes_requested"):
            values = values.astype(float)
        lists.append(values.tolist())
    return zip(*lists, strict=True)


def _cell(place: Place, arms: Mapping[Arm, list[_Row]]) -> Rounds:
    good: dict[Arm, dict[int, tuple[float, float, float]]] = {}
    why: dict[Arm, str] = {}
    for arm, rows in arms.items():
        counted = {
            r.number: (r.seconds, r.opening, r.requested) for r in rows if r.status == "ok" and not np.isnan(r.seconds)
        }
        failed = [r.reason for r in rows if r.status == "failed"]
        other = [f"{r.status}: {r.reason}" if r.reason else r.status for r in rows if r.status != "ok"]
        if failed:
            why[arm] = f"failed: {failed[0]}"
        elif len(counted) >= VERDICT_ROUNDS:
            good[arm] = counted
        elif counted:
            why[arm] = f"{few(len(counted))}" + (f" ({other[0]})" if other else "")
        else:
            why[arm] = other[0] if other else "no time was measured"
    numbers = sorted(set().union(*good.values()))
    table = np.array([[counted.get(n, [np.nan] * 3) for n in numbers] for counted in good.values()], float)
    table = table.reshape(len(good), len(numbers), 3)
    skipped = all(row.status == "skipped" for rows in arms.values() for row in rows)
    return Rounds(
        place=place, arms=tuple(good), seconds=table[..., 0], opening=table[..., 1], requested=table[..., 2], why=why,
        skipped=skipped,
    )  # fmt: skip


def few(count: int) -> str:
    """Say that there are too few rounds."""
    return f"{count} round{'s' if count != 1 else ''}: a verdict needs {VERDICT_ROUNDS}"


def largest(places: Sequence[Place]) -> dict[str, int | None]:
    """Return the largest length of each trace, None for one that has no residues."""
    found: dict[str, int | None] = {}
    for place in places:
        known = found.get(place.trace)
        found[place.trace] = place.n_res if known is None else max(known, place.n_res or 0)
    return found


def bounds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the `CONFIDENCE` interval over the first axis.

    No interpolation between two resamples, so that one that is infinite (a flip that never comes) stays itself.
    """
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(values, tail, axis=0, method="lower")
    return low, np.quantile(values, 1 - tail, axis=0, method="higher")


def tuned_first(profiles: Sequence[str]) -> str:
    """Choose the profile that formats are judged in: each at its best honest settings, else the first measured."""
    named = [profile for profile in profiles if profile]
    return "tuned" if "tuned" in named else next(iter(named), "")
