"""One picture of where the time of a read goes: open, metadata, file reads, decode, copy, rest of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from harness.analysis import formatting as words
from harness.extensions.breakdown.analysis import OPENED, PartOfRead, drawn_cells
from harness.report.drawing.figure import Page, drawing

_ACROSS = 3
_ACCESSES = ("all_tensors", "attention_layer", "head", "pair_layer", "window_attention", "window_pair")


def draw_time(cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the cells of `where_time_goes`, for every access of one trace; nothing when nothing was measured."""
    if cells["total_seconds"].isna().all():
        return []
    trace, n_res, shown = drawn_cells(cells[cells["total_seconds"].notna()])
    accesses = [name for name in _ACCESSES if (shown["access"] == name).any()]
    arms = words.arms_of(shown)
    with drawing():
        rows = -(-len(accesses) // _ACROSS)
        across = min(len(accesses), _ACROSS)
        tall = 0.24 * len(arms) + 0.12
        length = "" if np.isnan(n_res) else f", {n_res:.0f} residues"
        page = Page(
            title="Where the time of a warm read goes (shorter is better)",
            caption=[
                "Parts are measured by replay: the stored bytes that a read needs are read again, decoded by the "
                "format's codec called directly on one thread, and copied into place; metadata is the library's "
                "look-up of the tensor; the rest is what the library takes besides.",
                "The black line is the time of the real read, opening included. Where parts reach beyond it, the "
                "library does better than one step after the other: it works on several threads, or decodes straight "
                "into the result. Each panel has its own time axis, from zero; a bar that would dwarf all others is "
                "cut off and has its time written on it.",
                f"Trace: {words.pretty_trace(trace)}{length}. The least disturbed of "
                f"{int(shown['rounds'].min())} rounds, apart from the samples that verdicts are made of.",
            ],
            legend=[
                *(Patch(label=part.called, **_style(part)) for part in OPENED.values()),  # type: ignore[list-item]
                Line2D([], [], color="black", linewidth=1.6, label="real read"),
            ],
            heights=[tall] * rows,
            below=[0.62] * rows,
            widths=[1.0] * across,
            headings=[""] * across,
        )
        for k in range(rows * across):
            axes = page.axes[divmod(k, across)]
            if k >= len(accesses):
                axes.set_axis_off()
                continue
            _bars(axes, shown[shown["access"] == accesses[k]], arms, labelled=k % across == 0)
            axes.set_title(words.access(accesses[k]), fontsize=8, pad=5)
        return page.save(folder, "where_time_goes")


_FAR = 4.0  # times the second longest bar, from which on the longest is cut off


def _style(part: PartOfRead) -> dict[str, Any]:
    edge = "white" if part.hatch else "#555555"
    return {"facecolor": part.colour, "hatch": part.hatch, "edgecolor": edge, "linewidth": 0.4}


def _bars(axes: Axes, cells: pd.DataFrame, arms: list[tuple[str, str]], *, labelled: bool) -> None:
    rows = {arm: cells[(cells["format"] == arm[0]) & (cells["profile"] == arm[1])] for arm in arms}
    shown = {arm: row.iloc[0] for arm, row in rows.items() if len(row)}
    ends = {arm: _end(row) for arm, row in shown.items()}
    limit = _limit(list(ends.values()))
    for place, arm in enumerate(arms):
        if arm not in shown:
            axes.text(0, place, " no result", va="center", fontsize=7, color="#6e6e6e")
            continue
        start = 0.0
        for column, part in OPENED.items():
            value = float(shown[arm][column])
            if value > 0:  # a negative rest shows as parts that reach beyond the line
                axes.barh(place, value, left=start, height=0.7, **_style(part))
                start += value
        total = float(shown[arm]["total_seconds"] + shown[arm]["open_seconds"])
        if ends[arm] > limit:
            axes.text(
                0.98, place, f"cut off: {words.duration(total)}", transform=axes.get_yaxis_transform(), fontsize=7,
                ha="right", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        else:
            line = [place - 0.42, place + 0.42]
            axes.plot([total, total], line, color="black", linewidth=1.6, solid_capstyle="butt")
    axes.set_xlim(0, limit)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks(range(len(arms)), [words.arm_name(arm, arms) for arm in arms] if labelled else [])
    axes.tick_params(axis="y", length=0)
    unit, factor = next((u, f) for u, f in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if limit >= f or u == "µs")
    ticks = [t for t in MaxNLocator(nbins=4).tick_values(0, limit / factor) if 0 <= t <= limit / factor]
    axes.set_xticks([t * factor for t in ticks], [f"{t:g}" for t in ticks])
    axes.set_xlabel(f"time ({unit})", fontsize=7.5, labelpad=2)
    axes.grid(axis="x")


def _end(row: pd.Series) -> float:
    """Return where a bar ends: at the real read, or where its parts reach."""
    parts = sum(max(float(row[column]), 0.0) for column in OPENED if not np.isnan(row[column]))
    return max(parts, float(row["total_seconds"] + row["open_seconds"]))


def _limit(ends: list[float]) -> float:
    """Return the end of the axis: that of the longest bar, unless it would make all others too short to see."""
    *others, most = sorted(ends)
    return 1.4 * others[-1] if others and most > _FAR * others[-1] else 1.06 * most
