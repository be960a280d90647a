"""Findings of a run: all results from its samples, which ``report.json`` records and the page shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.attribution import Attribution, attribute
from harness.analysis.choice.decision import Decision, Headline, decide, headline
from harness.analysis.choice.mix import presets
from harness.analysis.decoded_cache import with_decoded
from harness.analysis.earlier_comparison import Held, earlier, hold
from harness.analysis.efforts import BEST, STOCK, at, best_unmeasured, has_best, has_efforts
from harness.analysis.grades import Grades, grade
from harness.analysis.noise import Noise, describe_noise, mixed_machines
from harness.analysis.plain_values import plain
from harness.analysis.report_options import REPORT_VERSION, SIMILAR_SINCE, STOCK_USES_SINCE, Options
from harness.analysis.scaling import scaling
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.withdrawal import withdrawn, without_verdicts
from harness.errors import UsageError
from harness.row_files import in_force, read_samples
from harness.run.completeness import SAMPLES, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.machine import nodes_of, read_environment
from harness.run.measurement import is_apart, of_installed, unknown_parts
from harness.run.plan import read_plan, read_planned
from harness.run.subject import groups
from harness.trace.manifest import Manifest


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """All results from a run's samples."""

    # The options of the run and of the report, and ``environment.json``, empty if there is none.
    config: RunConfig
    options: Options
    environment: dict[str, Any]
    # The tables of the run; `summary` is computed again.
    samples: pd.DataFrame
    summary: pd.DataFrame
    ledger: pd.DataFrame
    grades: Grades  # The grades by criterion.
    # For each mix, a decision for each trace; and one headline for each mix.
    decisions: dict[str, list[Decision]]
    headlines: list[Headline]
    noise: Noise  # How noisy the run was.
    # As `decisions`, but of formats at their best; only earlier report versions have these.
    best_decisions: dict[str, list[Decision]] = field(default_factory=dict)
    # The formats whose best is not known, each with the reason: nothing is claimed about these.
    best_unmeasured: dict[str, str] = field(default_factory=dict)
    attribution: Attribution = field(default_factory=Attribution)  # Causes of time differences.
    held: Held | None = None  # The earlier comparison against measured grades; None if the report was not asked for it.
    scaling: pd.DataFrame | None = None  # How reads scale over workers; None for a run without such samples.
    stock: SampleTable | None = None  # The samples by stock readers, which formats are compared by.
    # The samples of measurements of extensions, which belong to no format and are in no other table, and the cells that
    # sections of extensions compute from them.
    apart: pd.DataFrame = field(default_factory=pd.DataFrame)
    more: pd.DataFrame = field(default_factory=pd.DataFrame)
    # Whether its reads support no verdict. Then there are no decisions, and only sizes have grades.
    withdrawn: bool = False
    # Sentences on what is wrong with the rows of the run, compared with its plan; empty if each is there once.
    incomplete: tuple[str, ...] = ()
    # What each trace lacks, from its manifest in ``plan.json`` (`harness.trace.manifest.Manifest.lacks`).
    lacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    version: int = REPORT_VERSION  # Version of the document.

    @property
    def without_formats(self) -> bool:
        """Whether the run measured no format, by design."""
        return not self.config.traces

    @property
    def has_efforts(self) -> bool:
        """Whether it is known which contenders are stock and which are their format's best."""
        return bool(self.samples["effort"].astype(bool).any())

    @property
    def cells(self) -> pd.DataFrame:
        """The rows of ``summary.csv``: the cells of formats and those of sections of extensions."""
        if self.more.empty or self.summary.empty:
            return self.summary if self.more.empty else self.more
        return pd.concat([self.summary, self.more.astype(object)], ignore_index=True)

    @property
    def session(self) -> dict[str, Any]:
        """The first session's description of the machine; empty when there is none."""
        return (self.environment.get("sessions") or [{}])[0]

    @property
    def nodes(self) -> int:
        """Number of nodes of a cluster that measured its traces and lengths; 0 for a run in one process."""
        return len(nodes_of(self.environment))

    def _efforts(self) -> dict[str, Any]:
        """Return the results on formats at their best and on causes of differences, without empty ones."""
        found = {
            "best_decisions": [_decision(each) for found in self.best_decisions.values() for each in found],
            "best_unmeasured": self.best_unmeasured,
            "attribution": plain(self.attribution.pairs),
            "attribution_chains": plain(self.attribution.chains),
            "earlier": plain(self.held),
        }
        return {name: value for name, value in found.items() if value}

    def to_document(self) -> dict[str, Any]:
        """Return all published results as plain values, for ``report.json``."""
        return {
            "report_version": self.version,
            "options": self.options.to_document(),
            "run_id": self.config.run_id,
            "headlines": plain(self.headlines),
            "grades": plain(self.grades.table),
            "grade_cells": plain(self.grades.cells),
            "decisions": [_decision(each) for found in self.decisions.values() for each in found],
            "noise": plain(self.noise),
            **self._efforts(),
            **({"scaling": plain(self.scaling)} if self.scaling is not None else {}),
            "withdrawn": self.withdrawn,
            **({"incomplete": list(self.incomplete)} if self.incomplete else {}),
        }


Keep = Callable[[pd.DataFrame], pd.Series]
"""Function that returns which samples count."""


