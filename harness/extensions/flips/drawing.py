"""Drawing of where the choice of a format flips: one bar per weight of a mix, divided by the cheapest format."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter, NullLocator

from harness.analysis import formatting
from harness.analysis.choice.decision import Decision
from harness.analysis.choice.mix import several
from harness.analysis.choice.sensitivity import Flip
from harness.formats.style import Style, styles
from harness.report.drawing.figure import TEXT, drawing, halo, save_figure

_WIDTH, _LEFT, _BAR_WIDTH = 9.6, 1.95, 4.9  # inches; the space right of the bars is for text
_BAR, _ROW = 0.24, 0.66
_WORDS = 42  # characters that fit next to a bar
_LABELS = {
    "cold": "accesses that find\na cold cache",
    "opens": "accesses that\nopen the archive",
    "readers": "readers at a time\n(log axis)",
    "reads_per_write": "accesses for each\nwrite (log axis)",
    "storage_price": "price of storage\n(s/GB, log axis)",
}


def draw_flips(decision: Decision, folder: Path) -> list[Path]:
    """Draw where the choice of one decision flips, as ``decision.svg`` and PNG, for every weight with a known flip.

    Returns the files; none if no flip is known or the decision prefers no format.
    """
    shown = [flip for flip in decision.flips if _known(flip)]
    if decision.preferred is None or not shown:
        return []
    with drawing():
        return save_figure(_figure(decision, shown), folder, "decision")


def _known(flip: Flip) -> bool:
    """Return whether a flip to another format is known: a complete interval lies within the range of the weight."""
    first, last = flip.segments[0][0], flip.segments[-1][1]
    low, high = flip.low_interval, flip.high_interval
    below = low is not None and first < min(low[0], flip.stays_low)
    return below or (high is not None and max(high[1], flip.stays_high) < last)


def _figure(decision: Decision, flips: list[Flip]) -> Figure:
    drawn = styles(name for flip in flips for *_, name in flip.segments)
    caption = _caption(decision, flips)
    top, bottom = 0.98, 0.2 + 0.15 * len(caption)
    height = top + _ROW * len(flips) + bottom
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)

    def write(x: float, y: float, text: str, **how: Any) -> None:
        """Write text at a position in inches."""
        figure.text(x / _WIDTH, y / height, text, **({"va": "top"} | how))

    write(0.15, height - 0.12, _title(decision), fontsize=10.5, fontweight="bold")
    write(0.15, height - 0.36, _answer(decision), fontsize=8.5, color=TEXT)
    figure.legend(
        handles=[Patch(**_area(style), label=name) for name, style in drawn.items()], loc="upper left",
        bbox_to_anchor=(_LEFT / _WIDTH, 1 - 0.58 / height), ncols=len(drawn), frameon=False, borderaxespad=0,
        borderpad=0, handlelength=2.4, handleheight=1.1, fontsize=8,
    )  # fmt: skip
    for row, flip in enumerate(flips):
        y = height - top - _ROW * row - _BAR
        axes = figure.add_axes((_LEFT / _WIDTH, y / height, _BAR_WIDTH / _WIDTH, _BAR / height))
        _row(axes, flip, drawn)
        write(_LEFT - 0.12, y + _BAR / 2, _label(flip.weight), ha="right", va="center", fontsize=8)
        write(_LEFT + _BAR_WIDTH + 0.15, y + _BAR / 2, _words(flip), va="center", fontsize=7.5, linespacing=1.2)
    write(0.15, bottom - 0.08, "\n".join(caption), fontsize=7.5, linespacing=1.3, color=TEXT)
    return figure


def _area(style: Style) -> dict[str, Any]:
    """Return the fill of a format's areas: its colour made pale, with its hatch."""
    pale = tuple(0.45 * part + 0.55 for part in to_rgb(style.colour))
    return {"facecolor": pale, "edgecolor": style.colour, "hatch": style.hatch}


def _label(weight: str) -> str:
    """Return the label of a weight of the mix; a weight without a label is the share of an access."""
    return _LABELS.get(weight) or "\n".join(textwrap.wrap(f"share of {several(weight)}", 20))


def _name(weight: str) -> str:
    return _label(weight).replace("\n", " ").replace(" (log axis)", "").replace(" (s/GB, log axis)", "")


def _row(axes: Axes, flip: Flip, drawn: dict[str, Style]) -> None:
    """Draw one bar: its parts, the value of the mix, and the interval of each flip."""
    low, high = _span(flip)
    outside: Any = {"color": "black", "clip_on": False, "solid_capstyle": "butt"}
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1)
    if flip.log:
        axes.set_xscale("log")
    for index, (start, end, name) in enumerate(flip.segments):
        if flip.weight == "readers" and index == len(flip.segments) - 1:
            end = high  # draw the largest measured number as wide as the steps before it
        start, end = max(start, low), min(end, high)
        axes.axvspan(start, end, **_area(drawn[name]), lw=0)
        place = _place(axes, start, end, flip.value, name)
        if place is not None:
            axes.text(
                place, 0.5, name, transform=axes.transAxes, ha="center", va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2}, zorder=3,
            )  # fmt: skip
        if index:
            axes.axvline(start, color="white", linewidth=1.6)
    value = min(max(flip.value, low), high)
    axes.plot([value, value], [-0.12, 1.3], linewidth=2.0, zorder=4, path_effects=halo(2.0), **outside)
    axes.plot([value], [1.3], marker="v", markersize=5, zorder=4, **outside)
    axes.annotate(
        _number(flip, flip.value), (value, 1.3), xytext=(5, 0), textcoords="offset points", fontsize=7.5, va="center",
        fontweight="bold", annotation_clip=False,
    )  # fmt: skip
    for interval in filter(None, (flip.low_interval, flip.high_interval)):
        ends = [min(max(x, low), high) for x in interval]
        axes.plot(ends, [-0.16, -0.16], linewidth=1.0, marker="|", markersize=5, zorder=5, **outside)
    _ticks(axes, flip, low, high)


