"""Drawing of a search's candidates: size against time to read, with time to write as the area of a marker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting
from harness.records import CONTROL
from harness.report.drawing.figure import FAINT, Page, drawing

_ON, _CHOSEN = "#0072B2", "#D55E00"  # of Okabe & Ito (2008); in grey, shape and outline differ
_SMALLEST, _LARGEST = 3.6, 13.0  # diameters in points, for the fastest and the slowest write
_MOST_KEYS = 14
_LINE = 0.142  # inches per line of the key


def draw_front(table: pd.DataFrame, folder: Path, *, title: str, notes: list[str]) -> list[Path]:
    """Draw one panel per role, as ``front.svg`` and ``front.png``; equal tables give equal bytes.

    Parameters
    ----------
    table : DataFrame
        The tables of `harness.extensions.tune.result.Found` of all roles.
    folder : Path
        An existing folder for the files.
    title : str
        Title above the panels.
    notes : list of str
        Paragraphs that follow the explanation under the panels.
    """
    good = table[(table["status"] == "ok") & (table["candidate"] != CONTROL)]
    panels = {str(role): rows for role, rows in good.groupby("role", sort=False)}
    caption = [
        "Down and to the left is better. A point is one setting; its line is the 95 % interval of the time to read. "
        "The larger a marker, the longer writing takes: from the fastest to the slowest write in its panel.",
        *notes,
    ]
    keys = {role: _numbered(rows) for role, rows in panels.items()}
    with drawing():
        page = Page(
            title=title,
            caption=caption,
            legend=_legend(),
            heights=[max(2.0, 0.4 + _LINE * len(key)) for key in keys.values()],
            below=[0.66] * len(panels),
            widths=[1.3, 1.0],
            headings=["", ""],
        )
        for number, (role, rows) in enumerate(panels.items()):
            axes, beside = page.axes[number, 0], page.axes[number, 1]
            _panel(axes, rows, keys[role])
            axes.set_ylabel(f"size of {role} tensors", fontsize=8)
            page.under(number, f"time to read, for one access of the mix to {role} tensors", 0.28, [0])
            beside.set_axis_off()
            present = set(rows.loc[rows["choice"].str.contains("present"), "candidate"])
            named = [f"{key} (present)" if key in present else key for key in keys[role]]
            beside.text(
                0, 1, "\n".join(f"{place}  {key}" for place, key in enumerate(named, 1)), transform=beside.transAxes,
                va="top", fontsize=6.6, linespacing=1.5,
            )  # fmt: skip
        return page.save(folder, "front")


def _legend() -> list[Line2D]:
    def mark(label: str, **style: object) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **style)  # type: ignore[arg-type]

    return [
        mark("on the Pareto front", marker="o", color=_ON, markersize=6),
        mark("dominated, or dropped early", marker="o", markerfacecolor="none", markeredgecolor=FAINT, markersize=6),
        mark("present setting", marker="s", markerfacecolor="none", markeredgecolor="black", markersize=11),
        mark("chosen", marker="*", color=_CHOSEN, markersize=11),
    ]


def _numbered(rows: pd.DataFrame) -> list[str]:
    """Return the settings that get a number: those on the front by time to read, then present and chosen."""
    front = rows[rows["front"]].sort_values("wait", kind="stable")
    named = rows[rows["choice"].str.contains("present|chosen")]
    return list(dict.fromkeys([*front["candidate"].head(_MOST_KEYS), *named["candidate"]]))


def _panel(axes: Axes, rows: pd.DataFrame, keys: list[str]) -> None:
    across = _across(rows["write"].to_numpy(float))
    for (_, row), size in zip(rows.iterrows(), across, strict=True):
        x, y = float(row["wait"]), float(row["size_bytes"])
        on = bool(row["front"])
        colour = _ON if on else FAINT
        axes.plot([row["wait_low"], row["wait_high"]], [y, y], color=colour, linewidth=0.9, zorder=2)
        axes.plot(
            [x], [y], marker="o", markersize=size, color=colour, markerfacecolor=colour if on else "none",
            alpha=0.85, markeredgewidth=0.8, zorder=3 if on else 2,
        )  # fmt: skip
        part = str(row["choice"]).split()
        if "present" in part:
            axes.plot([x], [y], marker="s", markersize=_LARGEST + 3, markerfacecolor="none", color="black", zorder=4)
        if "chosen" in part:
            axes.plot([x], [y], marker="*", markersize=9, color=_CHOSEN, markeredgecolor="white", zorder=5)
        if row["candidate"] in keys:
            axes.annotate(
                str(keys.index(row["candidate"]) + 1), (x, y), xytext=(size / 2 + 3, 3), textcoords="offset points",
                fontsize=7.5, zorder=6,
            )  # fmt: skip
    _scale(axes, rows)


def _across(seconds: np.ndarray) -> np.ndarray:
    """Return the diameters of markers, whose areas grow with the logarithm of the time to write."""
    logs = np.log(np.maximum(seconds, 1e-9))
    spread = logs.max() - logs.min()
    part = (logs - logs.min()) / spread if spread > 0 else np.full(len(logs), 0.5)
    return np.sqrt(_SMALLEST**2 + part * (_LARGEST**2 - _SMALLEST**2))


def _scale(axes: Axes, rows: pd.DataFrame) -> None:
    low, high = float(rows["wait_low"].min()), float(rows["wait_high"].max())
    if low > 0:
        axes.set_xscale("log")
        low, high = low / 1.12, high * 1.2
        axes.set_xlim(low, high)
        steps = (1, 2, 5) if high / low > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
        ticks = [s * 10.0**p for p in range(-9, 5) for s in steps if low <= s * 10.0**p <= high]
        axes.set_xticks(ticks, [formatting.duration(t) for t in ticks])
        axes.set_xticks([], minor=True)
    else:  # a role that the mix never reads
        axes.xaxis.set_major_formatter(lambda value, _: formatting.duration(value))
    sizes = rows["size_bytes"].astype(float)
    room = 0.1 * (sizes.max() - sizes.min()) or 0.05 * sizes.max()
    axes.set_ylim(sizes.min() - room, sizes.max() + room)
    axes.yaxis.set_major_formatter(lambda value, _: formatting.size(value))
    axes.grid()
