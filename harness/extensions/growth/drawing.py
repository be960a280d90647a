"""Drawing of growth with length: measured medians and the fitted power of the length, with its exponent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.analysis.formatting import Arm
from harness.report.drawing.figure import ArmStyle, Page, arm_styles, arms_in, drawing, legend, line, of_arm
from harness.report.drawing.panels import logarithmic
from harness.report.drawing.ticks import across
from harness.suite import READ, AccessInfo, counted_as

_ACROSS = 3


class _Apart(Page):
    """A page with a separate axis for each panel."""

    GAP = 0.66


def draw_growth(table: pd.DataFrame, summary: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the warm reads by one thread of the trace with the most fitted accesses.

    `table` comes from `harness.extensions.growth.fitting.growth`; `summary` holds the cells that it was fitted to.
    Returns ``growth.svg`` and PNG, or nothing if no warm read was fitted.
    """
    if table.empty:
        return []
    shown = table[(table["executor"] == "main") & (table["cache"] == "warm")]
    reads = [(suite, info) for suite, info in counted_as(READ) if len(_of(shown, suite, info))]
    if not reads:
        return []
    shown = pd.concat([_of(shown, suite, info) for suite, info in reads]).sort_index()
    trace = shown["trace"].value_counts(sort=False).idxmax()
    shown = shown[shown["trace"] == trace]
    reads = [(suite, info) for suite, info in reads if len(_of(shown, suite, info))]
    arms = arm_styles(arms_in(shown))
    rows = -(-len(reads) // _ACROSS)
    with drawing():
        page = _Apart(
            title="Growth with length, warm (time; lower is faster, steeper grows faster; both axes logarithmic)",
            caption=[
                f"{formatting.pretty_trace(str(trace))}. Points are medians over rounds; lines are the power of the "
                "length that fits them best, drawn only between the lengths that were measured. Beside each format the "
                "exponent with its 95 % interval: 2 is growth with the number of residue pairs.",
            ],
            legend=legend(arms.values()),
            heights=[2.3] * rows,
            below=[0.58] * rows,
            widths=[1.0] * min(len(reads), _ACROSS),
            headings=[""] * min(len(reads), _ACROSS),
        )
        cells = summary[summary["trace"] == trace]
        for (row, column), axes in page.axes.items():
            number = row * _ACROSS + column
            if number < len(reads):
                suite, info = reads[number]
                _panel(axes, _of(shown, suite, info), _of(cells, suite, info), arms)
                axes.set_title(info.label, fontsize=8, pad=4)
                page.under(row, "residues", 0.24, [column])
            else:
                axes.set_axis_off()
        return page.save(folder, "growth")


def _of(table: pd.DataFrame, suite: str, info: AccessInfo) -> pd.DataFrame:
    return table[(table["suite"] == suite) & (table["access"] == info.name)]


def _panel(axes: Axes, fitted: pd.DataFrame, cells: pd.DataFrame, arms: dict[Arm, ArmStyle]) -> None:
    cells = cells[cells["median_seconds"].notna() & (cells["executor"] == "main") & (cells["cache"] == "warm")]
    lengths: set[int] = set()
    times: list[float] = []
    named: list[str] = []
    for arm, style in arms.items():
        mine, rows = of_arm(cells, arm).sort_values("n_res"), of_arm(fitted, arm).to_dict("records")
        if not rows or mine.empty:
            continue
        row = rows[-1]
        ends = np.array([row["shortest"], row["longest"]], float)
        fit = row["coefficient"] * ends ** row["exponent"]
        measured = mine["median_seconds"].to_numpy(float)
        line(axes, ends, fit, color=style.colour, linestyle=style.dash, linewidth=1.1)
        line(axes, mine["n_res"].to_numpy(float), measured, **(style.line() | {"linestyle": ""}))
        lengths |= {int(n) for n in mine["n_res"]}
        times += [*fit, *measured]
        interval = f"{row['exponent_low']:.2f} to {row['exponent_high']:.2f}"
        named.append(f"{style.label} {row['exponent']:.2f} ({interval})")
    if times:
        axes.set_xscale("log")
        margin = (max(lengths) / min(lengths)) ** 0.05
        axes.set_xlim(min(lengths) / margin, max(lengths) * margin)
        across(axes, sorted(lengths), [str(n) for n in sorted(lengths)])
        logarithmic(axes, min(times), max(times) * 2 ** (len(named) / 2), seconds=True, size=6.5, pad=1)
        axes.text(
            0.03, 0.98, "\n".join(named), transform=axes.transAxes, va="top", fontsize=6.4, linespacing=1.4,
        )  # fmt: skip
