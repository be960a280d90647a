"""Figures of small panels: styles of arms, layout of panels, and files that appear complete."""

from __future__ import annotations

import gc
import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.textpath import text_to_path
from matplotlib.transforms import ScaledTranslation, Transform

from harness.analysis import formatting
from harness.analysis.formatting import Arm
from harness.files import appearing
from harness.formats.style import Style, styles
from harness.records import kind_of

TEXT = "#333333"
GREY = "#6e6e6e"
FAINT = "#9a9a9a"


class _Shown(Figure):
    """A figure that a notebook shows as a picture without pyplot."""

    def _repr_png_(self) -> bytes:
        """Return the figure as PNG; IPython calls a method of this name."""
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=100)
        return drawn.getvalue()


CEILING: dict[str, Any] = {"color": GREY, "linestyle": (0, (5, 3)), "linewidth": 1.1, "zorder": 1}

# A user's matplotlibrc has no effect. The salt keeps the identifiers in an SVG the same in every drawing.
_RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titley": 1.0,  # without it each drawing measures a panel, to find room for its title
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "text.parse_math": False,  # a dollar sign in a name or a reason starts no formula
    "text.hinting": "no_hinting",  # also halves the time to draw letters
    "svg.fonttype": "path",
    "svg.hashsalt": "trace-format-harness",
}

_PROFILES = ("tuned", "matched", "seed")  # in this order in legends; any other after them
_UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
_FILLS = ("full", "none", "left", "top", "right", "bottom")


Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ArmStyle(Style):
    """Style of one format in one profile: that of the format, with its name in legends and the profile's fill."""

    label: str
    fill: str

    def line(self) -> dict[str, Any]:
        """Return the arguments of ``Axes.plot``."""
        return {
            "color": self.colour, "marker": self.marker, "linestyle": self.dash, "fillstyle": self.fill,
            "markerfacecoloralt": "white", "markersize": 4.6, "markeredgewidth": 0.9,
            "linewidth": 1.3 if self.fill == "full" else 0.9,
        }  # fmt: skip


def arm_styles(arms: Iterable[Arm]) -> dict[Arm, ArmStyle]:
    """Return the style of each arm, a format and a profile, in the order of the legend; the raw ceiling has none."""
    wanted = {arm for arm in arms if kind_of(arm[0]) != "ceiling"}
    others = sorted({profile for _, profile in wanted} - {"", *_PROFILES})
    profiles = [profile for profile in (*_PROFILES, *others) if any(profile == arm[1] for arm in wanted)]
    fills = {profile: _FILLS[place % len(_FILLS)] for place, profile in enumerate(profiles)} | {"": "full"}
    return {
        (name, profile): ArmStyle(**vars(own), label=formatting.arm_name((name, profile), wanted), fill=fill)
        for name, own in styles(name for name, _ in wanted).items()
        for profile, fill in fills.items()
        if (name, profile) in wanted
    }


def arms_in(table: pd.DataFrame) -> list[Arm]:
    """List the formats and profiles in the rows of a table."""
    return list(zip(table["format"].astype(str), table["profile"].fillna("").astype(str), strict=True))


def of_arm(table: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Return the rows of one format in one profile."""
    return table[(table["format"] == arm[0]) & (table["profile"].fillna("") == arm[1])]


def legend(arms: Iterable[ArmStyle]) -> list[Line2D]:
    """Return a legend entry for each arm."""
    return [Line2D([], [], label=style.label, **style.line()) for style in arms]


def halo(width: float) -> list[AbstractPathEffect]:
    """Return effects that surround a line of this width with the page's colour, so that it shows on any other."""
    return [withStroke(linewidth=width + 1.6, foreground="white")]


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with matplotlib's defaults and this module's settings, regardless of the user's settings.

    Garbage collection is off meanwhile: a figure has many reference cycles, none of which can be freed before it is
    saved.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC)
            yield
    finally:
        if collects:
            gc.enable()


def line(axes: Axes, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, **style: Any) -> None:
    """Draw a line, or points, that breaks where a value is NaN.

    The caller sets the limits of the panel: ``Axes.plot`` updates them for each line, which takes most of its time.
    """
    axes.add_artist(Line2D(x, y, **style))


def segments(axes: Axes, starts: Sequence[Point], ends: Sequence[Point], **style: Any) -> None:
    """Draw straight lines of one style as one object, each between two points; a line with a NaN is left out."""
    if len(starts):
        gap = (math.nan, math.nan)
        x, y = zip(*(point for pair in zip(starts, ends, strict=True) for point in (*pair, gap)), strict=True)
        line(axes, x[:-1], y[:-1], **({"solid_capstyle": "butt"} | style))


