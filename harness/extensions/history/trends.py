"""The trend of every cell: one panel each, runs from left to right, intervals, levels, and the steps between them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analysis import formatting as words
from harness.extensions.history.changepoint import SIDE
from harness.extensions.history.series import Series
from harness.extensions.history.steps import MACHINE, SECONDS, Step
from harness.records import CellKey
from harness.report.drawing.figure import FAINT, GREY, Page, drawing
from harness.report.drawing.panels import logarithmic

_WORSE, _BETTER, _POINT, _LEVEL = (
    "#D55E00",
    "#0072B2",
    "#000000",
    "#009E73",
)  # of Okabe & Ito (2008); the marks differ in shape too
_MOST_ROWS, _MOST_COLUMNS = 7, 5
_TICK = 0.11  # inches of a label
_FAR_APART = 4.0
_WIDE = 21  # characters of a row's label
_SHORT = {"size_bytes": "bytes", "files": "files", "files_opened": "opens", "requests": "requests"}
_HEIGHT, _TICKS = 1.0, 0.66


class _Spaced(Page):
    """A page whose panels each have an axis of their own."""

    LEFT, GAP = 1.9, 0.62
    _CHARACTERS = 130


def draw_trends(series: Sequence[Series], found: Sequence[Sequence[Step]], folder: Path) -> list[Path]:
    """Draw the trends of a history, and what the raw ceiling says of the machine.

    Parameters
    ----------
    series : sequence of Series
        From `harness.extensions.history.series.arrange`.
    found : sequence of sequence of Step
        The steps of each.
    folder : Path
        Where the files go; it exists. Earlier drawings in it that are no longer true are removed.

    Returns
    -------
    list of Path
        ``trend-SUITE.svg`` and ``.png`` for each suite, numbered where one page does not hold it, and
        ``trend-machine``. Equal histories give equal bytes.
    """
    keys = list(dict.fromkeys(key for part in series for key in part.claims))
    drawn: list[Path] = []
    with drawing():
        for suite in dict.fromkeys(key.suite for key in keys):
            pages = list(_pages([key for key in keys if key.suite == suite]))
            for number, grid in enumerate(pages, 1):
                name = f"trend-{suite}" + (f"-{number}" if len(pages) > 1 else "")
                drawn += _page(suite, grid, series, found).save(folder, name)
        drawn += _machine(series, found).save(folder, "trend-machine")
    for old in set(folder.glob("trend-*.svg")) | set(folder.glob("trend-*.png")):
        if old not in drawn:
            old.unlink()
    return drawn


Grid = list[list[CellKey | None]]


def _pages(keys: Sequence[CellKey]) -> Iterator[Grid]:
    """Arrange cells: a row for each case of a trace and length, a column for each format and profile."""
    order = words.ordered({key.format for key in keys})
    arms = sorted({(key.format, key.profile) for key in keys}, key=lambda arm: (order.index(arm[0]), arm[1]))
    places = list(dict.fromkeys(key._replace(format="", profile="") for key in keys))
    present = set(keys)
    for first in range(0, len(arms), _MOST_COLUMNS):
        chosen = arms[first : first + _MOST_COLUMNS]
        rows: Grid = []
        for place in places:
            row = [place._replace(format=name, profile=profile) for name, profile in chosen]
            if any(key in present for key in row):
                rows.append([key if key in present else None for key in row])
        for start in range(0, len(rows), _MOST_ROWS):
            yield rows[start : start + _MOST_ROWS]


def _page(suite: str, grid: Grid, series: Sequence[Series], found: Sequence[Sequence[Step]]) -> Page:
    heads = [next(key for row in grid if (key := row[j]) is not None) for j in range(len(grid[0]))]
    page = _Spaced(
        title=f"{suite}: every run of {series[-1].records[-1].machine.name} (lower is better)",
        caption=_caption(series),
        legend=_legend(),
        heights=[_HEIGHT] * len(grid),
        below=[0.2] * (len(grid) - 1) + [_TICKS],
        widths=[1.0] * len(heads),
        headings=[f"{key.format} ({key.profile})" if key.profile else key.format for key in heads],
    )
    for i, row in enumerate(grid):
        for j, key in enumerate(row):
            axes = page.axes[i, j]
            if key is None:
                axes.set_axis_off()
                continue
            _panel(axes, key, series, found)
            _runs(axes, series, labelled=i == len(grid) - 1)
        label = next(key for key in row if key is not None)
        page.axes[i, 0].text(
            -0.62 / page.inches([1.0] * len(heads))[0], 0.5, _row_label(label), transform=page.axes[i, 0].transAxes,
            ha="right", va="center", fontsize=7, parse_math=False, clip_on=False,
        )  # fmt: skip
    return page


def _row_label(key: CellKey) -> str:
    name, _, parameters = key.trace.partition(":")
    length = [] if key.n_res is None else [f"{key.n_res} residues"]
    what = "size (bytes)" if key.suite == "size" else "time"
    parts = [*textwrap.wrap(words.case(key._asdict()), _WIDE), name, *parameters.split(","), *length, what]
    return "\n".join(part if len(part) <= _WIDE else f"…{part[1 - _WIDE :]}" for part in parts if part)


def _caption(series: Sequence[Series]) -> list[str]:
    text = [
        "Each panel has its own axis, which does not begin at zero and is logarithmic where points are far apart. A "
        "point is the median of a run, its line the 95 % interval over rounds, which may reach beyond the panel.",
        f"A step is a level that changed by more than 5 % and stayed for {SIDE} runs or more, told from chance over "
        "all cells together, after what the raw ceiling did was taken off; the horizontal lines are its levels without "
        "that. An exact figure steps with every change. Runs are named by their commits.",
    ]
    return text + [
        f"Series {number} measured something else than the one before, so nothing is compared across: {part.changed}."
        for number, part in enumerate(series, 1)
        if part.changed
    ]


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=_POINT, marker="o", markersize=3, linewidth=0.8, label="run, with its interval"),
        Line2D([], [], color=_LEVEL, linewidth=1.6, label="level around a step"),
        Line2D([], [], color=_WORSE, marker="^", linestyle="none", markersize=6, label="step for the worse"),
        Line2D([], [], color=_BETTER, marker="v", linestyle="none", markersize=6, label="step for the better"),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.0, label="new series"),
    ]


def _starts(series: Sequence[Series]) -> list[int]:
    """Say where each series begins on the axis of runs."""
    return [0, *np.cumsum([len(part.records) for part in series]).tolist()]


def _panel(axes: Axes, key: CellKey, series: Sequence[Series], found: Sequence[Sequence[Step]]) -> None:
    timed = any(not np.isnan(part.figures(key, SECONDS)).all() for part in series)
    names = (SECONDS, "ci_low", "ci_high") if timed else ("size_bytes",) * 3
    ends = []
    for start, part, steps in zip(_starts(series), series, found, strict=False):
        y, low, high = (part.figures(key, name) for name in names)
        x = start + np.arange(len(y))
        axes.vlines(x, low, high, color=_POINT, linewidth=0.7, alpha=0.55, zorder=2)
        axes.plot(x, y, color=_POINT, marker="o", markersize=2.2, linestyle="none", zorder=3)
        own = [step for step in steps if step.key == key]
        _levels(axes, [step for step in own if step.figure == names[0]], start, len(y))
        _marks(axes, own, start)
        ends += y[~np.isnan(y)].tolist()
    _scale(axes, ends, timed)


def _levels(axes: Axes, steps: Sequence[Step], start: int, count: int) -> None:
    places = [0, *(step.place for step in steps), count]
    levels = [*(step.level_before for step in steps[:1]), *(step.level_after for step in steps)]
    for first, last, value in zip(places, places[1:], levels, strict=False):
        axes.hlines(value, start + first - 0.4, start + last - 0.6, color=_LEVEL, linewidth=1.6, zorder=1)


def _marks(axes: Axes, steps: Sequence[Step], start: int) -> None:
    """Mark every step above the panel's points; several at one place under each other."""
    for step in steps:
        row = [other for other in steps if other.place == step.place].index(step)
        x, colour = start + step.place - 0.5, _WORSE if step.level_after > step.level_before else _BETTER
        axes.axvline(x, color=colour, linewidth=0.8, zorder=1)
        ratio = step.figure in (SECONDS, MACHINE)
        change = (
            f"{step.ratio:.2f}×" if ratio else f"{_SHORT[step.figure]} {step.level_after - step.level_before:+,.0f}"
        )
        mark = "▲" if colour == _WORSE else "▼"
        right = x > axes.dataLim.x0 + 0.5 * axes.dataLim.width
        axes.annotate(
            f"{change} {mark}" if right else f"{mark} {change}", (x, 0.99 - 0.16 * row),
            xycoords=axes.get_xaxis_transform(), xytext=(-1.5 if right else 1.5, 0), textcoords="offset points",
            ha="right" if right else "left", va="top", fontsize=5.8, color=colour, zorder=4,
        )  # fmt: skip


