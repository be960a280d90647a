"""The figure of scaling: speed against one worker over the number of workers, and the slowest reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting as words
from harness.analysis.accesses import of_kind
from harness.report.drawing.figure import CEILING, GREY, Page, arm_styles, arms_in, drawing, legend, of_arm
from harness.report.page.scaling import shown_cells
from harness.sampling.executor import load_executor

_APART = 0.09  # of the axis, between formats at one number of workers, so that intervals show

_Lines = list[tuple[pd.DataFrame, dict[str, Any]]]


def draw_scaling(cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw how each format scales over workers, for one trace.

    `cells` is the table of `harness.analysis.scaling.scaling`. Returns ``scaling.svg`` and PNG, or nothing where no
    executor has several numbers of workers.
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
            legend=[
                *legend(arms.values()),
                Line2D([], [], label="raw ceiling (flat file)", marker=".", **CEILING),
                Line2D([], [], label="ideal", color=GREY, linewidth=0.8),
            ],
            heights=[2.3, 1.9],
            below=[0.3, 0.5],
            widths=[1.0] * len(kinds),
            headings=[f"{kind.worker[1]}{kind.readers and f', {kind.readers}'}" for kind in kinds],
        )
        counts = sorted({int(n) for n in shown["workers"]})
        for column, kind in enumerate(kinds):
            part = shown[shown["executor"] == kind.name]
            raw = part[of_kind(part, "ceiling")], {**CEILING, "marker": ".", "markersize": 4}
            lines = [*((of_arm(part, arm), style.line()) for arm, style in arms.items()), raw]
            speeds, tails = page.axes[0, column], page.axes[1, column]
            speeds.plot(range(len(counts)), counts, color=GREY, linewidth=0.8, zorder=1)
            _points(speeds, lines, counts, ("speedup", "speedup_low", "speedup_high"), width=1.0)
            speeds.set_ylim(0, max(float(shown["speedup_high"].max()) * 1.1, 2.1))
            tails.set_yscale("log")
            _points(tails, lines, counts, ("latency_p99_seconds", "latency_p50_seconds", "latency_p99_seconds"), 0.7)
            _tail_axis(tails, shown)
            for axes, label in ((speeds, "speed against one worker (×)"), (tails, "99 % of reads within (log axis)")):
                axes.set_xlim(-0.45, len(counts) - 0.55)
                axes.set_xticks(range(len(counts)), [str(n) for n in counts])
                axes.grid(axis="y")
                axes.tick_params(axis="y", which="both", left=column == 0, labelleft=column == 0)
                if column == 0:
                    axes.set_ylabel(label, fontsize=8)
            page.under(1, "workers", 0.3, [column])
        return page.save(folder, "scaling")


def _points(axes: Axes, lines: _Lines, counts: list[int], names: tuple[str, str, str], width: float) -> None:
    """Draw a line of points with intervals for each format, and the ceiling, which lies left of all."""
    for number, (rows, style) in enumerate(lines):
        rows = rows.sort_values("workers")
        left = -1 if number == len(lines) - 1 else number
        at = [counts.index(int(n)) + (left + 1 - (len(lines) - 1) / 2) * _APART for n in rows["workers"]]
        y, low, high = (rows[name] for name in names)
        axes.plot(at, y, **style)
        axes.vlines(at, low, high, color=style["color"], linewidth=width, zorder=2)


def _tail_axis(axes: Axes, shown: pd.DataFrame) -> None:
    least, most = float(shown["latency_p50_seconds"].min()) / 1.3, float(shown["latency_p99_seconds"].max()) * 1.3
    axes.set_ylim(least, most)
    ticks = [10.0**power for power in range(-9, 5) if least <= 10.0**power <= most]
    axes.set_yticks(ticks, [words.duration(tick) for tick in ticks])
    axes.set_yticks([], minor=True)
