"""Measure formats on arrays, like ``harness run``, and return the results as objects."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness import registry
from harness.analysis.choice.mix import Mix, parse_mix
from harness.analysis.findings import find
from harness.analysis.report_options import Options
from harness.api.array_like import sliceable
from harness.api.arrays import TraceArray
from harness.api.creating import create
from harness.api.opening import OpenTrace
from harness.errors import UsageError, unknown_name
from harness.foreign.guessing import MapRule, guess
from harness.foreign.opening import Asked, plain_paths
from harness.foreign.source import ForeignArray
from harness.formats.base import load_format
from harness.records import RAW
from harness.report.drawing.plots import pages
from harness.report.folders import held
from harness.report.page.answer import answer
from harness.report.run_report import run_and_report
from harness.run.config import RunConfig
from harness.run.defaults import all_suites, complete, default_formats
from harness.run.planned_run import PlannedRun
from harness.run.presets import PRESETS, STANDARD


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FormatComparison:
    """Result of a comparison of formats.

    Attributes
    ----------
    verdict : str
        Which format suits which use, as in the first sentences of a report.
    verdicts : mapping of str to str
        The verdict for each requested use, by name; empty if no use was given.
    tables : mapping of str to DataFrame
        ``summary`` with a row for each cell, and ``grades`` with a row for each criterion and format.
    folder : Path
        Folder of the run, with ``report.html``, ``samples.csv`` and all other files of ``harness run``. A temporary
        folder is removed with this object.
    """

    verdict: str
    verdicts: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    folder: Path

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Plots by suite, drawn on first access."""
        return {name: page.figure for name, page in pages(self.tables["summary"])}

    def __repr__(self) -> str:
        return f"<FormatComparison in {self.folder}: {self.verdict}>"


class _Silent:
    """Progress of a run that is not shown."""

    def total(self, steps: int) -> None:
        pass

    def step(self, text: str, steps: int = 1) -> None:
        pass


