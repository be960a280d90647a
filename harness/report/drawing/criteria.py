"""Drawing of formats by criterion: a row for each criterion, a point with interval for each format, best at left."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from harness.analysis.criteria import GradedCriterion
from harness.report.drawing.figure import FAINT, ArmStyle, Page, arm_styles, drawing, legend, line, segments
from harness.report.drawing.ticks import across, upwards
from harness.report.page.conclusions import EffortBlock, blocks

_STEP, _BETWEEN = 0.11, 0.12
"""Inches between formats of a criterion, and between criteria."""


def draw_criteria(grades: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw all formats by criterion, a panel per effort: ``criteria.svg`` and PNG; none for fewer than two formats."""
    graded = grades[grades["ratio"].notna()]
    columns, found = blocks(graded)
    arms = arm_styles((str(name), "") for name in graded["format"].unique())
    if len(arms) < 2:
        return []
    height = len(columns) * (len(arms) * _STEP + _BETWEEN)
    with drawing():
        page = Page(
            title="Formats by criterion: against the best of each (further left is better)",
            caption=[
                "Time, or size, over that of the best format of the criterion, paired by round: the geometric mean "
                "over its cells, the median over rounds with its 95 % interval. Sizes are exact. Each panel has a "
                "best of its own: by stock readers, those of the library that a user gets, in the run's settings; at "
                "their best, by the fastest maintained reader and settings of each read.",
            ],
            legend=legend(arms.values()),
            heights=[height],
            below=[0.45],
            widths=[1.0] * len(found),
            headings=[block.how for block in found],
        )
        ends = float(graded["ratio_high"].max())
        for number, block in enumerate(found):
            _axis(page.axes[0, number], ends)
            named = {name: style for (name, _), style in arms.items()}
            _panel(page.axes[0, number], columns, block, named, height, first=number == 0)
            page.under(0, "times the best (log axis)", 0.28, [number])
        return page.save(folder, "criteria")


def _panel(
    axes: Axes, columns: list[GradedCriterion], block: EffortBlock, styles: dict[str, ArmStyle], height: float,
    *, first: bool,
) -> None:  # fmt: skip
    axes.set_ylim(height, 0)
    each = _STEP * len(styles) + _BETWEEN
    for place, (name, style) in enumerate(styles.items()):
        rows = dict(block.rows).get(name, {})
        shown = [
            (rows[stated.name], each * k + _BETWEEN / 2 + _STEP * (place + 0.5))
            for k, stated in enumerate(columns)
            if stated.name in rows
        ]
        low, high = ([(row[end], y) for row, y in shown] for end in ("ratio_low", "ratio_high"))
        segments(axes, low, high, color=style.colour, linewidth=1.4, zorder=2)
        dots = style.line() | {"linestyle": ""}
        line(axes, [row["ratio"] for row, _ in shown], [y for _, y in shown], zorder=3, **dots)
    for k in range(1, len(columns)):
        axes.axhline(each * k, color=FAINT, linewidth=0.4)
    middles = [each * (k + 0.5) for k in range(len(columns))]
    names = [stated.name.replace(" ", "\n", 1) for stated in columns] if first else ()
    upwards(axes, middles, names, mark=0, size=8)


def _axis(axes: Axes, most: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.93, max(most, 1.5) * 1.15)
    steps = (1, 2, 5) if most < 30 else (1, 3)
    ticks = [tick for power in range(5) for step in steps if (tick := step * 10.0**power) <= max(most, 1.5) * 1.15]
    across(axes, ticks, [f"{tick:g}×" for tick in ticks], grid=True)
    axes.axvline(1, color=FAINT, linewidth=0.8, zorder=1)
