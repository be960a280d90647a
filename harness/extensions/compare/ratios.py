"""Drawing of the change of every time between two sides: a point with its interval on a logarithmic axis of ratios."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.analysis import formatting
from harness.extensions.compare.outcome import WORDS, Outcome
from harness.report.drawing.figure import FAINT, GREY, Page, drawing

# Of Okabe & Ito (2008): distinct in the common colour deficiencies; the shapes are distinct in greyscale print.
_LOOKS = {
    "slower": ("#D55E00", "^", "slower, confirmed"),
    "inconclusive": ("#000000", "o", "inconclusive"),
    "no regression": ("#0072B2", "s", "no regression"),
    "faster": ("#009E73", "v", "faster"),
}
_ROW = 0.165  # inches
_CHARACTER = 0.066  # inches
_NAMES = (1.2, 4.7)  # inches
_LONGEST = 80  # characters of a name
_TICKS = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


def draw_ratios(outcome: Outcome, folder: Path) -> list[Path]:
    """Draw one row per cell of an outcome that has times.

    Returns
    -------
    list of Path
        ``ratios.svg`` and ``ratios.png``; equal outcomes give equal bytes.
    """
    points, threshold = outcome.of("times"), outcome.threshold
    names = [outcome.name(point) for point in points]
    labels = [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names]
    present = [word for word in _LOOKS if any(point.verdict == word for point in points)]
    legend: list[Line2D] = [
        Line2D([], [], linestyle="none", color=_LOOKS[w][0], marker=_LOOKS[w][1], markersize=5, label=_LOOKS[w][2])
        for w in present
    ]
    band: Patch = Patch(facecolor="#eeeeee", edgecolor=FAINT, label=f"less than {100 * threshold:g} % slower")
    caption = [
        "Time of head divided by base's, paired by round, with its 95 % interval.",
        f"Trace: {formatting.listed(outcome.subjects)}.",
        *outcome.notes,
    ]
    room = sum(Page.shares([1.0, 1.0]))
    wide = min(max(_CHARACTER * max(map(len, labels)), _NAMES[0]), _NAMES[1])
    with drawing():
        page = Page(
            title=f"{outcome.head} (head) against {outcome.base} (base): {WORDS[outcome.exit_code]}", caption=caption,
            legend=[*legend, band], heights=[_ROW * len(points) + 0.2],  # type: ignore[list-item]
            below=[0.46], widths=[wide, room - wide], headings=["", ""],
        )  # fmt: skip
        beside, axes = page.axes[0, 0], page.axes[0, 1]
        beside.set_axis_off()
        rows = [len(points) - 1 - k for k in range(len(points))]
        band_width = math.log(1 + threshold)
        low = min([-band_width, *(math.log(p.ratio_low) for p in points)]) - 0.25 * band_width
        high = max([band_width, *(math.log(p.ratio_high) for p in points)]) + 0.25 * band_width
        axes.axvspan(1, 1 + threshold, color="#eeeeee", zorder=0, linewidth=0)
        axes.axvline(1, color=GREY, linewidth=0.9, zorder=1)
        for row, point, label in zip(rows, points, labels, strict=True):
            colour, marker, _ = _LOOKS[point.verdict]
            axes.plot([point.ratio_low, point.ratio_high], [row, row], color=colour, linewidth=1.1, zorder=2)
            axes.plot([point.ratio], [row], color=colour, marker=marker, markersize=4.6, linestyle="none", zorder=3)
            beside.text(1.0, row, label, ha="right", va="center", fontsize=7)
        for panel in (beside, axes):
            panel.set_ylim(-0.8, len(points) - 0.2)
        axes.set_xscale("log")
        axes.set_xlim(math.exp(low), math.exp(high))
        ticks = _ticks(low, high)
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set_yticks([])
        axes.grid(axis="x")
        page.under(0, "time of head / time of base (log axis; left of 1 head is faster)", 0.26, [1])
        return page.save(folder, "ratios")


def _ticks(low: float, high: float) -> list[float]:
    """Return ticks between two logarithms, chosen from 1 outwards with room between them."""
    ticks = [1.0]
    for tick in sorted(_TICKS, key=lambda tick: abs(math.log(tick))):
        room = all(abs(math.log(tick / other)) >= (high - low) / 9 for other in ticks)
        if low <= math.log(tick) <= high and room:
            ticks.append(tick)
    return ticks