def _place(axes: Axes, start: float, end: float, value: float, name: str) -> float | None:
    """Return the x position of a name in a part of the bar, clear of the marker; None if it does not fit.

    The legend lists names that do not fit.
    """
    left, right, marker = (
        axes.transAxes.inverted().transform(axes.transData.transform((x, 0)))[0] for x in (start, end, value or start)
    )
    room = (0.075 * len(name) + 0.16) / _BAR_WIDTH
    middle = (left + right) / 2
    if left < marker < right and abs(marker - middle) < 0.6 * room:
        left, right = max((left, marker), (marker, right), key=lambda part: part[1] - part[0])
    return float((left + right) / 2) if right - left > room else None


def _span(flip: Flip) -> tuple[float, float]:
    """Return the range of the axis: 0 to 1 for shares; for unbounded weights all known values plus one decade."""
    if not flip.log:
        return 0.0, 1.0
    first, last = flip.segments[0][0], flip.segments[-1][1]
    if flip.weight == "readers":
        return first, last * math.sqrt(2)
    if math.isfinite(last) and first > 0:
        return first, last
    ends = [x for start, end, _ in flip.segments for x in (start, end)]
    known = [flip.value, *ends, *(flip.low_interval or ()), *(flip.high_interval or ())]
    known = [x for x in known if x > 0 and math.isfinite(x)] or [1.0]
    return 10.0 ** (math.floor(math.log10(min(known))) - 1), 10.0 ** (math.ceil(math.log10(max(known))) + 1)


def _ticks(axes: Axes, flip: Flip, low: float, high: float) -> None:
    if not flip.log:
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    elif flip.weight == "readers":
        ticks = [2**k for k in range(int(math.log2(low)), int(math.log2(high)) + 1)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    else:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        axes.set_xticks([10.0**power for power in powers], [_short(10.0**power) for power in powers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7, pad=4, length=3)
    axes.spines["left"].set_visible(False)


def _words(flip: Flip) -> str:
    """Return the text next to the bar: the values at which the answer stops being valid."""
    lines = []
    before = next((name for _, end, name in flip.segments[:-1] if end == flip.stays_low), None)
    after = next((name for start, _, name in flip.segments[1:] if start == flip.stays_high), None)
    for word, other, end, interval in (
        ("below", before, flip.stays_low, flip.low_interval),
        ("from", after, flip.stays_high, flip.high_interval),
    ):
        if other is not None and interval is not None:
            text = f"{other} {word} {_number(flip, end)} ({_interval(flip, interval)})"
            lines.append(text if len(text) <= _WORDS else text.replace(" (", "\n("))
        elif interval is not None and interval[0] < interval[1]:
            edge = interval[1] if word == "below" else interval[0]
            lines.append(f"{word} {_number(flip, edge)}: not sure")
    return "\n".join(lines)


def _interval(flip: Flip, interval: tuple[float, float]) -> str:
    low, high = interval
    if not math.isfinite(low):
        return f"up to {_number(flip, high)}, or never"
    if not math.isfinite(high):
        return f"from {_number(flip, low)}, or never"
    return f"{_number(flip, low).removesuffix(' s/GB')} to {_number(flip, high)}"


def _number(flip: Flip, value: float) -> str:
    if not flip.log:
        return f"{100 * value:.3g} %"
    return _short(value) + (" s/GB" if flip.unit == "s/GB" else "")


def _short(value: float) -> str:
    """Write a number of any size in few characters."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    if value >= 1e4:
        return f"{value / 1e3:.3g} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _title(decision: Decision) -> str:
    name = textwrap.shorten(decision.mix.name, 40, placeholder="…")
    return f"Where the choice flips: what the mix {name!r} would have to be for another format"


def _answer(decision: Decision) -> str:
    length = f", {decision.n_res} residues" if decision.n_res else ""
    seconds = decision.costs["cost_seconds"].iloc[0]
    text = f"{formatting.pretty_trace(decision.trace)}{length}: {decision.preferred} is the cheapest, "
    text += f"{formatting.duration(seconds)} per access"
    if others := decision.indistinguishable:
        verb = "is" if len(others) == 1 else "are"
        text += f"; {formatting.listed(others)} {verb} statistically indistinguishable from it"
    return text + "."


def _caption(decision: Decision, shown: list[Flip]) -> list[str]:
    text = [
        "Each bar varies one weight of the mix, the others as they are (the other shares keep their proportions); its "
        "parts are the cheapest format. Triangle: the value of the mix. Line under the bar: 95 % bootstrap interval, "
        f"over rounds, of where {decision.preferred} stops being the cheapest.",
    ]
    others: dict[bool, list[str]] = {True: [], False: []}
    for flip in decision.flips:
        if flip not in shown:
            stays = flip.stays and flip.low_interval is flip.high_interval is None
            others[stays].append(_name(flip.weight))
    if others[True]:
        text.append(f"{decision.preferred} is the cheapest at every value of {formatting.listed(others[True])}.")
    if others[False]:
        text.append(f"Whether the choice flips, and where, is not known for {formatting.listed(others[False])}.")
    text += decision.assumptions
    if decision.out:
        text.append("Not compared: " + "; ".join(f"{name} ({why})" for name, why in decision.out.items()) + ".")
    return [line for paragraph in text for line in textwrap.wrap(paragraph, 158)]
