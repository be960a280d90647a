"""Drawing of where the time of a read goes: open, metadata, file reads, decode, copy, rest of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.analysis import formatting
from harness.extensions.breakdown.analysis import OPENED, PARTS, PartOfRead, drawn_cells
from harness.report.drawing.figure import GREY, Page, drawing, halo, inches, segments
from harness.report.drawing.ticks import across, upwards

_ACROSS = 3
_ACCESSES = ("all_tensors", "attention_layer", "head", "pair_layer", "window_attention", "window_pair")
_NAMES = 7.5  # points
_WIDE = 1.3  # times the width of the bars, to fit the text next to them
_UNKNOWN: dict[str, Any] = {"facecolor": "none", "edgecolor": GREY, "linestyle": (0, (2, 2)), "linewidth": 0.8}


def draw_time(cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the cells of `where_time_goes`, for every access of one trace; draw nothing if nothing was measured."""
    if cells["total_seconds"].isna().all():
        return []
    trace, n_res, shown = drawn_cells(cells[cells["total_seconds"].notna()])
    shown = shown.assign(profile=shown["profile"].fillna(""))
    accesses = [name for name in _ACCESSES if (shown["access"] == name).any()]
    arms = formatting.arms_of(shown)
    unknown = shown[[*PARTS]].isna().all(axis=1).any()
    with drawing():
        rows = -(-len(accesses) // _ACROSS)
        columns = min(len(accesses), _ACROSS)
        page = Page(
            title="Where the time of a warm read goes: what each bar consists of, with the time of the read beside it",
            caption=_caption(trace, n_res, shown, unknown=bool(unknown)),
            legend=[
                *(Patch(label=part.called, **_style(part)) for part in OPENED.values()),  # type: ignore[list-item]
                *([Patch(label="no breakdown", **_UNKNOWN)] if unknown else []),  # type: ignore[list-item]
                Line2D([], [], color="black", linewidth=1.6, label="real read"),
            ],
            heights=[0.24 * len(arms) + 0.12] * rows,
            below=[0.62] * rows,
            widths=[1.0] * columns,
            headings=[""] * columns,
        )
        for k in range(rows * columns):
            axes = page.axes[divmod(k, columns)]
            if k >= len(accesses):
                axes.set_axis_off()
                continue
            _bars(axes, shown[shown["access"] == accesses[k]], arms, labelled=k % columns == 0)
            page.under(k // columns, "of the parts together", 0.26, [k % columns])
            axes.set_title(formatting.access(accesses[k]), fontsize=8, pad=5)
        return page.save(folder, "where_time_goes")


def _caption(trace: str, n_res: float, shown: pd.DataFrame, *, unknown: bool) -> list[str]:
    length = "" if np.isnan(n_res) else f", {n_res:.0f} residues"
    rounds = int(shown["rounds"].min())
    how = "One instrumented round" if rounds == 1 else f"The least disturbed of {rounds} instrumented rounds"
    empty = [
        "A format with an empty bar does not state where its bytes are: its reads were timed, without a breakdown."
    ]
    return [
        "Every bar is as long as its parts together, whatever they took: compare times by the figures beside the bars. "
        "Parts are measured by replay: the stored bytes that a read needs are read again, decoded by the format's "
        "codec called directly on one thread, and copied into place; metadata is the library's look-up of the tensor; "
        "the rest is what the library takes besides.",
        "The black line is the real read, opening included. Where parts reach beyond it, the library does better than "
        "one step after the other: it works on several threads, or decodes straight into the result.",
        *(empty if unknown else []),
        f"Trace: {formatting.pretty_trace(trace)}{length}. {how}, apart from the samples that verdicts are made of.",
    ]


def _style(part: PartOfRead) -> dict[str, Any]:
    edge = "white" if part.hatch else "#555555"
    return {"facecolor": part.colour, "hatch": part.hatch, "edgecolor": edge, "linewidth": 0.4}


def _bars(axes: Axes, cells: pd.DataFrame, arms: list[tuple[str, str]], *, labelled: bool) -> None:
    """Draw a bar for each arm, scaled to the longer of the sum of its parts and its read."""
    index = pd.MultiIndex.from_tuples(arms)
    own = cells.drop_duplicates(["format", "profile"]).set_index(["format", "profile"]).reindex(index)
    total = (own["total_seconds"] + own["open_seconds"]).to_numpy(float)
    known = own[[*PARTS]].notna().any(axis=1).to_numpy()
    # A negative rest shows as parts beyond the line.
    parts = np.nan_to_num(own[[*OPENED]].to_numpy(float)).clip(min=0)
    whole = np.fmax(parts.sum(axis=1), total)
    places, left = np.arange(len(arms)), np.zeros(len(arms))
    for part, seconds in zip(OPENED.values(), parts.T, strict=True):
        there = (seconds > 0) & ~np.isnan(total)
        share = np.divide(seconds, whole, where=there, out=np.zeros(len(arms)))
        if there.any():
            axes.barh(places[there], share[there], left=left[there], height=0.7, **_style(part))
        left += share
    apart = ~known & ~np.isnan(total)
    if apart.any():
        axes.barh(places[apart], 1 - left[apart], left=left[apart], height=0.7, **_UNKNOWN)
    reads: list[tuple[float, int]] = []
    for place, seconds, full in zip(range(len(arms)), total, whole, strict=True):
        if np.isnan(seconds):
            axes.text(0.02, place, "no result", va="center", fontsize=7, color=GREY)
            continue
        reads.append((seconds / full, place))
        axes.text(1.03, place, formatting.duration(float(seconds)), va="center", fontsize=7)
    ends = ([(x, place + side) for x, place in reads] for side in (-0.42, 0.42))
    segments(axes, *ends, color="black", linewidth=1.6, path_effects=halo(1.6))
    axes.set_xlim(0, _WIDE)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    names = [formatting.arm_name(arm, arms) for arm in arms]
    if max(inches(name, size=_NAMES) for name in names) > Page.LEFT - 0.1:  # it would leave the page
        names = [name.replace(" (", "\n(") for name in names]
    upwards(axes, range(len(arms)), names if labelled else [], mark=0, size=_NAMES)
    across(axes, [0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"], grid=True)
    axes.spines["bottom"].set_bounds(0, 1)
