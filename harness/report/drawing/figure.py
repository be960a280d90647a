"""A page of small panels: how formats look, where panels stand, what axes say, and files that appear whole."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from harness.files import appearing
from harness.records import RAW

Arm = tuple[str, str]  # format and profile

GREY = "#6e6e6e"
FAINT = "#9a9a9a"
CEILING: dict[str, Any] = {"color": GREY, "linestyle": (0, (5, 3)), "linewidth": 1.1, "zorder": 1}

N_RES = r"$N_\mathrm{res}$"

# Nothing is left to a user's matplotlibrc, and the salt keeps the identifiers inside an SVG the same in every drawing.
_RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "trace-format-harness",
}

# Colours of Okabe & Ito (2008), which stay apart in the common colour deficiencies; the shapes do so in grey print.
_KNOWN: dict[str, tuple[str, str, Any]] = {
    "npz": ("#E69F00", "^", (0, (4, 1.2))),
    "hdf5": ("#0072B2", "s", (0, (1, 1))),
    "zarr": ("#D55E00", "o", (0, (6, 1.2, 1, 1.2))),
    "zarr-slim": ("#009E73", "D", "solid"),
    "safetensors": ("#CC79A7", "v", (0, (3, 1, 1, 1, 1, 1))),
}
_OTHER_COLOURS = ("#56B4E9", "#000000", "#882255", "#999933", "#332288", "#661100", "#44AA99", "#AA4499")
_OTHER_MARKERS = ("P", "X", "p", "<", ">", "h", "d")
_OTHER_DASHES: tuple[Any, ...] = ((0, (2, 1)), (0, (8, 2)), (0, (1, 2)), (0, (4, 1, 1, 1, 1, 1)))
_PROFILES = ("tuned", "matched", "seed")  # in this order in legends; any other after them
_FILLS = ("full", "none", "left", "top", "right", "bottom")


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one format in one profile is drawn.

    Attributes
    ----------
    label : str
        Legend text: the format, with the profile where there are several.
    colour, marker : str
        The format's own.
    dash : object
        Line style, the format's own.
    fill : str
        Marker fill, the profile's.
    """

    label: str
    colour: str
    marker: str
    dash: Any
    fill: str

    def style(self) -> dict[str, Any]:
        """Return what ``Axes.plot`` takes."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dash,
            "fillstyle": self.fill,
            "markerfacecoloralt": "white",
            "markersize": 4.6,
            "markeredgewidth": 0.9,
            "linewidth": 1.3 if self.fill == "full" else 0.9,
        }


def looks(arms: Iterable[Arm]) -> dict[Arm, Look]:
    """Give each arm its look, in the order of the legend.

    Parameters
    ----------
    arms : iterable of (str, str)
        Format and profile.

    Returns
    -------
    dict
        Known formats first and always alike; others by name, from a second table of colours.
    """
    wanted = set(arms)
    names = [n for n in _KNOWN if any(n == a[0] for a in wanted)] + sorted({a[0] for a in wanted} - set(_KNOWN))
    present = {profile for _, profile in wanted if profile}
    profiles = [p for p in _PROFILES if p in present] + sorted(present - set(_PROFILES)) or [""]
    others = [n for n in names if n not in _KNOWN]
    found: dict[Arm, Look] = {}
    for name in names:
        colour, marker, dash = _KNOWN.get(name) or _other(others.index(name))
        for profile in (p for p in dict.fromkeys([*profiles, ""]) if (name, p) in wanted):
            label = f"{name} ({profile})" if profile and len(profiles) > 1 else name
            fill = _FILLS[profiles.index(profile) % len(_FILLS)] if profile else "full"
            found[name, profile] = Look(label=label, colour=colour, marker=marker, dash=dash, fill=fill)
    return found


def _other(index: int) -> tuple[str, str, Any]:
    return (
        _OTHER_COLOURS[index % len(_OTHER_COLOURS)],
        _OTHER_MARKERS[index % len(_OTHER_MARKERS)],
        _OTHER_DASHES[index % len(_OTHER_DASHES)],
    )


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with matplotlib's defaults and this module's settings, whatever the user has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


@dataclass(kw_only=True)
class Page:
    """Panels in a grid, with the words around them; all measures in inches.

    Attributes
    ----------
    title : str
        What is shown, and what is better.
    caption : list of str
        Paragraphs under the panels.
    legend : list of Line2D
        Entries above the panels.
    heights : sequence of float
        Of the rows, from the top.
    below : sequence of float
        Space under each row, for tick labels.
    widths : sequence of float
        Weights of the columns.
    headings : sequence of str
        Above the columns; may be empty.
    """

    title: str
    caption: list[str]
    legend: list[Line2D]
    heights: Sequence[float]
    below: Sequence[float]
    widths: Sequence[float]
    headings: Sequence[str]
    figure: Figure = field(init=False)
    axes: dict[tuple[int, int], Axes] = field(init=False, default_factory=dict)

    WIDTH = 9.6
    LEFT, RIGHT, GAP = 0.92, 0.12, 0.16
    _CHARACTERS = 148  # a caption line at 7.5 points

    def __post_init__(self) -> None:
        """Place everything."""
        lines = [line for text in self.caption for line in textwrap.wrap(text, self._CHARACTERS)]
        across = self._across()
        legend = 0.24 * math.ceil(len(self.legend) / across) if across else 0.0
        tallest = max((h.count("\n") + 1 for h in self.headings if h), default=0)
        top = 0.48 + legend + 0.15 * tallest
        bottom = 0.14 + 0.15 * len(lines)
        height = top + sum(self.heights) + sum(self.below) + bottom
        self.figure = Figure(figsize=(self.WIDTH, height), facecolor="white")
        FigureCanvasAgg(self.figure)
        self._height = height
        edge = self.LEFT / self.WIDTH
        self.figure.text(edge, 1 - 0.12 / height, self.title, va="top", fontsize=10.5, fontweight="bold")
        text = "\n".join(lines)
        self.figure.text(
            edge, (bottom - 0.06) / height, text, va="top", fontsize=7.5, color="#333333", linespacing=1.3,
            parse_math=False,  # a dollar sign in a name or a reason starts no formula
        )  # fmt: skip
        if across:
            self.figure.legend(
                handles=self.legend, loc="upper left", bbox_to_anchor=(edge, 1 - 0.36 / height), ncols=across,
                frameon=False, borderaxespad=0, borderpad=0, handlelength=3.2, columnspacing=1.6, fontsize=8,
            )  # fmt: skip
        self._grid(top)
        for j, heading in enumerate(self.headings):
            self.axes[0, j].set_title(heading, fontsize=8, pad=5, parse_math=False)

    def _across(self) -> int:
        """Return how many legend columns fit."""
        inches = [0.66 + 0.066 * len(str(handle.get_label())) for handle in self.legend]
        for across in range(len(inches), 1, -1):
            columns = np.array_split(inches, across)  # matplotlib too gives the first ones what is left over
            if sum(max(column) for column in columns) < self.WIDTH - self.LEFT:
                return across
        return min(len(inches), 1)

    def _grid(self, top: float) -> None:
        widths = self.inches(self.widths)
        y = self._height - top
        for i, (row, below) in enumerate(zip(self.heights, self.below, strict=True)):
            x = self.LEFT
            for j, width in enumerate(widths):
                box = (x / self.WIDTH, (y - row) / self._height, width / self.WIDTH, row / self._height)
                self.axes[i, j] = self.figure.add_axes(box)
                x += width + self.GAP
            y -= row + below

    def under(self, row: int, text: str, drop: float, columns: Sequence[int]) -> None:
        """Write an axis label, centred under some columns of a row, ``drop`` inches below them."""
        first, last = (self.axes[row, j].get_position() for j in (columns[0], columns[-1]))
        y = first.y0 - drop / self._height
        self.figure.text((first.x0 + last.x1) / 2, y, text, ha="center", va="top", fontsize=8)

    @classmethod
    def inches(cls, weights: Sequence[float]) -> list[float]:
        """Return the widths that panels of these weights get."""
        room = cls.WIDTH - cls.LEFT - cls.RIGHT - cls.GAP * (len(weights) - 1)
        return [room * weight / sum(weights) for weight in weights]

    def save(self, folder: Path, name: str, *, pictures: bool = True) -> list[Path]:
        """Write SVG and PNG; see `save_figure`."""
        return save_figure(self.figure, folder, name, pictures=pictures)


def save_figure(figure: Figure, folder: Path, name: str, *, pictures: bool = True) -> list[Path]:
    """Write a figure as SVG and PNG, each beside its place first and then renamed: it appears whole or not at all.

    Parameters
    ----------
    figure : Figure
        What to write.
    folder : Path
        Where; it exists.
    name : str
        Of the files, without ending.
    pictures : bool
        Whether to draw the PNG in any case, or only where there is none or the SVG has changed.

    Returns
    -------
    list of Path
        SVG and PNG. The same figure gives the same bytes.
    """
    vector, picture = folder / f"{name}.svg", folder / f"{name}.png"
    before = vector.read_bytes() if vector.is_file() else b""
    _save(figure, vector, {"Date": None, "Creator": None})
    if pictures or not picture.is_file() or vector.read_bytes() != before:
        _save(figure, picture, {"Software": None})
    return [vector, picture]


def _save(figure: Figure, path: Path, metadata: Mapping[str, None]) -> None:
    with appearing(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=160, metadata=_optional(metadata))


def _optional(metadata: Mapping[str, None]) -> dict[str, Any]:
    return dict(metadata)


def _duration(seconds: float, _: object = None) -> str:
    """Write a time with its unit."""
    scale, unit = next((s, u) for s, u in ((1.0, "s"), (1e-3, "ms"), (0.0, "µs")) if seconds >= s * 0.9999)
    return f"{seconds / (scale or 1e-6):g} {unit}"


def logarithmic(axes: Axes, low: float, high: float, *, seconds: bool) -> None:
    """Scale the y axis by the logarithm, with room around the values and labels that a short range has too."""
    middle = math.sqrt(low * high)
    low, high = min(low / 1.25, middle / 2), max(high * 1.25, middle * 2)
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.5 else (1, 3) if decades < 3.6 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks([t for t in ticks if low <= t <= high], minor=False)
    between = [step * 10.0**power for power in powers for step in range(1, 10) if step not in steps]
    axes.set_yticks([t for t in between if low <= t <= high], minor=True)
    axes.yaxis.set_major_formatter(_duration if seconds else "{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")


def linear(axes: Axes, high: float) -> None:
    """Scale the y axis from zero."""
    axes.set_ylim(-0.05 * high, 1.12 * high)  # a little below zero, so that a marker at zero is whole
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y")


@dataclass(frozen=True)
class PageBlock:
    """Panels that share an x axis: one trace at its lengths, or all traces that have only one."""

    title: str
    keys: tuple[tuple[str, float | None], ...]  # trace and length, in the order of positions
    sweep: bool
    upright: bool = False  # whether labels must stand upright to fit

    @property
    def positions(self) -> list[float]:
        """Where each key stands on the x axis."""
        return [math.log2(n or 1) if self.sweep else float(i) for i, (_, n) in enumerate(self.keys)]

    @property
    def spread(self) -> float:
        """How far apart the outermost formats stand, so that no interval hides another."""
        return 0.16 * min(np.diff(self.positions)) if self.sweep else 0.66

    @property
    def labels(self) -> list[str]:
        """What the ticks say."""
        texts = [f"{n:g}" if self.sweep else _tick(trace, n) for trace, n in self.keys]
        return [t.replace("-\n", "-").replace("\n", ", ") if self.upright else t for t in texts]

    @property
    def drop(self) -> float:
        """Inches that the tick labels take."""
        if self.upright:
            return 0.1 + 0.05 * max(len(label.replace(N_RES, "Nres")) for label in self.labels)
        return 0.22 + 0.13 * max(label.count("\n") for label in self.labels)

    def fitted(self, inches: float) -> PageBlock:
        """Turn the labels if a panel of this width is too narrow for them to lie."""
        longest = max(len(line.replace(N_RES, "Nres")) for label in self.labels for line in label.split("\n"))
        turned = not self.sweep and 0.058 * longest > inches / (len(self.keys) + 0.1)
        return replace(self, upright=turned)

    @property
    def below(self) -> float:
        """Inches that the tick labels and the axis label take."""
        return self.drop + (0.24 if self.sweep else 0.06)


def _tick(trace: str, n_res: float | None) -> str:
    name, _, parameters = trace.partition(":")
    name, parameters = (text.replace("$", r"\$") for text in (name, parameters))
    # Of a long path the end says most, and the caption has all of it.
    parts = [p if len(p) <= 15 else f"…{p[-14:]}" for p in parameters.split(",") if p]
    parts = [name if len(name) <= 10 else name.replace("-", "-\n").replace(" (", "\n("), *parts]
    return "\n".join([*parts, f"{N_RES} = {n_res:g}" if n_res else "no residues"])


def panel(axes: Axes, points: pd.DataFrame, block: PageBlock, line: float | None, arms: dict[Arm, Look]) -> None:
    """Draw one panel: a point with its interval for each format, and a line only between lengths of one trace.

    Parameters
    ----------
    axes : Axes
        Where.
    points : DataFrame
        Columns ``trace, n_res, format, profile, y, low, high``; without an interval, low and high are NaN.
    block : PageBlock
        The x axis.
    line : float or None
        Where to draw a line across.
    arms : dict
        What to draw besides the ceiling, from the left.
    """
    positions = np.array(block.positions)
    if line is not None:
        axes.axhline(line, **CEILING)
    _ceiling(axes, positions, _values(points[points["format"] == RAW], block), block.sweep)
    for k, (arm, look) in enumerate(arms.items()):
        y, low, high = _values(points[(points["format"] == arm[0]) & (points["profile"] == arm[1])], block)
        if np.isnan(y).all():
            continue
        x = positions + block.spread * ((k + 0.5) / len(arms) - 0.5)
        style = look.style() | ({} if block.sweep else {"linestyle": "none"})
        axes.plot(x, y, zorder=3, **style)
        axes.errorbar(
            x, y, yerr=np.nan_to_num([y - low, high - y]), fmt="none", ecolor=look.colour, elinewidth=0.9, capsize=1.8,
            capthick=0.9, zorder=2,
        )  # fmt: skip
    for place, (trace, n_res) in zip(positions, block.keys, strict=True):
        here = points["trace"].eq(trace) & ((points["n_res"] == n_res) | (not block.sweep))
        if not here.any():
            axes.text(
                place, 0.5, "no result", transform=axes.get_xaxis_transform(), rotation=90, color=FAINT, fontsize=7,
                ha="center", va="center",
            )  # fmt: skip
    room = 0.35 * min(np.diff(positions)) if block.sweep else 0.55
    axes.set_xlim(positions[0] - room, positions[-1] + room)
    axes.set_xticks(positions, block.labels, rotation=90 if block.upright else 0)
    if not block.sweep:
        axes.tick_params(axis="x", length=0, labelsize=7)


def _values(points: pd.DataFrame, block: PageBlock) -> np.ndarray:
    """Return y, low and high at each position; NaN where there is no point, so that a line breaks there."""
    found = np.full((3, len(block.keys)), np.nan)
    for point in points.itertuples():
        for i, (trace, n_res) in enumerate(block.keys):
            if point.trace == trace and (n_res is None or point.n_res == n_res):
                found[:, i] = point.y, point.low, point.high
    return found


def _ceiling(axes: Axes, positions: np.ndarray, values: np.ndarray, sweep: bool) -> None:
    """Draw the raw ceiling dashed, its interval as a band."""
    if np.isnan(values[0]).all():
        return
    if sweep:
        pieces = [(positions, values)]
    else:
        pieces = [(np.array([p - 0.42, p + 0.42]), values[:, [i, i]]) for i, p in enumerate(positions)]
    for x, (y, low, high) in pieces:
        axes.fill_between(x, low, high, color=GREY, alpha=0.18, linewidth=0, zorder=1)
        axes.plot(x, y, **CEILING)
