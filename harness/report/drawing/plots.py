"""Plots of suites: what each suite measured, against sequence length or trace by trace."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting
from harness.analysis.accesses import of_kind
from harness.analysis.efforts import BEST, at_their_best, standing
from harness.analysis.summary import too_few
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.report.drawing.figure import CEILING, GREY, Page, arm_styles, arms_in, drawing, folded, legend
from harness.report.drawing.panels import BEST_MARK, DOTTED, TraceAxis, linear, logarithmic, panel
from harness.report.drawing.points import PanelRow, PlotData, plot_data
from harness.suite import Plot, Suite, plain, suites

_TEXT = ["suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason"]
_NUMBERS = ["n_res", "median_seconds", "ci_low", "ci_high", "size_bytes", "ratio_to_float32", "ratio_to_native"]
_MOST_COLUMNS = 4
_MOST_NOTES = 8
_SHOWN = ["row", "column", "trace", "n_res", "format", "profile", "best", "y", "low", "high"]

_CONFIRMED = {
    "warm": "Warm: the file was in this system's page cache, confirmed before each read.",
    "cold": "Cold: dropped from this system's page cache, confirmed before each read; a host may still cache it.",
    "lukewarm": "Lukewarm: dropped from this system's page cache; the filesystem may have held it elsewhere.",
    "remote": "Object store: read through a client that is new with each sample; what the store caches is not known.",
}


def plotted() -> list[tuple[str, Suite, Plot]]:
    """Return every suite that states a plot, with the name of its file."""
    return [(suite.plot.name or suite.name, suite, suite.plot) for suite in suites() if suite.plot is not None]


def draw(summary: pd.DataFrame, folder: Path, *, joined: bool = True) -> list[Path]:
    """Draw the plot of every suite that has something to show, as SVG and PNG; see `pages`."""
    paths: list[Path] = []
    for name, page in pages(summary, joined=joined):
        with drawing():
            paths += page.save(folder, name)
    return paths


def pages(summary: pd.DataFrame, *, joined: bool = True) -> Iterator[tuple[str, Page]]:
    """Yield the plot of every suite that has something to show, with its name.

    `summary` is from `harness.analysis.summary.summarise`, or read back from ``summary.csv``. Equal cells give equal
    bytes if the page is saved with the settings of `drawing`. `joined`: whether lines join times at different lengths.
    """
    best = at_their_best(summary)
    best = best[best["effort"] == BEST]
    frame = pd.concat([standing(summary).assign(best=False), best.assign(best=True, profile=best["group"])])
    frame[_TEXT] = frame[_TEXT].astype(object).where(frame[_TEXT].notna(), "")
    frame[_NUMBERS] = frame[_NUMBERS].astype(float)  # an empty column has no type of its own
    for name, suite, plot in plotted():
        every = frame[frame["suite"] == suite.name]
        cells = every[~every["best"]]
        data = plot_data(suite, plot, every[(every["status"] == "ok") & ~of_kind(every, "control")])
        data = dataclasses.replace(data, joined=joined or data.exact)
        if data.points["y"].notna().any():
            with drawing():
                page = _page(data, cells)
            yield name, page


def not_shown(cells: pd.DataFrame) -> list[str]:
    """Return which cells have no point, and why: a line for each format, access, status and reason.

    A case that is skipped for every format, because a trace has no such tensor, is not listed. Nor is the A/A control
    if it is skipped.
    """
    place = ["suite", "access", "trace", "n_res", "cache", "executor", "workers"]
    skipped = (cells["status"] == "skipped").groupby([cells[c] for c in place], dropna=False).transform("all")
    missing = cells[(cells["status"] != "ok") & ~skipped]
    missing = missing[~of_kind(missing, "control") | (missing["status"] != "skipped")]
    missing = missing.fillna({"reason": "", "profile": ""})
    lines = []
    arms = set(arms_in(cells))
    for key, group in missing.groupby(["format", "profile", "access", "status", "reason"], sort=False, dropna=False):
        name, profile, access, status, reason = map(str, key)
        why = f" ({reason if len(reason) <= 90 else reason[:89] + '…'})" if reason else ""
        times = f", {len(group)} cells" if len(group) > 1 else ""
        lines.append(f"{formatting.arm_name((name, profile), arms)} {plain(access)}: {status}{why}{times}")
    return lines


def _axes_of(cells: pd.DataFrame, points: pd.DataFrame) -> list[TraceAxis]:
    """Return an x axis for each trace that was made at several lengths, and one for all that have a single length."""
    swept, single = [], []
    shown = set(points["trace"])
    for trace, group in cells.groupby("trace", sort=False):
        sizes = sorted(float(n) for n in group["n_res"].dropna().unique())
        if trace not in shown:
            continue
        if len(sizes) > 1:
            swept.append(
                TraceAxis(formatting.pretty_trace(str(trace)), tuple((str(trace), n) for n in sizes), sweep=True)
            )
        else:
            single.append((str(trace), sizes[0] if sizes else None))
    if single:
        title = "traces of one length" if len(single) > 1 else "one length"
        swept.append(TraceAxis(title, tuple(single), sweep=False))
    return swept


_Panel = tuple[PanelRow, str, TraceAxis]


def _page(data: PlotData, cells: pd.DataFrame) -> Page:
    """Draw the panels of one suite: traces side by side where they fit, else below one another."""
    points = data.points[_SHOWN]  # selecting rows takes time for each column
    axes = [dataclasses.replace(axis, joined=data.joined) for axis in _axes_of(cells, points)]
    columns = [name for name in data.columns if (points["column"] == name).any()]
    rows = [_fitted(row, data.height) for row in data.rows if (points["row"] == row.name).any()]
    beside = len(columns) * len(axes) <= _MOST_COLUMNS
    several = beside and len(axes) > 1  # panels with different x axes side by side, each with a label of its own
    across = [(column, axis) for column in columns for axis in (axes if beside else axes[:1])]
    narrow = [beside and not axis.sweep for _, axis in across]
    widths = [
        float(np.clip(0.36 * len(a.keys), 0.6, 2)) if n else 1.0 for n, (_, a) in zip(narrow, across, strict=True)
    ]
    inches = Page.shares(widths)
    if beside:
        line = [(column, axis.fitted(width)) for (column, axis), width in zip(across, inches, strict=True)]
        lines: list[list[_Panel]] = [[(row, column, axis) for column, axis in line] for row in rows]
        last = [row is rows[-1] for row in rows]
    else:
        down = [(row, axis.fitted(inches[0])) for axis in axes for row in rows if len(_of(points, row, axis))]
        lines = [[(row, column, axis) for column in columns] for row, axis in down]
        last = [axis != other for (_, axis), other in zip(down, [*(axis for _, axis in down[1:]), None], strict=True)]
    heads = [(data.columns[column], axis.title if several else "") for column, axis in across]
    arms = arm_styles(arms_in(points))
    page = Page(
        title=data.title,
        caption=list(_caption(data, cells)),
        legend=[*legend(arms.values()), *_best_entry(data), *_ceiling_entry(data)],
        heights=[data.height] * len(lines),
        below=[
            max(axis.below for *_, axis in line) + (0 if beside else 0.14) if end else 0.12
            for line, end in zip(lines, last, strict=True)
        ],
        widths=widths,
        headings=[_heading(parts, width) for parts, width in zip(heads, inches, strict=True)],
    )
    asked = _asked(cells)
    parts = dict(iter(points.groupby(["row", "column"], sort=False)))
    ends = {row.name: _ends(points if data.one_scale else points[points["row"] == row.name]) for row in rows}
    for i, line_ in enumerate(lines):
        for j, (row, column, axis) in enumerate(line_):
            here = page.axes[i, j]
            unasked = {trace for trace, _ in axis.keys if (row.access or column, trace) not in asked}
            _scale(here, row, ends[row.name], seconds=not data.exact, labelled=j == 0)
            part = parts.get((row.name, column), points[:0])
            panel(here, part, axis, row.line, arms, unasked=unasked, labelled=last[i])
            if last[i] and axis.sweep and (several or j == 0):
                of = "" if several else f" of {axis.title}"
                under = [j] if several else range(len(line_))
                page.under(i, f"residues (log axis){of}", axis.drop + 0.03, under)
    return page


def _fitted(row: PanelRow, height: float) -> PanelRow:
    """Fold the label of a row to the height of its panels in inches."""
    lines = [line for part in row.label.splitlines() for line in folded(part, height, size=8)]
    return dataclasses.replace(row, label="\n".join(lines))


def _asked(cells: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the pairs of access and trace that the run planned, whatever their status."""
    return set(zip(cells["access"].astype(str), cells["trace"].astype(str), strict=True))


