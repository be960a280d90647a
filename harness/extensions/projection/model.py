"""A cost model of each format: seconds from what an access demands, fitted to a run and tried on what it left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.errors import UsageError
from harness.extensions.projection.demand import FEATURES, Demand, demand
from harness.formats.base import load_format
from harness.records import Contender
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.plan import read_plan, replan
from harness.run.planning import choose_arms
from harness.run.subject import Arm, Subject
from harness.workload import ReadAccess

LEAST_CELLS = len(FEATURES) + 2
"""Cells of a format from which on a model of it means something."""


@dataclass(frozen=True, kw_only=True)
class ModelCell:
    """A measured cell and what it demanded.

    Attributes
    ----------
    format, profile, suite, access, trace : str
        Which.
    n_res : int
        Its length.
    demand : Demand
        From the plan and the layout.
    seconds : float
        Median over rounds of opening and reading, warm, by one thread.
    bytes_read, requests : float
        Medians of what the process read; NaN where unknown.
    """

    format: str
    profile: str
    suite: str
    access: str
    trace: str
    n_res: int
    demand: Demand
    seconds: float
    bytes_read: float
    requests: float


@dataclass(frozen=True, kw_only=True)
class Model:
    """What accesses take in one format.

    Attributes
    ----------
    format, profile : str
        Which.
    seconds : ndarray, shape (features,)
        For one of each of `FEATURES`.
    cells : tuple of ModelCell
        What it was fitted to.
    by_length, by_access : float
        Median relative error over cells that were predicted without any of their length, and of their access; NaN
        where there was only one.
    """

    format: str
    profile: str
    seconds: np.ndarray
    cells: tuple[ModelCell, ...]
    by_length: float
    by_access: float

    def predict(self, wanted: Demand) -> float:
        """Return the seconds of opening an archive and reading."""
        return float(wanted.features @ self.seconds)


def cells_of(folder: Path, trace: str) -> list[ModelCell]:
    """Gather the cells of a run that a model is fitted to: warm reads of one trace by one thread.

    Parameters
    ----------
    folder : Path
        The run's folder.
    trace : str
        The trace, as the run was asked for it.

    Returns
    -------
    list of ModelCell
        Without failed ones, the ceiling and the twin.

    Raises
    ------
    HarnessError
        When a file of the run is missing or damaged.
    """
    config = RunConfig.read(folder / "run.json")
    samples = read_samples(folder / "samples.csv")
    arms = [arm for arm in choose_arms(config) if Contender(arm.label, arm.profile).competes]
    found = []
    wanted = [described for described in read_plan(folder / "plan.json") if described["text"] == trace]
    for subject in replan(wanted, config):
        found += _cells(subject, arms, samples)
    return found


def _cells(subject: Subject, arms: Sequence[Arm], samples: pd.DataFrame) -> list[ModelCell]:
    here = samples[(samples["trace"] == subject.label) & (samples["n_res"] == subject.n_res)]
    here = here[(here["cache"] == "warm") & (here["executor"] == "main")]
    found = []
    for suite, access in subject.plans:
        if not isinstance(access, ReadAccess) or access.load_once or access.executor != "main":
            continue
        rows = here[(here["suite"] == suite) & (here["access"] == access.name)]
        for arm in arms:
            mine = rows[(rows["format"] == arm.label) & (rows["profile"] == arm.profile)]
            if mine.empty or (mine["status"] == "failed").any():
                continue
            good = mine[mine["status"] == "ok"]
            seconds = (good["seconds"] + good["open_seconds"]).dropna()
            if not seconds.empty:
                backend = load_format(arm.backend)
                found.append(
                    ModelCell(
                        format=arm.label,
                        profile=arm.profile,
                        suite=suite,
                        access=access.name,
                        trace=subject.label,
                        n_res=subject.n_res or 0,
                        demand=demand(backend, arm.settings, subject.manifest, access.reads),
                        seconds=float(seconds.median()),
                        bytes_read=float(good["bytes_read"].median()),
                        requests=float(good["requests"].median()),
                    )
                )
    return found


def fit_all(cells: Sequence[ModelCell]) -> list[Model]:
    """Fit a model to the cells of every format and profile.

    Parameters
    ----------
    cells : sequence of ModelCell
        From `cells_of`.

    Returns
    -------
    list of Model
        In the order of the cells.

    Raises
    ------
    UsageError
        When there are too few cells, or cells of one length alone.
    """
    lengths = {cell.n_res for cell in cells}
    if len(lengths) < 2:
        raise UsageError(
            "A cost model needs warm reads at two lengths or more to be tried on what it was not fitted to: run with "
            "--sizes 256,512,1024 and --cache warm."
        )
    models = []
    for name, profile in dict.fromkeys((cell.format, cell.profile) for cell in cells):
        mine = tuple(cell for cell in cells if (cell.format, cell.profile) == (name, profile))
        if len(mine) < LEAST_CELLS:
            raise UsageError(
                f"{name} has {len(mine)} warm cells and a cost model needs {LEAST_CELLS}: run more lengths, or the "
                "suites full_read, layer_read and random_access."
            )
        models.append(
            Model(
                format=name,
                profile=profile,
                seconds=fit(mine),
                cells=mine,
                by_length=held_out(mine, lambda cell: cell.n_res),
                by_access=held_out(mine, lambda cell: cell.access),
            )
        )
    return models


def fit(cells: Sequence[ModelCell]) -> np.ndarray:
    """Return the seconds of each of `FEATURES` that fit best, none negative, by the squares of relative errors."""
    from scipy.optimize import nnls  # takes a second to import

    times = np.array([cell.seconds for cell in cells])
    demands = np.array([cell.demand.features for cell in cells]) / times[:, None]
    scale = np.maximum(np.sqrt((demands**2).sum(axis=0)), np.finfo(float).tiny)  # features differ by many decades
    return np.asarray(nnls(demands / scale, np.ones(len(cells)))[0] / scale)


def held_out(cells: Sequence[ModelCell], group: Callable[[ModelCell], object]) -> float:
    """Predict each group of cells from all others and return the median relative error.

    Parameters
    ----------
    cells : sequence of ModelCell
        Of one format.
    group : callable
        Says which cells are left out together.

    Returns
    -------
    float
        Of ``|predicted - measured| / measured`` over all cells; NaN when there is only one group.
    """
    groups = list(dict.fromkeys(group(cell) for cell in cells))
    if len(groups) < 2:
        return float("nan")
    errors = []
    for name in groups:
        seconds = fit([cell for cell in cells if group(cell) != name])
        errors += [
            abs(float(cell.demand.features @ seconds) / cell.seconds - 1) for cell in cells if group(cell) == name
        ]
    return float(np.median(errors))
