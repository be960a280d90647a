"""Check whether each row file of a run contains exactly the rows that the plan requires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records import CellKey, RaceSample, Row, Sample
from harness.row_files import closed, in_force, read_rows
from harness.run.config import RunConfig
from harness.run.expected_rows import require
from harness.run.measurement import Measurement, installed
from harness.run.plan import read_planned
from harness.run.row_faults import Required, rows_of
from harness.run.subject import Arm
from harness.run.turns import race_turns, require_few_rows, sample_turns

SAMPLES, RACES = Sample.file, RaceSample.file


def race_times(races: pd.DataFrame) -> dict[CellKey, dict[int, float]]:
    """Return seconds by cell and round of races, opening included, from rows in force that are ok; for `winners`."""
    good = in_force(races)
    found: dict[CellKey, dict[int, float]] = {}
    for row in good[good["status"] == "ok"].to_dict("records"):
        if (seconds := closed(row)) is not None:
            found.setdefault(CellKey.of(row), {})[int(row["round"])] = seconds
    return found


def own_rows() -> dict[str, type[Row]]:
    """Return the row types that a run may have in addition to samples, by file name."""
    kinds: list[type[Row]] = [RaceSample, *(each.rows for each in installed() if each.rows is not None)]
    return {kind.file: kind for kind in kinds}


def read_own_rows(folder: Path) -> dict[str, pd.DataFrame]:
    """Read all rows of races and of measurements of extensions, by file name."""
    return {name: read_rows(folder / name, kind) for name, kind in own_rows().items() if (folder / name).exists()}


def required_rows(
    plan: Path,
    config: RunConfig,
    frames: Mapping[str, pd.DataFrame],
    *,
    sessions: int,
    arms: Sequence[Arm] = (),
) -> dict[str, Required]:
    """Compare every row file of a run with what its plan, seed and configuration require.

    Parameters
    ----------
    plan : Path
        ``plan.json``; must be readable.
    config : RunConfig
        Configuration of the run.
    frames : mapping of str to DataFrame
        Rows of all attempts by file name: `SAMPLES`, and those from `read_own_rows`.
    sessions : int
        How often the run was started or resumed.
    arms : sequence of Arm
        From `harness.run.planning.choose_arms`; by default those that the plan records.

    Returns
    -------
    dict of str to Required
        By file name.
    """
    subjects, recorded, exact = read_planned(plan, config)
    rows = rows_of(frames[SAMPLES], Sample.figures)
    apart = {each: [key for key in rows if key.access == each.access] for each in installed()}
    others = {key for keys in apart.values() for key in keys}
    every, ordered = (list(arms), True) if arms else (recorded, exact)
    if not ordered:
        every = [*every, *_unknown([key for key in rows if key not in others], every)]
    require_few_rows(config, len(every), subjects)
    about: dict[str, Any] = {"sessions": sessions, "ordered": ordered}
    races = frames.get(RACES)
    times = {} if races is None else race_times(races)
    found = {
        SAMPLES: require(
            [turns for subject in subjects for turns in sample_turns(config, every, subject, times)],
            [cell for each, keys in apart.items() for cell in each.cells(config, keys)],
            rows,
            samples=True,
            **about,
        )
    }
    if racing := [turns for subject in subjects for turns in race_turns(config, every, subject)]:
        raced = {} if races is None else rows_of(races, RaceSample.figures)
        found[RACES] = require(racing, (), raced, samples=True, **about)
    for each in installed():
        if each.rows is not None and ((name := each.rows.file) in frames or _due(each, frames[SAMPLES])):
            found[name] = require(
                [turns for subject in subjects for turns in each.turns(config, every, subject)],
                (),
                rows_of(frames[name], each.rows.figures) if name in frames else {},
                samples=False,
                **about,
            )
    return found


def _unknown(keys: Iterable[CellKey], known: Sequence[Arm]) -> list[Arm]:
    """List the arms that have rows but are not among the known arms, as in runs of earlier versions."""
    named = {(arm.label, arm.profile) for arm in known}
    seen = dict.fromkeys((key.format, key.profile) for key in keys)
    return [Arm(label, label, profile) for label, profile in seen if (label, profile) not in named]


def _due(each: Measurement, samples: pd.DataFrame) -> bool:
    """Return whether a run must have the file of a measurement, by the schema version of its samples."""
    return each.since is not None and len(samples) > 0 and int(samples["schema_version"].iloc[0]) >= each.since