def compare_formats(
    arrays: Mapping[str, Any] | str | os.PathLike[str],
    *,
    formats: Sequence[str] | str | None = None,
    uses: Sequence[str | Mix] | str | Mix | None = None,
    suites: Sequence[str] | str | None = None,
    preset: str = STANDARD,
    rounds: int | None = None,
    baseline: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> FormatComparison:
    """Measure which format suits the given arrays.

    Takes minutes with the preset ``standard``, and less with ``quick``, which gives no verdict.

    Parameters
    ----------
    arrays : mapping of str to array-like, str or path-like
        Arrays by name, as for `harness.create`; an open trace; or a path, as for `harness.open`.
    formats : str or sequence of str, optional
        Names of formats, or ``module:Class``; by default all that are not optional.
    uses : str, Mix or a sequence of these, optional
        How the arrays will be used, as for ``harness report --mix``; by default every predefined use.
    suites : str or sequence of str, optional
        Names of suites; by default those of the preset.
    preset : str
        Preset for all other settings, as for ``harness run --preset``.
    rounds : int, optional
        Samples for each cell; by default those of the preset. A verdict needs 10.
    baseline : str, optional
        The format to which ratios refer; by default that of the preset if it is measured, else the first.
    folder : str or path-like, optional
        Folder of the run and the arrays; by default a temporary folder.

    Returns
    -------
    FormatComparison
        Verdicts, tables and figures.

    Raises
    ------
    UsageError, HarnessError
        If a requested name does not exist, the disk is too small, or the folder holds a run.
    """
    named = [uses] if isinstance(uses, str | Mix) else uses or ()
    mixes = [use if isinstance(use, Mix) else parse_mix(use) for use in named]
    config = _config(preset, formats, suites, rounds, baseline)
    place = Path(tempfile.mkdtemp(prefix="harness-")) if folder is None else Path(folder)
    try:
        compared = _compared(_trace(arrays, place), place / "run", config, mixes)
    except BaseException:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if folder is None:
        weakref.finalize(compared, shutil.rmtree, place, ignore_errors=True)
    return compared


def _config(
    preset: str,
    formats: Sequence[str] | str | None,
    suites: Sequence[str] | str | None,
    rounds: int | None,
    baseline: str | None,
) -> dict[str, Any]:
    """Return the fields of the run's configuration, except its traces and its ID."""
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    values: dict[str, Any] = {**PRESETS[preset], "preset": preset}
    if rounds is not None and not (isinstance(rounds, int) and rounds > 0):
        raise UsageError(f"rounds is a positive integer, got {rounds!r}.")
    values["formats"] = _typed("formats", formats) or default_formats(logging.getLogger(__name__).warning)
    values["suites"] = _typed("suites", suites) or values.get("suites") or all_suites()
    values["rounds"] = rounds or values["rounds"]
    labels = [load_format(name).name for name in values["formats"]]
    if baseline is not None and baseline not in labels:
        raise unknown_name("measured format for the baseline", baseline, labels)
    values["baseline"] = baseline or (values["baseline"] if values["baseline"] in labels else labels[0])
    return values


def _typed(group: registry.Group, names: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return names of plug-ins after loading each; ``module:attribute`` may be imported, for the caller wrote it."""
    found = (names,) if isinstance(names, str) else tuple(names or ())
    registry.allow(*((group, name) for name in found if ":" in name))
    for name in found:
        registry.load(group, name)
    return found


def _trace(arrays: Mapping[str, Any] | str | os.PathLike[str], place: Path) -> str:
    """Return the value of ``--trace`` for the arrays; arrays in memory are first written unchanged into the folder.

    A tensor of an open trace keeps its role and axes. Those of others are guessed, as in a file of another program.
    """
    if isinstance(arrays, OpenTrace):
        return f"file:{arrays.asked}"
    path = place / f"arrays{load_format(RAW).suffix}"
    if isinstance(arrays, str | os.PathLike):
        path = Path(arrays)
    else:
        if not isinstance(arrays, Mapping) or not arrays or not all(isinstance(name, str) for name in arrays):
            raise UsageError(
                "compare_formats() takes a path, an open trace, or at least one array by name, such as "
                "{'pair/layer_0': array}."
            )
        found = {name: sliceable(name, array) for name, array in arrays.items()}
        known = [
            MapRule(pattern=escape(name), role=array.role, axes=array.axes)
            for name, array in found.items()
            if isinstance(array, TraceArray)
        ]
        guesses = guess({name: ForeignArray.of(array) for name, array in found.items()}, known)
        names = plain_paths(found)
        place.mkdir(parents=True, exist_ok=True)
        with create(path, provenance={"source": "harness.compare_formats"}, format=RAW) as out:
            for name, array in found.items():
                out.write(names[name], array, axes=guesses[name].axes, role=guesses[name].role)
    return f"file:{Asked(paths=(path.absolute(),))}"


def _compared(trace: str, folder: Path, values: Mapping[str, Any], mixes: Sequence[Mix]) -> FormatComparison:
    config: RunConfig = complete({**values, "run_id": folder.name, "traces": (trace,)})
    planned = PlannedRun.of(config)
    options = Options(baseline=config.baseline, mix=mixes[0] if len(mixes) == 1 else None)
    with held(folder, new=True):
        config.save(folder / "run.json")
        disk = planned.require_space(folder)
        written = run_and_report(planned, folder, nullcontext(_Silent()), disk, options=options)
        several = mixes if len(mixes) > 1 else ()  # for one use, the report itself has the verdict
        said = {mix.name: answer(find(folder, Options(baseline=config.baseline, mix=mix))) for mix in several}
    return FormatComparison(
        verdict=" ".join(f"{name}: {text}" for name, text in said.items()) or written.answer,
        verdicts=said or {mix.name: written.answer for mix in mixes},
        tables={"summary": written.summary, "grades": written.grades},
        folder=folder,
    )
