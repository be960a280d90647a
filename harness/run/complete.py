"""Say of each file of rows of a run whether it has the rows that it has to have, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.extensions.breakdown.explaining import BreakdownRounds, ExplainingRounds
from harness.row_files import read_breakdown
from harness.run.config import RESULT_DIRECTORY, RunConfig
from harness.run.faults import Required, Rows, rows_of
from harness.run.plan import read_planned
from harness.run.required import require
from harness.run.subject import Arm
from harness.run.turns import directory_cells, explaining_turns, require_few_rows, sample_turns

SAMPLES = "samples.csv"
EXPLAINED_SINCE = 3
"""The schema of samples from which on a run has each file of `EXPLAINED` that its plan asks for."""

EXPLAINED: dict[str, type[ExplainingRounds[Any]]] = {
    "breakdown.csv": BreakdownRounds,
}


def read_explained(folder: Path) -> dict[str, pd.DataFrame]:
    """Read all rows that explain a run's samples, by the file's name; a file that it has not is left out."""
    readers = {"breakdown.csv": read_breakdown}
    return {name: read(folder / name, superseded=True) for name, read in readers.items() if (folder / name).exists()}


def required_rows(
    plan: Path,
    config: RunConfig,
    frames: Mapping[str, pd.DataFrame],
    *,
    sessions: int,
    arms: Sequence[Arm] = (),
) -> dict[str, Required]:
    """Hold every file of rows of a run against what its plan, its seed and its configuration ask for.

    Parameters
    ----------
    plan : Path
        ``plan.json``.
    config : RunConfig
        Of the run.
    frames : mapping of str to DataFrame
        Its rows of all attempts by the file's name: `SAMPLES`, and those of `EXPLAINED` that it has.
    sessions : int
        How often it was begun or resumed.
    arms : sequence of Arm
        From `harness.run.subject.choose_arms`; by default those that the plan records.

    Returns
    -------
    dict of str to Required
        By the file's name.

    Raises
    ------
    HarnessError
        When there is no readable plan.
    """
    subjects, recorded, exact = read_planned(plan, config)
    rows = rows_of(frames[SAMPLES], ("seconds", "size_bytes"))
    directories = [key for key in rows if key.access == RESULT_DIRECTORY]
    every, ordered = (list(arms), True) if arms else (recorded, exact)
    if not ordered:
        every = [*every, *_unknown(rows, every)]
    require_few_rows(config, len(every), subjects)
    found = {
        SAMPLES: require(
            [turns for subject in subjects for turns in sample_turns(config, every, subject)],
            directory_cells(config, directories),
            rows,
            sessions=sessions,
            samples=True,
            ordered=ordered,
        )
    }
    for name, kind in EXPLAINED.items():
        if name in frames or _schema(frames[SAMPLES]) >= EXPLAINED_SINCE:
            found[name] = require(
                [turns for subject in subjects for turns in explaining_turns(kind, config, every, subject)],
                (),
                rows_of(frames[name], (kind.figure,)) if name in frames else {},
                sessions=sessions,
                samples=False,
                ordered=ordered,
            )
    return found


def _unknown(rows: Rows, known: Sequence[Arm]) -> list[Arm]:
    """List the arms that have rows and that a run of an earlier version did not record."""
    named = {(arm.label, arm.profile) for arm in known}
    seen = dict.fromkeys((key.format, key.profile) for key in rows if key.access != RESULT_DIRECTORY)
    return [Arm(label, label, profile) for label, profile in seen if (label, profile) not in named]


def _schema(samples: pd.DataFrame) -> int:
    return int(samples["schema_version"].iloc[0]) if len(samples) else 0
