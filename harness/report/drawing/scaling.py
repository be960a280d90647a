"""Drawing of scaling: speed against one worker over the number of workers, and the slowest reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting
from harness.analysis.accesses import of_kind
from harness.report.drawing.figure import (
    CEILING,
    GREY,
    Page,
    arm_styles,
    arms_in,
    drawing,
    legend,
    line,
    of_arm,
    segments,
)
from harness.report.drawing.panels import logarithmic
from harness.report.drawing.ticks import across, upwards
from harness.report.page.scaling import shown_cells
from harness.sampling.executor import load_executor

# Offset between formats, as a fraction of the smallest distance between two numbers of workers, so that intervals show.
_APART = 0.09

_Lines = list[tuple[pd.DataFrame, dict[str, Any]]]


def draw_scaling(cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw how each format scales over workers, for one trace.

    `cells` is the table of `harness.analysis.scaling.scaling`. Returns the paths of ``scaling.svg`` and its PNG; empty
    if no executor has several numbers of workers.
    """
    if cells.empty:  # every cell with several workers failed
        return []
    trace, n_res, shown = shown_cells(cells)
    shown = shown[shown["access"] == shown["access"].iloc[0]]
    shown = shown[shown["speedup"].notna()]
    several = shown.groupby("executor")["workers"].transform("nunique") > 1
    aside, shown = shown[~several], shown[several]
    if shown.empty:
        return []
    kinds = sorted(map(load_executor, shown["executor"].unique()), key=lambda executor: executor.order)
    arms = arm_styles(arms_in(shown))
    with drawing():
        page = Page(
            title="Scaling over workers: speed against one (higher is better), and the slowest reads (lower is better)",
            caption=_caption(trace, n_res, shown, aside),
            legend=[
                *legend(arms.values()),
                Line2D([], [], label="raw ceiling (flat file)", marker=".", **CEILING),
                Line2D([], [], label="ideal: twice the workers, twice as fast", color=GREY, linewidth=0.8),
            ],
            heights=[2.3, 1.9],
            below=[0.3, 0.5],
            widths=[1.0] * len(kinds),
            headings=[f"{kind.worker[1]}{kind.readers and f', {kind.readers}'}" for kind in kinds],
        )
        counts = np.array(sorted({int(n) for n in shown["workers"]}))
        for column, kind in enumerate(kinds):
            part = shown[shown["executor"] == kind.name]
            raw = part[of_kind(part, "ceiling")], {**CEILING, "marker": ".", "markersize": 4}
            lines = [*((of_arm(part, arm), style.line()) for arm, style in arms.items()), raw]
            speeds, tails = page.axes[0, column], page.axes[1, column]
            line(speeds, np.log2(counts), counts, color=GREY, linewidth=0.8, zorder=1)
            _points(speeds, lines, counts, ("speedup", "speedup_low", "speedup_high"), width=1.0)
            _speed_axis(speeds, shown, float(counts[-1]), labelled=column == 0)
            _points(tails, lines, counts, ("latency_p99_seconds", "latency_p50_seconds", "latency_p99_seconds"), 0.7)
            least, most = float(shown["latency_p50_seconds"].min()), float(shown["latency_p99_seconds"].max())
            title = "99 % of reads within\n(log axis)" if column == 0 else ""
            logarithmic(tails, least, most, seconds=True, labelled=column == 0, title=title)
            for axes in (speeds, tails):
                axes.set_xlim(math.log2(counts[0]) - 0.45, math.log2(counts[-1]) + 0.45)
                across(axes, np.log2(counts), [str(n) for n in counts])
            page.under(1, "workers (log axis)", 0.3, [column])
        return page.save(folder, "scaling")


def _caption(trace: str, n_res: float, shown: pd.DataFrame, aside: pd.DataFrame) -> list[str]:
    what = formatting.access(str(shown["access"].iloc[0]), str(shown["suite"].iloc[0]))
    length = "" if pd.isna(n_res) else f", {n_res:.0f} residues"
    caption = [
        f"{what.capitalize()} of {formatting.pretty_trace(trace)}{length}, warm: the same windows in all, split evenly "
        "over workers that start together. Speed: median time of one worker over that of these, with a 95 % interval "
        "over rounds. More workers than cores cannot reach the ideal. Below: the time within which 99 % of single "
        "reads ended, the median over rounds; the thin line down from it ends at the median read.",
        "Raw ceiling: the same bytes from one flat file, with as many workers.",
    ]
    left = dict.fromkeys(map(formatting.workers, aside.to_dict("records")))
    if left:
        caption.append(f"Measured with one number of workers only, see scaling.csv: {'; '.join(left)}.")
    return caption


def _points(axes: Axes, lines: _Lines, counts: np.ndarray, names: tuple[str, str, str], width: float) -> None:
    """Draw a line of points with intervals for each format, and for the ceiling, which is left of all."""
    apart = _APART * float(np.diff(np.log2(counts)).min())
    for number, (rows, style) in enumerate(lines):
        rows = rows.sort_values("workers")
        left = -1 if number == len(lines) - 1 else number
        at = np.log2(rows["workers"].to_numpy(float)) + (left + 1 - (len(lines) - 1) / 2) * apart
        y, low, high = (rows[name].to_numpy(float) for name in names)
        line(axes, at, y, **style)
        ends = (list(zip(at, end, strict=True)) for end in (low, high))
        segments(axes, *ends, color=style["color"], linewidth=width, zorder=2)


def _speed_axis(axes: Axes, shown: pd.DataFrame, most: float, *, labelled: bool) -> None:
    """Set a logarithmic y axis, as for the workers, so that the ideal is a straight line."""
    low = min(float(shown["speedup_low"].min()), 1.0) / 1.15
    high = max(float(shown["speedup_high"].max()), most) * 1.15
    axes.set_yscale("log", base=2)
    axes.set_ylim(low, high)
    powers = range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
    steps = (1, 1.5) if high / low < 12 else (1,)
    ticks = [step * 2.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    title = "speed against one worker\n(×, log axis)"
    upwards(
        axes,
        ticks,
        grid=True,
        **{"labels": [f"{tick:g}" for tick in ticks], "title": title} if labelled else {"mark": 0},
    )
