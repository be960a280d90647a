"""Panels: their axes, and points with intervals for each format at each trace or length."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator

from harness.analysis import formatting
from harness.analysis.formatting import Arm
from harness.records import kind_of
from harness.report.drawing.figure import CEILING, GREY, ArmStyle, line, segments
from harness.report.drawing.ticks import across, upwards

BEST_MARK: dict[str, Any] = {"marker": "o", "fillstyle": "none", "markersize": 7.2, "markeredgewidth": 0.9}
"""Marker of a format at its best, next to its stock reader: larger and hollow, in the shape of the format."""

DOTTED: dict[str, Any] = CEILING | {"linestyle": (0, (1, 1.5))}

_UPRIGHT = 26  # characters of a line of an upright label, unless a part of it is longer


def logarithmic(axes: Axes, low: float, high: float, *, seconds: bool, labelled: bool = True, **how: Any) -> None:
    """Set a logarithmic y axis, with room around the values, and with several ticks for a short range too.

    `how` holds the arguments of `harness.report.drawing.ticks.upwards` other than places and labels.
    """
    middle = math.sqrt(low * high)
    low, high = min(low / 1.25, middle / 2), max(high * 1.25, middle * 2)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.5 else (1, 3) if decades < 3.6 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    _labelled(axes, ticks, [formatting.duration(tick) if seconds else f"{tick:g}" for tick in ticks], labelled, how)


def linear(axes: Axes, high: float, *, labelled: bool = True, **how: Any) -> None:
    """Set a linear y axis that starts at zero; the rest is as for `logarithmic`."""
    low, most = -0.05 * high, 1.12 * high  # a little below zero, so that a marker at zero is not cut
    axes.set_ylim(low, most)
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, most)]
    ticks = [tick for tick in ticks if low <= tick <= most]
    _labelled(axes, ticks, [f"{tick:g}" for tick in ticks], labelled, how)


def _labelled(axes: Axes, ticks: list[float], labels: list[str], labelled: bool, how: dict[str, Any]) -> None:
    upwards(axes, ticks, labels if labelled else (), grid=True, **({} if labelled else {"mark": 0}) | how)


@dataclass(frozen=True)
class TraceAxis:
    """An x axis that panels share: one trace at its lengths (`sweep`), or all traces that have only one.

    `keys` are trace and length in the order of positions. `upright`: whether labels are turned by 90 degrees to fit.
    `joined`: whether lines join lengths, which must not be if these were measured on different nodes.
    """

    title: str
    keys: tuple[tuple[str, float | None], ...]
    sweep: bool
    upright: bool = False
    joined: bool = True

    @property
    def positions(self) -> list[float]:
        """Place of each key on the x axis."""
        return [math.log2(n or 1) if self.sweep else float(i) for i, (_, n) in enumerate(self.keys)]

    @property
    def labels(self) -> list[str]:
        """Labels of the ticks."""
        texts = [f"{n:g}" if self.sweep else _tick(trace, n) for trace, n in self.keys]
        return [_folded(text) for text in texts] if self.upright else texts

    @property
    def drop(self) -> float:
        """Inches that the tick labels take."""
        if self.upright:
            return 0.1 + 0.05 * self._longest()
        return 0.22 + 0.13 * max(label.count("\n") for label in self.labels)

    @property
    def below(self) -> float:
        """Inches that the tick labels and the axis label take."""
        return self.drop + (0.24 if self.sweep else 0.06)

    def fitted(self, inches: float) -> TraceAxis:
        """Return the axis with turned labels, if a panel of this width is too narrow for horizontal ones."""
        return replace(self, upright=not self.sweep and 0.058 * self._longest() > inches / (len(self.keys) + 0.1))

    def _longest(self) -> int:
        """Return the number of characters of the longest line."""
        return max(len(line) for label in self.labels for line in label.split("\n"))


def _tick(trace: str, n_res: float | None) -> str:
    name, _, parameters = trace.partition(":")
    # The end of a long path identifies it best, and the caption has all of it.
    parts = [p if len(p) <= 15 else f"…{p[-14:]}" for p in parameters.split(",") if p]
    parts = [name if len(name) <= 10 else name.replace("-", "-\n").replace(" (", "\n("), *parts]
    return "\n".join([*parts, f"{n_res:g} residues" if n_res else "no residues"])


def _folded(label: str) -> str:
    """Join the lines of a label to the fewest lines that are short enough for an upright label."""
    first, *parts = label.replace("-\n", "-").split("\n")
    lines = [first]
    for part in parts:
        if len(lines[-1]) + 2 + len(part) <= _UPRIGHT:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return ",\n".join(lines)


def panel(
    axes: Axes,
    points: pd.DataFrame,
    axis: TraceAxis,
    rule: float | None,
    arms: dict[Arm, ArmStyle],
    *,
    unasked: Collection[str] = (),
    labelled: bool = True,
) -> None:
    """Draw one panel: a point with its interval for each format, and a line only between lengths of one trace.

    Parameters
    ----------
    axes : Axes
        The panel.
    points : DataFrame
        Columns ``trace, n_res, format, profile, best, y, low, high``; without an interval, low and high are NaN.
    axis : TraceAxis
        The x axis.
    rule : float or None
        Value at which to draw a horizontal line; the ceiling, which is something else then, is drawn dotted.
    arms : dict
        What to draw in addition to the ceiling, from the left.
    unasked : collection of str
        The traces for which the run did not plan this access.
    labelled : bool
        Whether ticks have labels with trace or length.
    """
    positions = np.array(axis.positions)
    closest = min(np.diff(positions)) if axis.sweep else 1.0
    lines = axis.sweep and axis.joined
    spread = 0.16 * closest if axis.sweep else 0.66  # between the outermost formats, so that no interval hides another
    room = 0.35 * closest if axis.sweep else 0.55
    axes.set_xlim(positions[0] - room, positions[-1] + room)
    if rule is not None:
        axes.axhline(rule, **CEILING)
    found, none = _values(points, axis), np.full((3, len(positions)), np.nan)
    for (name, *_), values in found.items():
        if kind_of(name) == "ceiling":
            _ceiling(axes, positions, values, lines, CEILING if rule is None else DOTTED)
    for k, (arm, style) in enumerate(arms.items()):
        (y, low, high), (best, *_) = (found.get((*arm, best), none) for best in (False, True))
        if np.isnan(y).all() and np.isnan(best).all():
            continue
        x = positions + spread * ((k + 0.5) / len(arms) - 0.5)
        line(axes, x, y, zorder=3, **style.line() | ({} if lines else {"linestyle": "none"}))
        if np.isfinite(low).any():  # sizes have no intervals
            segments(axes, list(zip(x, low, strict=True)), list(zip(x, high, strict=True)),
                     color=style.colour, linewidth=0.9, zorder=2)  # fmt: skip
        if np.isfinite(best).any():
            hollow = BEST_MARK | {"color": style.colour, "marker": style.marker, "linestyle": "none"}
            line(axes, x, best, zorder=3, **hollow)
    shown = set(zip(points["trace"], points["n_res"], strict=True)) if axis.sweep else set(points["trace"])
    for place, (trace, n_res) in zip(positions, axis.keys, strict=True):
        if ((trace, n_res) if axis.sweep else trace) not in shown:
            axes.text(
                place, 0.5, "not asked" if trace in unasked else "no result", transform=axes.get_xaxis_transform(),
                rotation=90, color=GREY, fontsize=7, ha="center", va="center",
            )  # fmt: skip
    upright: Any = {"rotation": 90, "multialignment": "right"} if axis.upright else {}
    labels = axis.labels if labelled else ()
    if axis.sweep:
        across(axes, positions, labels, **upright)
    else:
        across(axes, positions, labels, mark=0, size=7, **upright)


def _values(points: pd.DataFrame, axis: TraceAxis) -> dict[tuple[str, str, bool], np.ndarray]:
    """Return y, low and high at each position, by format, profile and whether that is at its best.

    They are NaN where there is no point, so that a line breaks there.
    """
    found: dict[tuple[str, str, bool], np.ndarray] = {}
    places = {key: place for place, key in enumerate(axis.keys)}
    columns = (points[name] for name in ("trace", "n_res", "format", "profile", "best", "y", "low", "high"))
    for trace, n_res, name, profile, best, *values in zip(*columns, strict=True):
        place = places.get((trace, n_res), places.get((trace, None)))
        if place is not None:
            found.setdefault((name, profile, best), np.full((3, len(axis.keys)), np.nan))[:, place] = values
    return found


def _ceiling(axes: Axes, positions: np.ndarray, values: np.ndarray, sweep: bool, style: dict[str, Any]) -> None:
    """Draw the raw ceiling, its interval as a band."""
    x, (y, low, high) = positions, values
    if not sweep:  # at each position a line of its own
        x = np.array([place + side for place in positions for side in (-0.42, 0.42, math.nan)])
        y, low, high = (np.repeat(part, 3) for part in values)
    band = np.isfinite(low) & np.isfinite(x)
    for first, last in np.flatnonzero(np.diff([False, *band, False])).reshape(-1, 2):
        here = slice(first, last)
        corners = zip([*x[here], *x[here][::-1]], [*low[here], *high[here][::-1]], strict=True)
        axes.add_artist(Polygon(list(corners), facecolor=GREY, alpha=0.18, linewidth=0, zorder=1))
    line(axes, x, y, **style)
