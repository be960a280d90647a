"""The change of every time between two sides: a point with its interval on a logarithmic axis of ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.report.drawing.figure import FAINT, GREY, Page, drawing

# Of Okabe & Ito (2008), which stay apart in the common colour deficiencies; the shapes do so in grey print.
_LOOKS = {
    "slower": ("#D55E00", "^", "slower, confirmed"),
    "inconclusive": ("#000000", "o", "inconclusive"),
    "no regression": ("#0072B2", "s", "no regression"),
    "faster": ("#009E73", "v", "faster"),
}
_ROW = 0.165  # inches
_CHARACTER = 0.066  # inches
_NAMES = (1.2, 4.7)  # inches
_TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One cell.

    Attributes
    ----------
    name : str
        For the axis.
    ratio, low, high : float
        Time of head over base's, with its interval.
    word : str
        One of the words of `harness.compare.verdict`.
    """

    name: str
    ratio: float
    low: float
    high: float
    word: str


def draw_ratios(
    points: Sequence[Point], folder: Path, *, title: str, threshold: float, notes: Sequence[str] = ()
) -> list[Path]:
    """Draw one row a cell.

    Parameters
    ----------
    points : sequence of Point
        At least one.
    folder : Path
        Where the files go; it exists.
    title : str
        Above the panel.
    threshold : float
        The slowdown that matters, as a part of 1.
    notes : sequence of str
        Paragraphs under the panel.

    Returns
    -------
    list of Path
        ``ratios.svg`` and ``ratios.png``; equal points give equal bytes.
    """
    present = [word for word in _LOOKS if any(point.word == word for point in points)]
    legend: list[Line2D] = [
        Line2D([], [], linestyle="none", color=_LOOKS[w][0], marker=_LOOKS[w][1], markersize=5, label=_LOOKS[w][2])
        for w in present
    ]
    band: Patch = Patch(facecolor="#eeeeee", edgecolor=FAINT, label=f"less than {100 * threshold:g} % slower")
    caption = [
        "Time of head divided by base's, paired by round, with its 95 % interval: to the left of 1 head is faster.",
        *notes,
    ]
    room = sum(Page.inches([1.0, 1.0]))
    wide = min(max(_CHARACTER * max(len(point.name) for point in points), _NAMES[0]), _NAMES[1])
    with drawing():
        page = Page(
            title=title, caption=caption, legend=[*legend, band], heights=[_ROW * len(points) + 0.2],  # type: ignore[list-item]
            below=[0.36], widths=[wide, room - wide], headings=["", ""],
        )  # fmt: skip
        names, axes = page.axes[0, 0], page.axes[0, 1]
        names.set_axis_off()
        rows = [len(points) - 1 - k for k in range(len(points))]
        band_width = math.log(1 + threshold)
        low = min([-band_width, *(math.log(p.low) for p in points)]) - 0.25 * band_width
        high = max([band_width, *(math.log(p.high) for p in points)]) + 0.25 * band_width
        axes.axvspan(1, 1 + threshold, color="#eeeeee", zorder=0, linewidth=0)
        axes.axvline(1, color=GREY, linewidth=0.9, zorder=1)
        for row, point in zip(rows, points, strict=True):
            colour, marker, _ = _LOOKS[point.word]
            axes.plot([point.low, point.high], [row, row], color=colour, linewidth=1.1, zorder=2)
            axes.plot([point.ratio], [row], color=colour, marker=marker, markersize=4.6, linestyle="none", zorder=3)
            names.text(1.0, row, point.name, ha="right", va="center", fontsize=7, parse_math=False)
        for panel in (names, axes):
            panel.set_ylim(-0.8, len(points) - 0.2)
        axes.set_xscale("log")
        axes.set_xlim(math.exp(low), math.exp(high))
        inside = [t for t in _TICKS if low <= math.log(t) <= high]
        apart = (high - low) / 9
        ticks = [1.0]
        for tick in sorted(inside, key=lambda t: abs(math.log(t))):
            if all(abs(math.log(tick / other)) >= apart for other in ticks):
                ticks.append(tick)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks([])
        axes.grid(axis="x")
        page.under(0, "time of head / time of base", 0.2, [1])
        return page.save(folder, "ratios")
