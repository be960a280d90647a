"""Drawing of the trend of every cell, one panel each: runs from left to right, intervals, levels, and steps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analysis import formatting
from harness.extensions.history.changepoint import SIDE
from harness.extensions.history.series import Series
from harness.extensions.history.steps import MACHINE, SECONDS, Step, contender_name
from harness.records import CellKey
from harness.report.drawing.figure import GREY, Page, drawing
from harness.report.drawing.panels import logarithmic

# Colours of Okabe & Ito (2008); the marks differ in shape too.
_WORSE, _BETTER, _POINT, _LEVEL = "#D55E00", "#0072B2", "#000000", "#009E73"
_MOST_ROWS, _MOST_COLUMNS = 7, 5
_TICK = 0.11  # inches between two labels of runs
_FAR_APART = 4.0
_WIDE = 21  # most characters in a line of a row's label
_SHORT = {"size_bytes": "bytes", "files": "files", "files_opened": "opens", "requests": "requests"}
_HEIGHT, _TICKS = 1.0, 0.66
_CAPTION = (
    "Each panel has its own axis, which does not begin at zero and is logarithmic where points are far apart. A "
    "point is the median of a run, its line the 95 % interval over rounds.",
    f"A step is a level that changed by more than 5 % and stayed for {SIDE} runs or more, with chance excluded over "
    "all cells together, after what the raw ceiling did was taken off; the horizontal lines are its levels without "
    "that. An exact figure steps with every change. Runs are named by their commits.",
)

Grid = list[list[CellKey | None]]
"""Rows of cells; None for the machine itself."""

Found = Sequence[tuple[int, Series, Sequence[Step]]]
"""Position of its first run on the axis, the series, and its steps, for each series."""


class _Spaced(Page):
    """A page with a separate axis for each panel."""

    LEFT, GAP = 1.9, 0.62
    _CHARACTERS = 130


def draw_trends(series: Sequence[Series], steps: Sequence[Sequence[Step]], folder: Path) -> list[Path]:
    """Draw the trends of a history, and the trend of the machine by the raw ceiling.

    Parameters
    ----------
    series : sequence of Series
        From `harness.extensions.history.series.arrange`.
    steps : sequence of sequence of Step
        The steps of each series.
    folder : Path
        An existing folder for the files. Trend drawings that this call does not write are removed from it.

    Returns
    -------
    list of Path
        ``trend-SUITE.svg`` and ``.png`` for each suite, numbered if it needs several pages, and ``trend-machine``.
        Equal histories give equal bytes.
    """
    starts = np.cumsum([0, *(len(part.records) for part in series)]).tolist()
    found = list(zip(starts, series, steps, strict=False))
    keys = list(dict.fromkeys(key for part in series for key in part.claims))
    drawn: list[Path] = []
    with drawing():
        for suite in dict.fromkeys(key.suite for key in keys):
            pages = list(_pages([key for key in keys if key.suite == suite]))
            for number, grid in enumerate(pages, 1):
                name = f"trend-{suite}" + (f"-{number}" if len(pages) > 1 else "")
                drawn += _page(suite, grid, found).save(folder, name)
        drawn += _page("machine", [[None]], found).save(folder, "trend-machine")
    for old in set(folder.glob("trend-*.svg")) | set(folder.glob("trend-*.png")):
        if old not in drawn:
            old.unlink()
    return drawn


def _pages(keys: Sequence[CellKey]) -> Iterator[Grid]:
    """Yield pages of cells: a row for each case of a trace and length, a column for each format and profile."""
    order = formatting.ordered({key.format for key in keys})
    arms = sorted({key.contender for key in keys}, key=lambda arm: (order.index(arm.format), arm.profile))
    places = list(dict.fromkeys(key._replace(format="", profile="") for key in keys))
    for first in range(0, len(arms), _MOST_COLUMNS):
        chosen = arms[first : first + _MOST_COLUMNS]
        rows: Grid = [[place._replace(**arm._asdict()) for arm in chosen] for place in places]
        rows = [row for row in rows if set(row) & set(keys)]
        for start in range(0, len(rows), _MOST_ROWS):
            yield rows[start : start + _MOST_ROWS]


def _page(suite: str, grid: Grid, found: Found) -> Page:
    caption = [*_CAPTION] + [
        f"Series {number} measured something else than the one before, so nothing is compared across: {part.changed}."
        for number, (_, part, _) in enumerate(found, 1)
        if part.changed
    ]
    page = _Spaced(
        title=f"{suite}: every run of {found[-1][1].records[-1].machine.name} (lower is better)",
        caption=caption,
        legend=_legend(),
        heights=[_HEIGHT] * len(grid),
        below=[0.2] * (len(grid) - 1) + [_TICKS],
        widths=[1.0] * len(grid[0]),
        headings=[contender_name(key) if key else "raw ceiling, median of all reads" for key in grid[0]],
    )
    measured = {None, *(key for _, part, _ in found for key in part.claims)}
    for i, row in enumerate(grid):
        for j, key in enumerate(row):
            axes = page.axes[i, j]
            if key not in measured:
                axes.set_axis_off()
                continue
            _panel(axes, key, found)
            _runs(axes, found, labelled=i == len(grid) - 1)
        page.axes[i, 0].text(
            -0.62 / page.shares([1.0] * len(row))[0], 0.5, _row_label(row[0]), transform=page.axes[i, 0].transAxes,
            ha="right", va="center", fontsize=7, clip_on=False,
        )  # fmt: skip
    return page


def _row_label(key: CellKey | None) -> str:
    if key is None:
        return "time of the raw ceiling\n(1 is usual)"
    name, _, parameters = key.trace.partition(":")
    length = [] if key.n_res is None else [f"{key.n_res} residues"]
    parts = [*textwrap.wrap(formatting.case(key._asdict()), _WIDE), name, *parameters.split(","), *length]
    return "\n".join(part if len(part) <= _WIDE else f"…{part[1 - _WIDE :]}" for part in parts if part)


def _legend() -> list[Line2D]:
    marked = ((_WORSE, "^", "step for the worse"), (_BETTER, "v", "step for the better"))
    return [
        Line2D([], [], color=_POINT, marker="o", markersize=3, linewidth=0.8, label="run, with its interval"),
        Line2D([], [], color=_LEVEL, linewidth=1.6, label="level around a step"),
        *(Line2D([], [], color=c, marker=m, linestyle="none", markersize=6, label=text) for c, m, text in marked),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.0, label="new series"),
    ]


def _panel(axes: Axes, key: CellKey | None, found: Found) -> None:
    """Draw the points, intervals, levels and steps of a cell, or of the machine if `key` is None."""
    timed = key is not None and any(not np.isnan(part.figures(key, SECONDS)).all() for _, part, _ in found)
    names = (SECONDS, "ci_low", "ci_high") if timed else ("size_bytes",) * 3
    values: list[float] = []
    for start, part, steps in found:
        y, low, high = (np.exp(part.machine) if key is None else part.figures(key, name) for name in names)
        x = start + np.arange(len(y))
        axes.vlines(x, low, high, color=_POINT, linewidth=0.7, alpha=0.55, zorder=2)
        axes.plot(x, y, color=_POINT, marker="o", markersize=2.2, linestyle="none", zorder=3)
        own = [step for step in steps if step.key == key]
        _levels(axes, [step for step in own if step.figure in (names[0], MACHINE)], start, len(y))
        _marks(axes, own, start)
        every = np.concatenate([y, low, high])
        values += every[np.isfinite(every)].tolist()
    # The axis covers all intervals, logarithmic if they are far apart, with room for the marks above.
    least, most = min(values, default=0.0), max(values, default=1.0)
    if timed and most > _FAR_APART * least > 0:
        logarithmic(axes, least, 2 * most, seconds=True, size=6.5)
    else:
        room = 0.12 * (most - least) or 0.05 * most
        axes.set_ylim(least - room, most + 5 * room)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=key is not None and not timed))
        write = formatting.duration if timed else "{:.2f}".format if key is None else "{:,.0f} B".format
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value) if value else "0"))
        axes.grid(axis="y")
    axes.tick_params(axis="y", labelsize=6.5)


def _levels(axes: Axes, steps: Sequence[Step], start: int, count: int) -> None:
    places = [0, *(step.place for step in steps), count]
    levels = [*(step.level_before for step in steps[:1]), *(step.level_after for step in steps)]
    for first, last, value in zip(places, places[1:], levels, strict=False):
        axes.hlines(value, start + first - 0.4, start + last - 0.6, color=_LEVEL, linewidth=1.6, zorder=1)


def _marks(axes: Axes, steps: Sequence[Step], start: int) -> None:
    """Mark every step above the panel's points; marks at the same place are stacked."""
    for step in steps:
        row = [other for other in steps if other.place == step.place].index(step)
        worse, x = step.level_after > step.level_before, start + step.place - 0.5
        colour, mark = (_WORSE, "▲") if worse else (_BETTER, "▼")
        axes.axvline(x, color=colour, linewidth=0.8, zorder=1)
        ratio = step.figure in (SECONDS, MACHINE)
        change = f"{step.ratio:.2f}×" if ratio else f"{_SHORT[step.figure]} {step.change}"
        right = x > axes.dataLim.x0 + 0.5 * axes.dataLim.width
        axes.annotate(
            f"{change} {mark}" if right else f"{mark} {change}", (x, 0.99 - 0.16 * row),
            xycoords=axes.get_xaxis_transform(), xytext=(-1.5 if right else 1.5, 0), textcoords="offset points",
            ha="right" if right else "left", va="top", fontsize=5.8, color=colour, zorder=4,
        )  # fmt: skip


def _runs(axes: Axes, found: Found, *, labelled: bool) -> None:
    """Draw the axis of runs: their commits, and a line at the start of each further series."""
    for start, _, _ in found[1:]:
        axes.axvline(start - 0.5, color=GREY, linestyle=":", linewidth=1.0, zorder=1)
    labels = [record.label for _, part, _ in found for record in part.records]
    inches = axes.get_position().width * Page.WIDTH
    ticks = range(0, len(labels), -(-len(labels) // int(inches / _TICK)))
    axes.set_xlim(-0.7, len(labels) - 0.3)
    axes.set_xticks(list(ticks), [labels[i] if labelled else "" for i in ticks], rotation=90)
    axes.tick_params(axis="x", labelsize=5.8, length=2)