def _empty(data: PlotData) -> set[tuple[str, str]]:
    """Return the pairs of access and trace without a point, in panels where other traces have points."""
    access = {row.name: row.access for row in data.rows}
    traces = set(data.points["trace"])
    return {
        (access[str(row)] or str(column), trace)
        for (row, column), part in data.points.groupby(["row", "column"])
        for trace in traces - set(part["trace"])
    }


def _heading(parts: Sequence[str], inches: float) -> str:
    """Return the parts, each folded to the width of its panel."""
    fit = max(int(inches * 15.5), 12)
    return "\n".join(line for part in parts for text in part.splitlines() for line in textwrap.wrap(text, fit))


def _of(points: pd.DataFrame, row: PanelRow, axis: TraceAxis) -> pd.DataFrame:
    return points[(points["row"] == row.name) & points["trace"].isin({trace for trace, _ in axis.keys})]


def _ends(points: pd.DataFrame) -> tuple[float, float]:
    """Return the smallest value above zero, and the largest, of values and their intervals."""
    values = points[["y", "low", "high"]].to_numpy(float)
    return float(np.min(values, where=values > 0, initial=np.inf)), float(np.nanmax(values))


def _scale(axes: Axes, row: PanelRow, ends: tuple[float, float], *, seconds: bool, labelled: bool) -> None:
    """Set the y axis of a panel, the same for all panels of a row; the first of them has its labels."""
    title = row.label if labelled else ""
    if row.log:
        logarithmic(axes, *ends, seconds=seconds, labelled=labelled, title=title)
    else:
        linear(axes, max(ends[1], row.line or 1.0), labelled=labelled, title=title)


