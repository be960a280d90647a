"""Turn a run's samples into its summary, plots and tables, each file whole or not there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.measure.config import RunConfig
from harness.records import read_samples
from harness.report.plots import draw
from harness.report.seed_table import seed_table
from harness.report.summary import summarise


def write_report(folder: Path) -> tuple[pd.DataFrame, list[Path]]:
    """Summarise a run and draw its plots; the same samples give the same bytes.

    Parameters
    ----------
    folder : Path
        The run's folder, with ``run.json`` and ``samples.csv``.

    Returns
    -------
    summary : DataFrame
        What was written to ``summary.csv``.
    plots : list of Path
        What was drawn.

    Raises
    ------
    HarnessError
        When the folder holds no run.
    """
    config = RunConfig.read(folder / "run.json")
    summary = summarise(read_samples(folder / "samples.csv"), config.baseline)
    write_table(summary, folder / "summary.csv")
    if config.preset == "seed":
        table = seed_table(summary, config.options.attention_windows)
        write_table(table, folder / "benchmark_results.csv")
    target = plots_folder(folder)
    target.mkdir(parents=True, exist_ok=True)
    return summary, draw(summary, target)


def plots_folder(folder: Path) -> Path:
    """Say where a run's plots go: ``plots/NAME`` beside ``results/NAME``, else ``plots`` inside the run's folder."""
    resolved = folder.resolve()
    if resolved.parent.name == "results":
        return folder.parent.parent / "plots" / resolved.name
    return folder / "plots"


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV under its final name only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    table.to_csv(partial, index=False)
    partial.replace(path)
