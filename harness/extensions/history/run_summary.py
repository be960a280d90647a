"""Summary of a run's folder or bundle for a history; runs that cannot be tracked raise an error with a remedy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import CellSamples
from harness.analysis.noise import mixed_machines
from harness.analysis.statistics import median_interval
from harness.analysis.summary import summarise
from harness.analysis.table import CaseSamples, SampleTable
from harness.documents import convert
from harness.errors import UsageError
from harness.evidence.bundle import opened_run
from harness.extensions.history.record import EXACT, CellFigures, Definition, Followed, RunRecord, kind_of
from harness.records import CellKey
from harness.row_files import read_samples
from harness.run.archives import read_archives
from harness.run.completeness import SAMPLES, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.measurement import installed, is_apart
from harness.run.plan import read_plan


def summarise_run(path: Path) -> RunRecord:
    """Summarise a run for a history; all figures are recomputed from the samples.

    Parameters
    ----------
    path : Path
        A run's folder, or a bundle.

    Raises
    ------
    UsageError
        If the run is not finished, was measured on several machines, or lacks fields of the machine description.
    HarnessError
        If a file of the run is missing or damaged.
    """
    with opened_run(path) as folder:
        config = RunConfig.read(folder / "run.json")
        samples = read_samples(folder / SAMPLES, superseded=True)
        environment = read_environment(folder / "environment.json")
        if differs := mixed_machines(environment):
            raise UsageError(f"{path} cannot be followed: {differs}")
        first = environment["sessions"][:1] or [{}]  # all sessions of a resumed run equal the first
        session = convert(first[0], Followed, f"{path}/environment.json, first session")
        frames = {SAMPLES: samples, **read_own_rows(folder)}
        rows = required_rows(folder / "plan.json", config, frames, sessions=len(environment["sessions"]))
        # The medians of an interrupted run are of fewer rounds than those of other runs.
        if any(fault.kind == "missing" for required in rows.values() for fault in required.faults):
            raise UsageError(
                f"{path} is not finished: continue it with 'harness run --resume --out {path}', then add it."
            )
        loads = [load for load in (session["load_average"], session.get("load_average_at_end")) if load is not None]
        commit = session["commit"]
        return RunRecord(
            run_id=config.run_id,
            started=session["started"],
            commit=commit and commit.removesuffix("+changes"),
            dirty=commit is not None and commit.endswith("+changes"),
            machine=kind_of(session),
            libraries=session["libraries"],
            definition=_definition(folder, config, apart=bool(is_apart(samples).any())),
            samples_sha256=hashlib.sha256((folder / SAMPLES).read_bytes()).hexdigest(),
            load_average=sum(loads) / len(loads) if loads else None,
            cells=_cells(SampleTable.of(samples)),
        )


def _definition(folder: Path, config: RunConfig, *, apart: bool) -> Definition:
    plans, archives = read_plan(folder / "plan.json"), read_archives(folder / "archives.json")
    others = {name: data for each in installed() for name, data in each.data(folder).items()} if apart else {}
    digests = {_subject(found): found["tensor_digests"] for found in archives}
    tensors = {_subject(p): _digest([p["manifest"]["tensors"], digests.get(_subject(p))]) for p in plans}
    return Definition(
        seed=config.seed,
        rounds=config.rounds,
        plans={_subject(plan): _digest(plan["accesses"]) for plan in plans}
        | {name: _digest(asked) for name, (asked, _) in others.items()},
        data=tensors | {name: _digest(content) for name, (_, content) in others.items()},
    )


def _subject(found: Mapping[str, Any]) -> str:
    return str(found["trace"]) if found["n_res"] is None else f"{found['trace']} of {found['n_res']} residues"


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _cells(table: SampleTable) -> dict[CellKey, CellFigures]:
    cells = [(case, cell) for case in table.cases for cell in case.cells]
    found = {}
    for row, (case, cell) in zip(summarise(table, None).to_dict("records"), cells, strict=True):
        if row["status"] != "ok":
            continue
        figures: dict[str, Any] = {n: row[n] for n in ("size_bytes", "files")}
        if len(cell.read_seconds):
            time = median_interval(cell.read_seconds)
            figures |= {"median_seconds": time.median, "ci_low": time.low, "ci_high": time.high}
        figures = {n: value for n, value in (figures | _steady(case, cell)).items() if not pd.isna(value)}
        figures = {n: int(value) if n in EXACT else float(value) for n, value in figures.items()}
        if figures:
            known = {"samples": int(row["samples"]), **figures}
            found[case.key(cell.contender)] = convert(known, CellFigures, "the summary")
    return found


def _steady(case: CaseSamples, cell: CellSamples) -> dict[str, float]:
    """Return the counts on which all good samples of a cell agree.

    Size and number of files are included for cells without requested bytes.
    """
    rows = cell.good[~np.isnan(cell.columns["seconds"][cell.good])]
    names = ["files_opened", "requests"] if case.case.executor == "main" else ["files_opened"]
    if not len(cell.known("bytes_requested")):
        rows, names = cell.good, [*names, "size_bytes", "files"]
    found = {name: np.unique(cell.columns[name][rows]) for name in names}
    return {name: float(values[0]) for name, values in found.items() if len(values) == 1}
