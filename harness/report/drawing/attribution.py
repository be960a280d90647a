"""Drawing of causes of differences: the ratio of two formats as a chain of steps, each of one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting
from harness.analysis.table import CaseKey
from harness.report.drawing.figure import FAINT, GREY, TEXT, Page, drawing, halo, line, moved, segments
from harness.report.drawing.ticks import across

# Colours of Okabe and Ito, as for formats; every bar also has its format and ratio next to it.
COLOURS = {
    "reader": "#0072B2",
    "settings": "#E69F00",
    "slimming": "#009E73",
    "container": "#CC79A7",
    "": "#9a9a9a",
}
NAMES = {
    "reader": "reader",
    "settings": "settings: layout and codec",
    "slimming": "slimming",
    "container": "container",
    "": "several together",
}
_CASE = list(CaseKey._fields)
_ACROSS = 3
_BAR = 0.15  # inches


def against(chains: pd.DataFrame, baseline: str) -> list[tuple[dict[Any, Any], list[dict[Any, Any]]]]:
    """Return each total of other formats over one format, with its steps; those of the reverse order are inverted."""
    mine = chains[(chains["compared"] == baseline) | (chains["compared_with"] == baseline)]
    numbers = mine.groupby([*_CASE, "compared", "compared_with"], sort=False, dropna=False).ngroup()
    groups: dict[int, list[dict[Any, Any]]] = {}
    for number, row in zip(numbers, mine.to_dict("records"), strict=True):
        groups.setdefault(number, []).append(row)
    found = []
    for rows in groups.values():
        turned = rows[0]["compared"] == baseline
        records = [turned_around(row) for row in rows] if turned else rows
        steps = [row for row in records if row["part"] == "step"]
        if turned:
            steps = steps[::-1]
        if any(step["due"] in COLOURS for step in steps):  # else no step has a single cause
            found.append((records[0], steps))
    return found


def turned_around(row: dict[Any, Any]) -> dict[Any, Any]:
    """Return a row with its two sides exchanged, and its ratio inverted."""
    ends = {name.removeprefix("against_") for name in row if str(name).startswith("against_")}
    turned = {name: row[f"against_{name}"] for name in ends} | {f"against_{name}": row[name] for name in ends}
    ratio = {"ratio": 1 / row["ratio"], "ratio_low": 1 / row["ratio_high"], "ratio_high": 1 / row["ratio_low"]}
    return row | turned | ratio | {"compared": row["compared_with"], "compared_with": row["compared"]}


def draw_attribution(chains: pd.DataFrame, baseline: str, folder: Path) -> list[Path]:
    """Draw the chains of reads by one thread against a format, for the trace that has most chains.

    The reads are warm; without warm reads, those of the first measured state of cold, lukewarm and remote. Returns the
    paths of ``attribution.svg`` and its PNG; empty if no step has a single cause.
    """
    shown = chains[chains["executor"] == "main"]
    for cache in ("warm", "cold", "lukewarm", "remote"):
        if (shown["cache"] == cache).any():
            shown = shown[shown["cache"] == cache]
            break
    found = against(shown, baseline)
    if not found:
        return []
    trace = pd.Series([total["trace"] for total, _ in found]).value_counts(sort=False).idxmax()
    found = [each for each in found if each[0]["trace"] == trace]
    others = formatting.ordered({str(total["compared"]) for total, _ in found})
    rows = -(-len(others) // _ACROSS)
    tallest = [max(_height(found, name) for name in others[k * _ACROSS : (k + 1) * _ACROSS]) for k in range(rows)]
    with drawing():
        page = Page(
            title=f"What is due to what: time over that of {baseline}, stock against stock",
            caption=[
                f"{formatting.pretty_trace(str(trace))}, {found[0][0]['cache']}, one thread. For each read, bars from "
                "top to bottom lead from 1 to the ratio of the two stock readers (diamond): each bar is one thing that "
                "differs, with its ratio and 95 % interval; to the right is slower. Ratios multiply to the total. The "
                "axis is logarithmic.",
            ],
            legend=[Line2D([], [], color=COLOURS[due], linewidth=6, label=NAMES[due]) for due in _dues(found)],
            heights=tallest,
            below=[0.45] * rows,
            widths=[1.0] * min(len(others), _ACROSS),
            headings=[""] * min(len(others), _ACROSS),
        )
        for (row, column), axes in page.axes.items():
            number = row * _ACROSS + column
            if number < len(others):
                mine = [each for each in found if each[0]["compared"] == others[number]]
                _panel(axes, mine, tallest[row] - _height(found, others[number]))
                axes.set_title(f"{others[number]} over {baseline}", fontsize=8, pad=4)
            else:
                axes.set_axis_off()
        return page.save(folder, "attribution")


_Chains = Sequence[tuple[dict[Any, Any], list[dict[Any, Any]]]]


def _due(step: dict[Any, Any]) -> str:
    return step["due"] if step["due"] in COLOURS else ""


def _dues(found: _Chains) -> list[str]:
    there = {_due(step) for _, steps in found for step in steps}
    return [due for due in COLOURS if due in there]


def _height(found: _Chains, name: str) -> float:
    return sum(_BAR * (len(steps) + 2.4) for total, steps in found if total["compared"] == name)


def _panel(axes: Axes, found: _Chains, spare: float) -> None:
    """Draw the chains of two formats, one below the other; `spare` inches stay empty."""
    y, ends = 0.0, [1.0]
    beside = axes.transData + moved(axes, 3, 0)
    bars: dict[str, list[tuple[float, float, float]]] = {}
    exact: list[tuple[float, float, float]] = []  # low, high, y
    joints: list[tuple[float, float]] = []
    totals: list[tuple[float, float, float, float]] = []
    for total, steps in found:
        y -= 1.2
        axes.text(
            0.01, y + 0.1, formatting.access(str(total["access"]), str(total["suite"])), fontsize=6.8,
            fontweight="bold", transform=axes.get_yaxis_transform(), va="center",
        )  # fmt: skip
        here = 1.0
        for step in steps:
            y -= 1
            there = here * step["ratio"]
            low, high = here * step["ratio_low"], here * step["ratio_high"]
            bars.setdefault(_due(step), []).append((y, there - here, here))
            exact.append((low, high, y))
            name = step["format"] if step["format"] == step["against_format"] else ""
            text = f"{name} {formatting.times(step['ratio'])}"
            axes.text(
                max(low, high, here, there), y, text.strip(), transform=beside, va="center", fontsize=5.8, color=TEXT,
            )  # fmt: skip
            joints.append((there, y))
            here = there
            ends += [low, high, there]
        y -= 0.9
        totals.append((total["ratio_low"], total["ratio"], total["ratio_high"], y))
        y -= 0.3
    for due, drawn in bars.items():
        places, widths, lefts = zip(*drawn, strict=True)
        axes.barh(places, widths, left=lefts, height=0.62, color=COLOURS[due], zorder=2)
    dark: Any = {"color": "black", "zorder": 3}
    ends_of = [(low, y) for low, _, y in exact], [(high, y) for _, high, y in exact]
    segments(axes, *ends_of, linewidth=0.7, path_effects=halo(0.7), **dark)
    segments(axes, joints, [(x, y - 1) for x, y in joints], color=GREY, linewidth=0.4, zorder=1)
    segments(axes, [(low, y) for low, *_, y in totals], [(high, y) for *_, high, y in totals], linewidth=0.9, **dark)
    _, middles, _, places = zip(*totals, strict=True)
    line(axes, middles, places, color="black", linestyle="", marker="D", markersize=3.4, zorder=4)
    axes.set_xscale("log")
    low, high = min(ends), max(ends)
    axes.set_xlim(low / 1.3, high * (high / low) ** 0.3 * 1.2)
    decades = np.log10(high / low)
    steps_ = (1, 2, 5) if decades < 1.6 else (1, 3) if decades < 2.5 else (1,)
    ticks = [s * 10.0**p for p in range(-4, 5) for s in steps_ if low / 1.3 <= s * 10.0**p <= high * 1.3]
    across(axes, ticks, [f"{tick:g}×" for tick in ticks], grid=True, size=6.5)
    axes.axvline(1, color=FAINT, linewidth=0.7, zorder=0)
    axes.set_ylim(y - spare / _BAR, 0)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
