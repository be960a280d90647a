"""From a run's folder or bundle to its line in a history; what cannot be followed is refused with what to do."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.accesses import written_once
from harness.analysis.noise import mixed_machines
from harness.analysis.summary import summarise
from harness.analysis.table import CaseSamples, CellSamples, SampleTable, paired
from harness.documents import convert
from harness.errors import UsageError
from harness.evidence.bundle import read_bundle, unpack
from harness.extensions.history.machine_kind import Followed, kind_of
from harness.extensions.history.record import EXACT, CellFigures, Definition, RunRecord
from harness.records import CellKey
from harness.row_files import read_samples
from harness.run.archives import read_archives
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.measurement import installed, is_apart
from harness.run.plan import read_plan


def summarise_run(path: Path) -> RunRecord:
    """Summarise a run for a history.

    Parameters
    ----------
    path : Path
        A run's folder, or a bundle.

    Returns
    -------
    RunRecord
        Every figure made anew from the samples.

    Raises
    ------
    UsageError
        When it is not whole, was measured on several machines, or says too little of the machine.
    HarnessError
        When a file of it is missing or damaged.
    """
    if path.is_dir() or not path.exists():
        return _summarise(path)
    bundle = read_bundle(path)
    with tempfile.TemporaryDirectory(prefix="harness-history-") as scratch:
        return _summarise(unpack(bundle.files, Path(scratch)))


def _summarise(folder: Path) -> RunRecord:
    config = RunConfig.read(folder / "run.json")
    samples = read_samples(folder / "samples.csv")
    plans, archives = read_plan(folder / "plan.json"), read_archives(_present(folder / "archives.json"))
    apart = is_apart(samples)
    others = {name: data for each in installed() for name, data in each.data(folder).items()} if apart.any() else {}
    _require_whole(samples, plans, config, folder)
    session = _session(_present(folder / "environment.json"))
    commit = session["commit"]
    return RunRecord(
        run_id=config.run_id,
        started=session["started"],
        commit=commit and commit.removesuffix("+changes"),
        dirty=commit is not None and commit.endswith("+changes"),
        machine=kind_of(session),
        libraries=session["libraries"],
        definition=_definition(config, plans, archives, others),
        samples_sha256=hashlib.sha256((folder / "samples.csv").read_bytes()).hexdigest(),
        load_average=_mean(session["load_average"], session.get("load_average_at_end")),
        cells=(*_cells(samples[~apart], config), *_sizes(samples[apart])),
    )


def _present(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"There is no {path}: a history needs a run that 'harness run' has finished.")
    return path


def _session(path: Path) -> Followed:
    """Return the description of the machine; of a resumed run that of the first session, which all equal."""
    environment = read_environment(path)
    if differs := mixed_machines(environment):
        raise UsageError(f"{path.parent} cannot be followed: {differs}")
    return convert(next(iter(environment["sessions"]), {}), Followed, f"{path}, first session")


def _require_whole(samples: pd.DataFrame, plans: Sequence[Mapping[str, Any]], config: RunConfig, folder: Path) -> None:
    """Refuse a run that was interrupted: its medians are of fewer rounds than those of the others."""
    asked = {
        (plan["trace"], plan["n_res"], access["suite"], access["name"]) for plan in plans for access in plan["accesses"]
    }
    lengths = [None if pd.isna(n) else int(n) for n in samples["n_res"]]
    measured = set(zip(samples["trace"], lengths, samples["suite"], samples["access"], strict=True))
    tried = samples[~written_once(samples)].groupby(list(CellKey._fields), dropna=False)["seconds"]
    rounds = tried.size()[tried.count() > 0]  # a rejected sample was tried too
    if asked - measured or (rounds < config.rounds).any():
        raise UsageError(
            f"{folder} is not finished: continue it with 'harness run --resume --out {folder}', then add it."
        )


def _definition(
    config: RunConfig,
    plans: Sequence[Mapping[str, Any]],
    archives: Sequence[Mapping[str, Any]],
    others: Mapping[str, tuple[Any, Any]],
) -> Definition:
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


def _cells(samples: pd.DataFrame, config: RunConfig) -> Iterator[CellFigures]:
    table = SampleTable.of(samples)
    baseline = config.baseline if config.baseline in {name for name, _ in table.contenders()} else None
    cells = [(case, cell) for case in table.cases for cell in case.cells]
    for row, (case, cell) in zip(summarise(table, baseline).to_dict("records"), cells, strict=True):
        if row["status"] != "ok":
            continue
        figures: dict[str, Any] = {n: _number(row[n]) for n in ("median_seconds", "ci_low", "ci_high")}
        figures |= {n: _whole(row[n]) for n in ("size_bytes", "files")} | _steady(case, cell)
        if cell is not case.ceiling and (against := paired(cell, case.ceiling)) is not None:
            ratio = against.ratio
            figures |= {"raw_ratio": ratio.median, "raw_low": ratio.low, "raw_high": ratio.high}
        if cell is case.control:
            figures["twin_ratio"] = _number(row["ratio"])
        if figures["median_seconds"] is not None or any(figures.get(n) is not None for n in EXACT):
            yield CellFigures(key=case.key(cell.contender), samples=int(row["samples"]), **figures)


def _sizes(samples: pd.DataFrame) -> Iterator[CellFigures]:
    """Yield the sizes that measurements of extensions found."""
    for row in samples[samples["status"] == "ok"].to_dict("records"):
        yield CellFigures(key=_key(row), samples=1, size_bytes=_whole(row["size_bytes"]), files=_whole(row["files"]))


def _mean(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _key(row: Mapping[Any, Any]) -> CellKey:
    values = {name: row[name] for name in CellKey._fields}
    values["n_res"] = None if pd.isna(values["n_res"]) else int(values["n_res"])
    values["workers"] = int(values["workers"])
    return CellKey(**values)


def _steady(case: CaseSamples, cell: CellSamples) -> dict[str, int]:
    """Return the counts in which all good samples of a cell agree."""
    timed = cell.good[~np.isnan(cell.columns["seconds"][cell.good])]
    names = ("files_opened", "requests") if case.case.executor == "main" else ("files_opened",)
    found = {name: set(cell.columns[name][timed]) for name in names}
    return {name: int(*values) for name, values in found.items() if len(values) == 1 and not np.isnan([*values]).any()}


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _whole(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)