def _best_entry(data: PlotData) -> list[Line2D]:
    text = "hollow: the format at its best"
    return [Line2D([], [], label=text, color=GREY, linestyle="", **BEST_MARK)] if data.points["best"].any() else []


def _ceiling_entry(data: PlotData) -> list[Line2D]:
    flat = data.points[of_kind(data.points, "ceiling") & data.points["y"].notna()]
    dotted = flat["row"].isin([row.name for row in data.rows if row.line is not None])
    text = "uncompressed, float32" if data.exact else "raw ceiling (flat file)"
    fewer = "uncompressed, 2 bytes a value where exact"
    entries = [Line2D([], [], label=text, **CEILING)] if len(flat) else []
    return entries + ([Line2D([], [], label=fewer, **DOTTED)] if dotted.any() else [])


def _caption(data: PlotData, cells: pd.DataFrame) -> Iterator[str]:
    """Yield the paragraphs that a reader needs who has only the figure."""
    points = data.points
    if not data.exact:
        rounds = sorted({int(n) for n in points["samples"]})
        spell = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
        few = f" (fewer than {VERDICT_ROUNDS} rounds: no verdict)" if too_few(points).any() else ""
        how = f"Median and 95 % bootstrap interval over {spell} round{'s' if rounds[-1] != 1 else ''}{few}."
        states = [text for state, text in _CONFIRMED.items() if state in set(points["cache"])]
        yield " ".join([how, *states, "Formats are drawn side by side at each length, so that intervals show."])
    if not data.joined:
        yield "Lengths were measured on different nodes: only formats at one length can be compared."
    yield from data.notes
    if of_kind(points, "ceiling").any() and not data.exact:
        yield "Raw ceiling: the same bytes, uncompressed, in one flat file; on a slow disk, fewer bytes can beat it."
    traces = "; ".join(formatting.pretty_trace(t) for t in points["trace"].unique())
    profiles = sorted({str(p) for p in points["profile"]} - {""})
    control = (of_kind(cells, "control") & (cells["status"] == "ok")).any()
    yield f"Traces: {traces}. Profile{'s' if len(profiles) > 1 else ''}: {', '.join(profiles) or 'none'}." + (
        " The A/A control is measured but not drawn." if control else ""
    )
    missing = not_shown(cells)
    empty, asked = _empty(data), _asked(cells)
    if empty & asked:
        yield "No result: the trace has no such tensor" + (", or the cell is listed below." if missing else ".")
    if empty - asked:
        yield "Not asked: the plan of this run has no such read of the trace."
    if len(missing) > _MOST_NOTES:
        missing = [*missing[:_MOST_NOTES], f"{len(missing) - _MOST_NOTES} more, see summary.csv"]
    yield from (f"Not shown: {line}." for line in missing)
