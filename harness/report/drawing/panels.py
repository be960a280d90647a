"""Panels: their axes, and points with intervals for each format at each trace or length."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from harness.analysis import formatting as words
from harness.analysis.accesses import of_kind
from harness.analysis.formatting import Arm
from harness.report.drawing.figure import CEILING, GREY, ArmStyle, of_arm

BEST_MARK: dict[str, Any] = {"marker": "o", "fillstyle": "none", "markersize": 7.2, "markeredgewidth": 0.9}
"""A format at its best beside its stock reader: larger and hollow, in the shape of the format."""

DOTTED: dict[str, Any] = CEILING | {"linestyle": (0, (1, 1.5))}

_UPRIGHT = 26  # characters of a line of an upright label, unless a part of it is longer


def logarithmic(axes: Axes, low: float, high: float, *, seconds: bool) -> None:
    """Scale the y axis by the logarithm, with room around the values and ticks that a short range has too."""
    middle = math.sqrt(low * high)
    low, high = min(low / 1.25, middle / 2), max(high * 1.25, middle * 2)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.5 else (1, 3) if decades < 3.6 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(ticks, [words.duration(tick) if seconds else f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)  # each is as dear to draw as one with a label
    axes.grid(axis="y")


def linear(axes: Axes, high: float) -> None:
    """Scale the y axis from zero."""
    axes.set_ylim(-0.05 * high, 1.12 * high)  # a little below zero, so that a marker at zero is not cut
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y")


@dataclass(frozen=True)
class TraceAxis:
    """Panels that share an x axis: one trace at its lengths (`sweep`), or all traces that have only one.

    `keys` are trace and length in the order of positions; `upright` is whether labels must stand upright to fit.
    """

    title: str
    keys: tuple[tuple[str, float | None], ...]
    sweep: bool
    upright: bool = False

    @property
    def positions(self) -> list[float]:
        """Place of each key on the x axis."""
        return [math.log2(n or 1) if self.sweep else float(i) for i, (_, n) in enumerate(self.keys)]

    @property
    def labels(self) -> list[str]:
        """What the ticks say."""
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
        """Turn the labels if a panel of this width is too narrow for them to lie."""
        return replace(self, upright=not self.sweep and 0.058 * self._longest() > inches / (len(self.keys) + 0.1))

    def _longest(self) -> int:
        """Return the characters of the longest line."""
        return max(len(line) for label in self.labels for line in label.split("\n"))


def _tick(trace: str, n_res: float | None) -> str:
    name, _, parameters = trace.partition(":")
    # Of a long path the end says most, and the caption has all of it.
    parts = [p if len(p) <= 15 else f"…{p[-14:]}" for p in parameters.split(",") if p]
    parts = [name if len(name) <= 10 else name.replace("-", "-\n").replace(" (", "\n("), *parts]
    return "\n".join([*parts, f"{n_res:g} residues" if n_res else "no residues"])


def _folded(label: str) -> str:
    """Put the lines of a label into the fewest that are no longer than an upright label may be."""
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
    line: float | None,
    arms: dict[Arm, ArmStyle],
    unasked: Collection[str] = (),
) -> None:
    """Draw one panel: a point with its interval for each format, and a line only between lengths of one trace.

    Parameters
    ----------
    axes : Axes
        Where.
    points : DataFrame
        Columns ``trace, n_res, format, profile, best, y, low, high``; without an interval, low and high are NaN.
    axis : TraceAxis
        The x axis.
    line : float or None
        Where to draw a line across; then the ceiling, which is something else, is drawn dotted.
    arms : dict
        What to draw besides the ceiling, from the left.
    unasked : collection of str
        The traces of which the run did not ask this.
    """
    positions = np.array(axis.positions)
    closest = min(np.diff(positions)) if axis.sweep else 1.0
    spread = 0.16 * closest if axis.sweep else 0.66  # between the outermost formats, so that no interval hides another
    if line is not None:
        axes.axhline(line, **CEILING)
    flat = CEILING if line is None else DOTTED
    _ceiling(axes, positions, _values(points[of_kind(points, "ceiling")], axis), axis.sweep, flat)
    for k, (arm, style) in enumerate(arms.items()):
        mine = of_arm(points, arm)
        y, low, high = _values(mine[~mine["best"]], axis)
        best, *_ = _values(mine[mine["best"]], axis)
        if np.isnan(y).all() and np.isnan(best).all():
            continue
        x = positions + spread * ((k + 0.5) / len(arms) - 0.5)
        axes.plot(x, y, zorder=3, **style.line() | ({} if axis.sweep else {"linestyle": "none"}))
        if np.isfinite(low).any():  # sizes have no intervals
            bars = np.nan_to_num([y - low, high - y])
            axes.errorbar(x, y, yerr=bars, fmt="none", ecolor=style.colour, elinewidth=0.9, zorder=2)
        if np.isfinite(best).any():
            hollow = BEST_MARK | {"color": style.colour, "marker": style.marker, "linestyle": "none"}
            axes.plot(x, best, zorder=3, **hollow)
    for place, (trace, n_res) in zip(positions, axis.keys, strict=True):
        here = points["trace"].eq(trace) & ((points["n_res"] == n_res) | (not axis.sweep))
        if not here.any():
            axes.text(
                place, 0.5, "not asked" if trace in unasked else "no result", transform=axes.get_xaxis_transform(),
                rotation=90, color=GREY, fontsize=7, ha="center", va="center",
            )  # fmt: skip
    room = 0.35 * closest if axis.sweep else 0.55
    axes.set_xlim(positions[0] - room, positions[-1] + room)
    upright: Any = {"rotation": 90, "multialignment": "right"} if axis.upright else {}
    axes.set_xticks(positions, axis.labels, parse_math=False, **upright)
    if not axis.sweep:
        axes.tick_params(axis="x", length=0, labelsize=7)


def _values(points: pd.DataFrame, axis: TraceAxis) -> np.ndarray:
    """Return y, low and high at each position; NaN where there is no point, so that a line breaks there."""
    found = np.full((3, len(axis.keys)), np.nan)
    places = {key: place for place, key in enumerate(axis.keys)}
    for trace, n_res, *values in zip(*(points[name] for name in ("trace", "n_res", "y", "low", "high")), strict=True):
        place = places.get((trace, n_res), places.get((trace, None)))
        if place is not None:
            found[:, place] = values
    return found


def _ceiling(axes: Axes, positions: np.ndarray, values: np.ndarray, sweep: bool, style: dict[str, Any]) -> None:
    """Draw the raw ceiling, its interval as a band."""
    if np.isnan(values[0]).all():
        return
    pieces = [(positions, values)]
    if not sweep:
        pieces = [(np.array([p - 0.42, p + 0.42]), values[:, [i, i]]) for i, p in enumerate(positions)]
    for x, (y, low, high) in pieces:
        if np.isfinite(low).any():
            axes.fill_between(x, low, high, color=GREY, alpha=0.18, linewidth=0, zorder=1)
        axes.plot(x, y, **style)