def _scale(axes: Axes, values: Sequence[float], timed: bool) -> None:
    """Scale by the points alone, by the logarithm where they are far apart; room above is for the marks."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if timed and high > _FAR_APART * low > 0:
        logarithmic(axes, low, 2 * high, seconds=True)
    else:
        room = 0.12 * (high - low) or 0.05 * high
        axes.set_ylim(low - room, high + 5 * room)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        tell = words.duration if timed else lambda value: f"{value:,.0f}"
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tell(value) if value else "0"))
        axes.grid(axis="y")
    axes.tick_params(axis="y", labelsize=6.5)


def _runs(axes: Axes, series: Sequence[Series], *, labelled: bool) -> None:
    """Draw the axis of runs: their commits, and a line where another series begins."""
    starts = _starts(series)
    for start in starts[1:-1]:
        axes.axvline(start - 0.5, color=GREY, linestyle=":", linewidth=1.0, zorder=1)
    labels = [record.label for part in series for record in part.records]
    inches = axes.get_position().width * Page.WIDTH
    every = -(-len(labels) // int(inches / _TICK))
    ticks = range(0, len(labels), every)
    axes.set_xlim(-0.7, len(labels) - 0.3)
    axes.set_xticks(list(ticks), [labels[i] for i in ticks] if labelled else [""] * len(ticks), rotation=90)
    axes.tick_params(axis="x", labelsize=5.8, length=2)


def _machine(series: Sequence[Series], found: Sequence[Sequence[Step]]) -> Page:
    page = Page(
        title=f"The machine itself: time of the raw ceiling, {series[-1].records[-1].machine.name}",
        caption=[
            "Divided by its usual time; the median over all reads of one flat file, which no format has a part in."
        ],
        legend=_legend()[1:],
        heights=[1.8],
        below=[_TICKS],
        widths=[1.0],
        headings=[""],
    )
    axes = page.axes[0, 0]
    for start, part, steps in zip(_starts(series), series, found, strict=False):
        y = np.exp(part.machine)
        axes.plot(start + np.arange(len(y)), y, color=_POINT, marker="o", markersize=3, linewidth=0.7)
        own = [step for step in steps if step.key is None]
        _levels(axes, own, start, len(y))
        _marks(axes, own, start)
    axes.axhline(1.0, color=FAINT, linewidth=0.7, zorder=1)
    axes.set_ylabel("time of the raw ceiling\n(1 is usual)", fontsize=7.5)
    axes.grid(axis="y")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))
    _runs(axes, series, labelled=True)
    return page
