"""Ticks of a panel: one line for all marks, one for the grid, and a text for each label.

Matplotlib's own ticks, with an object for each, take a third of the time of a drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.markers import TICKDOWN, TICKLEFT

from harness.report.drawing.figure import inches, line, moved, segments

_MARK, _PAD, _APART = 3.5, 3.5, 4
"""In points: length of a mark, gap between it and its label, and gap between labels and the title of the axis."""

_GRID: dict[str, Any] = {"color": "#e2e2e2", "linewidth": 0.5, "zorder": 0.5}


def across(
    axes: Axes, places: Sequence[float] | np.ndarray, labels: Sequence[str] = (), *, grid: bool = False,
    mark: float = _MARK, size: float = 7.5, pad: float = _PAD, **text: Any,
) -> None:  # fmt: skip
    """Draw ticks of the x axis, in place of matplotlib's.

    Parameters
    ----------
    axes : Axes
        A panel whose limits are set.
    places : sequence of float
        Positions of the ticks.
    labels : sequence of str
        Labels of the ticks; empty for ticks without labels.
    grid : bool
        Whether to draw a grid line at each tick.
    mark : float
        Length of the marks in points; 0 for none.
    size, pad : float
        In points: size of labels, and their distance from the marks.
    text
        Further arguments of ``Axes.text``.
    """
    axes.xaxis.set_visible(False)
    within = axes.get_xaxis_transform()
    if grid:
        segments(axes, [(x, 0) for x in places], [(x, 1) for x in places], transform=within, **_GRID)
    if mark:
        line(axes, places, [0] * len(places), transform=within, **_marks(TICKDOWN, mark))
    below = within + moved(axes, 0, -(mark + pad))
    for x, label in zip(places, labels, strict=False):
        how: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": size} | text
        axes.text(x, 0, label, transform=below, **how)


def upwards(
    axes: Axes, places: Sequence[float] | np.ndarray, labels: Sequence[str] = (), *, grid: bool = False,
    mark: float = _MARK, size: float = 7.5, pad: float = _PAD, title: str = "", **text: Any,
) -> None:  # fmt: skip
    """Draw ticks of the y axis, in place of matplotlib's; as `across`, with an axis title left of all labels."""
    axes.yaxis.set_visible(False)
    within = axes.get_yaxis_transform()
    if grid:
        segments(axes, [(0, y) for y in places], [(1, y) for y in places], transform=within, **_GRID)
    if mark:
        line(axes, [0] * len(places), places, transform=within, **_marks(TICKLEFT, mark))
    beside = within + moved(axes, -(mark + pad), 0)
    for y, label in zip(places, labels, strict=False):
        how: dict[str, Any] = {"ha": "right", "va": "center_baseline", "fontsize": size} | text
        axes.text(0, y, label, transform=beside, **how)
    if title:
        room = 72 * max((inches(label, size=size) for label in labels), default=0.0) + _APART
        axes.text(
            0, 0.5, title, transform=axes.transAxes + moved(axes, -(mark + pad + room), 0), rotation=90, ha="right",
            va="center", fontsize=8, multialignment="center",
        )  # fmt: skip


def _marks(marker: int, size: float) -> dict[str, Any]:
    return {
        "color": "black", "linestyle": "none", "marker": marker, "markersize": size, "markeredgewidth": 0.8,
        "clip_on": False, "zorder": 2,
    }  # fmt: skip
