"""Cost models of formats: seconds from the demand of an access, fitted to a run and tested on held-out cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.analysis.efforts import STOCK, at
from harness.analysis.table import SampleTable
from harness.errors import UsageError
from harness.extensions.projection.demand import FEATURES, Demand, demand
from harness.formats.base import load_format
from harness.records import CellKey
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.plan import read_plan, replan
from harness.run.planning import choose_arms
from harness.sampling.executor import load_executor
from harness.workload import ReadAccess

LEAST_CELLS = len(FEATURES) + 2
"""Fewest cells of a format for a meaningful model."""


@dataclass(frozen=True, kw_only=True)
class ModelCell:
    """A measured cell and its demand."""

    key: CellKey  # The cell: a warm read of a trace by one thread.
    demand: Demand  # From the plan and the layout.
    seconds: float  # Median over rounds of opening and reading.
    # Medians of the bytes read and read calls of the process; NaN if unknown.
    bytes_read: float
    requests: float

    @property
    def n_res(self) -> int:
        """Length of the trace, in residues."""
        return self.key.n_res or 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """Cost model of one format and profile."""

    # Format and profile.
    format: str
    profile: str
    seconds: np.ndarray  # Seconds for one unit of each of `FEATURES`, shape (features,).
    cells: tuple[ModelCell, ...]  # The fitted cells.
    # Median relative error of cells predicted without any cell of the same length, and of the same access; NaN if there
    # is only one length or access.
    by_length: float
    by_access: float

    def predict(self, wanted: Demand) -> float:
        """Return the predicted seconds of opening an archive and reading."""
        return float(wanted.features @ self.seconds)


def cells_of(folder: Path, trace: str) -> list[ModelCell]:
    """Return the cells of a run to which models are fitted: warm reads of one trace by one thread.

    Parameters
    ----------
    folder : Path
        The run's folder.
    trace : str
        The trace, as named in the run's configuration.

    Returns
    -------
    list of ModelCell
        Without failed cells, the raw ceiling and the A/A control.

    Raises
    ------
    HarnessError
        If a file of the run is missing or damaged.
    """
    config = RunConfig.read(folder / "run.json")
    table = SampleTable.of(read_samples(folder / "samples.csv"))
    cases = at(table, STOCK).cases
    measured = {case.key(cell.contender): cell for case in cases for cell in case.cells if cell.contender.competes}
    found = []
    for subject in replan([plan for plan in read_plan(folder / "plan.json") if plan["text"] == trace], config):
        for suite, access in subject.plans:
            if not isinstance(access, ReadAccess) or access.load_once or load_executor(access.executor).parallel:
                continue
            for arm in (arm for arm in choose_arms(config) if arm.entered in ("", "stock")):
                key = CellKey(
                    suite, access.name, subject.label, subject.n_res, arm.label, arm.profile, "warm", access.executor, 1
                )
                cell = measured.get(key)
                if cell is None or cell.status != "ok":
                    continue
                seconds = (cell.columns["seconds"] + cell.columns["open_seconds"])[cell.good]
                if not np.isnan(seconds).all():
                    needs = demand(load_format(arm.backend), arm.settings, subject.manifest, access.reads)
                    nbytes, requests = cell.median("bytes_read"), cell.median("requests")
                    found.append(
                        ModelCell(
                            key=key, demand=needs, seconds=float(np.nanmedian(seconds)),
                            bytes_read=np.nan if nbytes is None else nbytes,
                            requests=np.nan if requests is None else requests,
                        )
                    )  # fmt: skip
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
        If there are too few cells, or cells of only one length.
    """
    if len({cell.n_res for cell in cells}) < 2:
        raise UsageError(
            "A cost model needs warm reads at two lengths or more to be tried on what it was not fitted to: run with "
            "--sizes 256,512,1024 and --cache warm."
        )
    models = []
    for contender in dict.fromkeys(cell.key.contender for cell in cells):
        mine = tuple(cell for cell in cells if cell.key.contender == contender)
        if len(mine) < LEAST_CELLS:
            raise UsageError(
                f"{contender.format} has {len(mine)} warm cells and a cost model needs {LEAST_CELLS}: run more "
                "lengths, or the suites full_read, layer_read and random_access."
            )
        by_length, by_access = (_held_out(mine, group) for group in (lambda c: c.n_res, lambda c: c.key.access))
        models.append(
            Model(
                format=contender.format,
                profile=contender.profile,
                seconds=fit(mine),
                cells=mine,
                by_length=by_length,
                by_access=by_access,
            )
        )
    return models


def fit(cells: Sequence[ModelCell]) -> np.ndarray:
    """Return the nonnegative seconds of each of `FEATURES` that minimise the squares of relative errors."""
    from scipy.optimize import nnls  # takes a second to import

    times = np.array([cell.seconds for cell in cells])
    demands = np.array([cell.demand.features for cell in cells]) / times[:, None]
    scale = np.maximum(np.sqrt((demands**2).sum(axis=0)), np.finfo(float).tiny)  # features differ by many decades
    return np.asarray(nnls(demands / scale, np.ones(len(cells)))[0] / scale)


def _held_out(cells: Sequence[ModelCell], group: Callable[[ModelCell], object]) -> float:
    """Predict each group of cells from all others; return the median relative error, NaN if there is one group."""
    groups = dict.fromkeys(map(group, cells))
    if len(groups) < 2:
        return float("nan")
    errors = []
    for name in groups:
        seconds = fit([cell for cell in cells if group(cell) != name])
        mine = [cell for cell in cells if group(cell) == name]
        errors += [abs(float(cell.demand.features @ seconds) / cell.seconds - 1) for cell in mine]
    return float(np.median(errors))