def moved(axes: Axes, x: float, y: float) -> Transform:
    """Return the transform that moves something in a panel by `x` and `y` points."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return ScaledTranslation(x / 72, y / 72, figure.dpi_scale_trans)


@dataclass(kw_only=True)
class Page:
    """Panels in a grid, with the texts around them; all measures in inches."""

    title: str  # What is shown, and which direction is better.
    caption: list[str]  # Paragraphs under the panels.
    legend: list[Line2D]  # Entries above the panels.
    heights: Sequence[float]  # Heights of the rows, from the top.
    below: Sequence[float]  # Space under each row, for tick labels.
    widths: Sequence[float]  # Weights of the columns.
    headings: Sequence[str]  # Above the columns; may be empty.
    figure: Figure = field(init=False)
    axes: dict[tuple[int, int], Axes] = field(init=False, default_factory=dict)

    WIDTH = 9.6
    LEFT, RIGHT, GAP = 0.92, 0.12, 0.16
    _CHARACTERS = 148  # a caption line at 7.5 points
    _LINE = 0.18  # of the title

    def __post_init__(self) -> None:
        """Create the figure with all texts and panels."""
        caption = [text.replace(" %", "\N{NO-BREAK SPACE}%") for text in self.caption]
        lines = [line for text in caption for line in textwrap.wrap(text, self._CHARACTERS)]
        across = self._across()
        legend = 0.24 * math.ceil(len(self.legend) / across) if across else 0.0
        tallest = max((h.count("\n") + 1 for h in self.headings if h), default=0)
        title = folded(
            self.title, 0.95 * (self.WIDTH - self.LEFT), size=10.5, weight="bold"
        )  # pictures of low resolution draw letters wider
        below = 0.12 + self._LINE * len(title)
        top = below + 0.18 + legend + 0.15 * tallest
        bottom = 0.14 + 0.15 * len(lines)
        height = top + sum(self.heights) + sum(self.below) + bottom
        self.figure = _Shown(figsize=(self.WIDTH, height), facecolor="white")
        FigureCanvasAgg(self.figure)
        self._height = height
        edge = self.LEFT / self.WIDTH
        self.figure.text(edge, 1 - 0.12 / height, "\n".join(title), fontsize=10.5, fontweight="bold", va="top")
        self.figure.text(
            edge, (bottom - 0.06) / height, "\n".join(lines), fontsize=7.5, color=TEXT, linespacing=1.3, va="top"
        )
        if across:
            self.figure.legend(
                handles=self.legend, loc="upper left", bbox_to_anchor=(edge, 1 - (below + 0.06) / height), ncols=across,
                frameon=False, borderaxespad=0, borderpad=0, handlelength=3.2, columnspacing=1.6, fontsize=8,
            )  # fmt: skip
        self._grid(top)
        for j, heading in enumerate(self.headings):
            self.axes[0, j].set_title(heading, fontsize=8, pad=5)

    def _across(self) -> int:
        """Return the number of legend columns that fit."""
        wide = [0.64 + inches(str(handle.get_label()), size=8) for handle in self.legend]
        for across in range(len(wide), 1, -1):
            columns = np.array_split(wide, across)  # as in matplotlib, the first ones take the remainder
            if sum(max(column) for column in columns) < self.WIDTH - self.LEFT:
                return math.ceil(len(wide) / math.ceil(len(wide) / across))  # equally many in each line
        return min(len(wide), 1)

    def _grid(self, top: float) -> None:
        widths = self.shares(self.widths)
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
    def shares(cls, weights: Sequence[float]) -> list[float]:
        """Return the widths of panels with these weights, in inches."""
        room = cls.WIDTH - cls.LEFT - cls.RIGHT - cls.GAP * (len(weights) - 1)
        return [room * weight / sum(weights) for weight in weights]

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write SVG and PNG; see `save_figure`."""
        return save_figure(self.figure, folder, name)


def inches(text: str, **font: Any) -> float:
    """Return the width of a text in inches."""
    width, *_ = text_to_path.get_text_width_height_descent(text, FontProperties(**font), ismath=False)
    return float(width) / 72


def folded(text: str, room: float, **font: Any) -> list[str]:
    """Fold a text into the fewest lines that fit into `room` inches; ``font`` as for `inches`."""
    folds = (textwrap.wrap(text, most) for most in range(min(len(text), 160), 9, -1))
    fits = (lines for lines in folds if all(inches(line, **font) <= room for line in lines))
    return next(fits, [text])


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG, and as PNG where there is none or the SVG has changed; return both.

    Each file is written under another name and then renamed, so it appears complete or not at all. The SVG is renamed
    last, because a changed SVG marks the PNG as outdated. A missing folder is created. The same figure gives the same
    bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if not axis.get_label_text()):
        axis.set_label_coords(0, 0)  # else it is measured at the place of its label
    vector, picture = folder / f"{name}.svg", folder / f"{name}.png"
    with appearing(vector) as drawn:
        figure.savefig(drawn, format="svg", dpi=160, metadata=_UNDATED["svg"])
        if not (picture.is_file() and vector.is_file() and vector.read_bytes() == drawn.read_bytes()):
            with appearing(picture) as part:
                figure.savefig(part, format="png", dpi=160, metadata=_UNDATED["png"], pil_kwargs={"compress_level": 3})
    return [vector, picture]
