"""The figure of scaling: speed against one worker over the number of workers, and the slowest reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting as words
from harness.records import RAW
from harness.report.drawing.figure import (
    CEILING,
    GREY,
    Arm,
    ArmStyle,
    Page,
    arm_styles,
    arms_in,
    drawing,
    legend,
    of_arm,
)
from harness.report.page.scaling import shown_cells
from harness.sampling.executor import load_executor

_APART = 0.045  # of the axis, between formats at one number of workers, so that intervals show


def draw_scaling(cells: pd.DataFrame, folder: Path, *, pictures: bool = True) -> list[Path]:
    """Draw how each format scales over workers, for one trace.

    Parameters
    ----------
    cells : DataFrame
        From `harness.analysis.scaling.scaling`.
    folder : Path
        Where the files go.
    pictures : bool
        Whether a PNG is drawn besides the SVG.

    Returns
    -------
    list of Path
        ``scaling.svg`` and perhaps ``.png``; nothing where no executor has several numbers of workers.
    """
    if cells.empty:  # every cell with several workers failed
        return []
    trace, n_res, shown = shown_cells(cells)
    shown = shown[shown["access"] == shown["access"].iloc[0]]
    shown = shown[shown["speedup"].notna()]
    several = shown.loc[shown["workers"] > 1, "executor"].unique()
    kinds = sorted(map(load_executor, several), key=lambda executor: executor.order)
    if not kinds:
        return []
    arms = arm_styles(arms_in(shown))
    what = words.access(str(shown["access"].iloc[0]), str(shown["suite"].iloc[0]))
    length = "" if pd.isna(n_res) else f", {n_res:.0f} residues"
    with drawing():
        page = Page(
            title="Scaling over workers: speed against one (higher is better), and the slowest reads (lower is better)",
            caption=[
                f"{what.capitalize()} of {words.pretty_trace(trace)}{length}, "
                "warm: the same windows in all, split evenly over workers that start together. Speed: median time of "
                "one worker over that of these, with a 95 % interval over rounds; ideal is one more for each worker, "
                "which more workers than cores cannot reach. Below: the time within which 99 % of single reads came "
                "back, the median over rounds; the thin line down from it ends at the median read.",
                "Raw ceiling: the same bytes from one flat file, with as many workers.",
            ],
            legend=_legend(arms),
            heights=[2.3, 1.9],
            below=[0.3, 0.5],
            widths=[1.0] * len(kinds),
            headings=[f"{kind.worker[1]}{kind.readers and f', {kind.readers}'}" for kind in kinds],
        )
        counts = sorted({int(n) for n in shown["workers"]})
        for column, kind in enumerate(kinds):
            part = shown[shown["executor"] == kind.name]
            _speeds(page.axes[0, column], part, arms, counts, labelled=column == 0)
            _tails(page.axes[1, column], part, arms, counts, shown, labelled=column == 0)
            page.under(1, "workers", 0.3, [column])
        top = max(float(shown["speedup_high"].max()) * 1.1, 2.1)
        for column in range(len(kinds)):
            page.axes[0, column].set_ylim(0, top)
        return page.save(folder, "scaling", pictures=pictures)


def _legend(arms: dict[Arm, ArmStyle]) -> list[Line2D]:
    return [
        *legend(arms.values()),
        Line2D([], [], label="raw ceiling (flat file)", marker=".", **CEILING),
        Line2D([], [], label="ideal", color=GREY, linewidth=0.8),
    ]


def _places(counts: list[int], workers: pd.Series, shift: float) -> np.ndarray:
    """Put numbers of workers side by side at equal distances, each format a little apart."""
    return np.array([counts.index(int(n)) + shift for n in workers], float)


def _lines(part: pd.DataFrame, arms: dict[Arm, ArmStyle]) -> list[tuple[pd.DataFrame, dict, float]]:
    found = []
    for number, (arm, style) in enumerate(arms.items()):
        rows = of_arm(part, arm).sort_values("workers")
        found.append((rows, style.line(), (number + 1 - len(arms) / 2) * _APART * 2))
    raw = part[part["format"] == RAW].sort_values("workers")
    return [*found, (raw, {**CEILING, "marker": ".", "markersize": 4}, -(len(arms) / 2) * _APART * 2)]


def _axis(axes: Axes, counts: list[int], labelled: bool) -> None:
    axes.set_xlim(-0.45, len(counts) - 0.55)
    axes.set_xticks(range(len(counts)), [str(n) for n in counts])
    axes.grid(axis="y")
    axes.tick_params(axis="y", which="both", left=labelled, labelleft=labelled)


def _speeds(axes: Axes, part: pd.DataFrame, arms: dict[Arm, ArmStyle], counts: list[int], *, labelled: bool) -> None:
    axes.plot(range(len(counts)), counts, color=GREY, linewidth=0.8, zorder=1)
    for rows, style, shift in _lines(part, arms):
        at = _places(counts, rows["workers"], shift)
        axes.plot(at, rows["speedup"], **style)
        axes.vlines(at, rows["speedup_low"], rows["speedup_high"], color=style["color"], linewidth=1.0, zorder=2)
    _axis(axes, counts, labelled)
    if labelled:
        axes.set_ylabel("speed against one worker (×)", fontsize=8)


def _tails(
    axes: Axes, part: pd.DataFrame, arms: dict[Arm, ArmStyle], counts: list[int], shown: pd.DataFrame, *,
    labelled: bool,
) -> None:  # fmt: skip
    axes.set_yscale("log")
    for rows, style, shift in _lines(part, arms):
        at = _places(counts, rows["workers"], shift)
        axes.plot(at, rows["latency_p99_seconds"], **style)
        low, high = rows["latency_p50_seconds"], rows["latency_p99_seconds"]
        axes.vlines(at, low, high, color=style["color"], linewidth=0.7, zorder=2)
    least, most = float(shown["latency_p50_seconds"].min()) / 1.3, float(shown["latency_p99_seconds"].max()) * 1.3
    axes.set_ylim(least, most)
    ticks = [10.0**power for power in range(-9, 5) if least <= 10.0**power <= most]
    axes.set_yticks(ticks, [words.duration(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
    _axis(axes, counts, labelled)
    if labelled:
        axes.set_ylabel("99 % of reads within (log axis)", fontsize=8)