def find(folder: Path, options: Options, version: int = REPORT_VERSION, *, keep: Keep | None = None) -> Findings:
    """Compute all results from a run's samples.

    Parameters
    ----------
    folder : Path
        The run's folder.
    options : Options
        Baseline and mix.
    version : int
        Version of the report. An earlier one gives the results of that version, to compare a published report with.
    keep : callable, optional
        Which samples of formats count; by default all.

    Raises
    ------
    UsageError
        If the baseline was not measured, or the run mixes two machines.
    HarnessError
        If a file is missing, damaged, or of a version that this reader does not know.
    """
    config = RunConfig.read(folder / "run.json")
    plan, recorded, ledger = (folder / name for name in ("plan.json", "environment.json", "ledger.csv"))
    environment = read_environment(recorded) if recorded.exists() else {}
    every = of_installed(read_samples(folder / SAMPLES, superseded=True), config, plan)
    samples = in_force(every)
    if others := sorted(set(samples["run_id"]) - {config.run_id}):
        runs = ", ".join([config.run_id, *others])
        raise UsageError(f"{folder} mixes samples of the runs {runs}: report on each alone.")
    if differs := mixed_machines(environment):
        raise UsageError(f"{folder} cannot be reported as one run. {differs} Measure it again on one machine.")
    theirs = is_apart(samples)
    apart, samples = (samples[mask].reset_index(drop=True) for mask in (theirs, ~theirs))
    samples = samples if keep is None else samples[keep(samples)].reset_index(drop=True)
    # The default baseline may not be among the chosen formats; then ratios have nothing to refer to.
    missing = options.baseline == config.baseline and options.baseline not in set(samples["format"])
    baseline = None if missing else options.baseline
    subjects, arms, _ = read_planned(plan, config) if plan.exists() else ([], [], False)
    table = SampleTable.of(samples, baseline=config.baseline, groups=groups(arms))
    told = pd.read_csv(ledger, dtype=str, keep_default_na=False) if ledger.exists() else pd.DataFrame()
    similar = version >= SIMILAR_SINCE
    summary = summarise(table, baseline, control_of=config.baseline, similar=similar)
    summary = with_decoded(summary, subjects, told, config.cache_bytes)
    stock, unfair = at(table, STOCK), withdrawn(samples)
    cores = None if table.all_rounds else (environment.get("sessions") or [{}])[0].get("cores_usable")
    mixes = [] if unfair else [options.mix] if options.mix else list(presets().values())
    unknown = best_unmeasured(table, arms, version) if has_efforts(table) else {}
    sure = at(table, BEST, without=unknown) if has_best(table) else None
    decisions, best_decisions = (
        {
            mix.name: [decide(of, mix, trace, config.options, config.baseline) for trace in of.lengths]
            for mix in mixes if of is not None
        } for of in (stock, sure if version < STOCK_USES_SINCE else None)
    )  # fmt: skip
    asked: dict[str, Any] = {
        "exact_only": unfair, "cores": cores, "similar": similar, "control_of": config.baseline,
    }  # fmt: skip
    grades = grade(stock, sure, **asked)
    frames = {SAMPLES: every, **read_own_rows(folder)}
    return Findings(
        config=config, options=options, environment=environment, samples=table.rows,
        summary=without_verdicts(summary) if unfair else summary,
        ledger=told,
        grades=grades, held=_held(grades, stock, asked) if options.earlier else None,
        decisions=decisions,
        headlines=[headline(found) for found in decisions.values() if found],
        noise=describe_noise(table, baseline, environment, control_of=config.baseline), apart=apart,
        best_decisions=best_decisions, best_unmeasured=unknown,
        attribution=Attribution() if unfair else attribute(table, told, config.baseline, unknown, version),
        scaling=scaling(stock), withdrawn=unfair, stock=stock,
        incomplete=tuple(_incomplete(plan, config, frames, environment)), lacks=_lacks(plan), version=version,
    )  # fmt: skip


def _held(grades: Grades, stock: SampleTable, asked: dict[str, Any]) -> Held:
    """Compare the earlier comparison with grades, and with those of its own settings if they were measured."""
    profile = earlier().profile
    return hold(grades.table, grade(stock, profile=profile, **asked).table if profile in stock.profiles else None)


def _lacks(plan: Path) -> dict[str, tuple[str, ...]]:
    """Return what each trace of a run lacks; empty for a run without a plan."""
    subjects = read_plan(plan) if plan.exists() else []
    return {one["trace"]: Manifest.from_json(json.dumps(one["manifest"])).lacks for one in subjects}


def _incomplete(
    plan: Path, config: RunConfig, frames: Mapping[str, pd.DataFrame], environment: Mapping[str, Any]
) -> Iterator[str]:
    """Yield sentences on what is wrong with the rows of a run, compared with its plan."""
    for name in unknown_parts(config):
        yield f"The run measured {name}, which no installed extension knows: its samples are left out."
    if not plan.exists():
        yield "The run has no plan.json, so nobody can say whether rows of it are missing."
        return
    sessions = len(environment.get("sessions", ()))
    for name, found in required_rows(plan, config, frames, sessions=sessions).items():
        yield from found.summary(name)


def _decision(found: Decision) -> dict[str, Any]:
    return plain(found) | {"mix": found.mix.name, "use": found.mix.to_dict()}
