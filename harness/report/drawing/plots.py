"""Five figures against sequence length: storage size, full read, layer read, random access, parallel access."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting as words
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import CONTROL, RAW
from harness.report.drawing.figure import (
    CEILING,
    N_RES,
    Arm,
    Look,
    Page,
    PageBlock,
    drawing,
    linear,
    logarithmic,
    looks,
    panel,
)
from harness.sampling.executor import Executor, load_executor

_TEXT = ["suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason"]
_NUMBERS = ["n_res", "median_seconds", "ci_low", "ci_high", "size_bytes", "ratio_to_float32", "ratio_to_native"]
_MOST_COLUMNS = 4
_MOST_NOTES = 8

_STATES = {"warm": "warm page cache", "cold": "cold page cache", "remote": "object store"}
_CONFIRMED = {
    "warm": "Warm: the file was in this system's page cache, confirmed before each read.",
    "cold": "Cold: dropped from this system's page cache, confirmed before each read; a host may still cache it.",
    "remote": "Object store: read through a client that is new with each sample; what the store caches is not known.",
}
_TIME = "time (log axis)"  # with the unit at each tick: one figure may span microseconds to minutes


@dataclass(frozen=True)
class _Row:
    """A row of panels with one y axis."""

    name: str
    label: str
    log: bool = True
    line: float | None = None  # where an uncompressed file would be


@dataclass(frozen=True)
class _Plot:
    """What one figure shows: tidy points, and the order of its rows and columns."""

    title: str
    points: pd.DataFrame
    rows: Sequence[_Row]
    columns: dict[str, str]
    notes: Sequence[str] = ()
    height: float = 1.5
    exact: bool = False
    one_scale: bool = False  # all rows on one y axis, because they are to be held against each other


def draw(summary: pd.DataFrame, folder: Path, *, pictures: bool = True) -> list[Path]:
    """Draw every figure that has something to show.

    Parameters
    ----------
    summary : DataFrame
        From `harness.analysis.summary.summarise`, or read back from ``summary.csv``.
    folder : Path
        Where the files go; made when missing.
    pictures : bool
        Whether to draw each PNG in any case, or only where there is none or the SVG has changed.

    Returns
    -------
    list of Path
        An SVG and a PNG for each of ``storage_size``, ``full_read``, ``layer_read``, ``random_access`` and
        ``parallel_access``, apart from those without a single measured cell. Equal cells give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame = summary.copy()
    frame[_TEXT] = frame[_TEXT].astype(object).where(frame[_TEXT].notna(), "")
    frame[_NUMBERS] = frame[_NUMBERS].astype(float)  # a column with nothing in it has no type of its own
    paths: list[Path] = []
    for name, (suite, prepare) in FIGURES.items():
        cells = frame[frame["suite"] == suite]
        plot = prepare(cells[(cells["status"] == "ok") & (cells["format"] != CONTROL)])
        if plot.points["y"].notna().any():
            with drawing():
                paths += _page(plot, cells).save(folder, name, pictures=pictures)
    return paths


def not_shown(cells: pd.DataFrame) -> list[str]:
    """Say which cells have no point, and why.

    Parameters
    ----------
    cells : DataFrame
        Rows of a summary.

    Returns
    -------
    list of str
        One line for each format, access, status and reason. What is skipped for every format alike, because a trace
        has no such tensor, is not listed, nor is the blind twin where it is skipped.
    """
    place = ["suite", "access", "trace", "n_res", "cache", "executor", "workers"]
    skipped = (cells["status"] == "skipped").groupby([cells[c] for c in place], dropna=False).transform("all")
    missing = cells[(cells["status"] != "ok") & ~skipped]
    missing = missing[(missing["format"] != CONTROL) | (missing["status"] != "skipped")].fillna({"reason": ""})
    lines = []
    several = cells["profile"].replace("", np.nan).nunique() > 1
    for key, group in missing.groupby(["format", "profile", "access", "status", "reason"], sort=False, dropna=False):
        name, profile, access, status, reason = (str(part) for part in key)
        arm = f"{name} ({profile})" if several and profile not in ("", "nan") else name
        why = f" ({reason if len(reason) <= 90 else reason[:89] + '…'})" if reason else ""
        times = f", {len(group)} cells" if len(group) > 1 else ""
        lines.append(f"{arm} {access.replace('_', ' ')}: {status}{why}{times}")
    return lines


def _timed(cells: pd.DataFrame) -> pd.DataFrame:
    points = cells.rename(columns={"median_seconds": "y", "ci_low": "low", "ci_high": "high"})
    return points[points["y"] > 0].assign(row="", column=points["cache"])


def _caches(points: pd.DataFrame) -> dict[str, str]:
    names = [c for c in _STATES if c in set(points["column"])]
    return {c: _STATES.get(c, c) for c in [*names, *sorted(set(points["column"]) - set(names))]}


def _full_read(cells: pd.DataFrame) -> _Plot:
    points = _timed(cells)
    title = "Full read: every byte of every tensor (time, lower is better)"
    return _Plot(title, points, [_Row("", _TIME)], _caches(points), height=2.7)


def _layer_read(cells: pd.DataFrame) -> _Plot:
    points = _timed(cells).assign(row=cells["access"])
    names = {
        "attention_layer": "one attention layer",
        "head": "one attention head",
        "pair_layer": "one pair layer",
    }
    rows = [_Row(name, f"{text}\n{_TIME}") for name, text in names.items()]
    return _Plot("Layer read: a part of a trace (time, lower is better)", points, rows, _caches(points))


def _random_access(cells: pd.DataFrame) -> _Plot:
    points = _timed(cells)
    once = points["access"].str.endswith("_load_once")
    points = points.assign(
        row=np.where(once, "once " + points["cache"], points["cache"]),
        column=points["access"].str.removesuffix("_load_once"),
    )
    rows = [
        _Row("warm", f"warm page cache\n{_TIME}"),
        _Row("once warm", f"warm, load once\n{_TIME}"),
        _Row("cold", f"cold page cache\n{_TIME}"),
        _Row("remote", f"object store\n{_TIME}"),
        _Row("once remote", f"object store, load once\n{_TIME}"),
    ]
    columns = {"window_attention": "attention windows", "window_pair": "pair windows"}
    note = (
        "Time for the whole plan: the same windows, in the same order, for every format. Load once: each tensor that "
        "the plan touches is read whole, once, and the windows are taken from memory."
    )
    title = "Random access: small windows here and there (time for all windows, lower is better)"
    return _Plot(title, points, rows, columns, [note], one_scale=True)


def _crew(kind: Executor, number: int) -> str:
    """Head a column with how many of what read."""
    if number == 1:
        return f"1 {kind.worker[0]}{', shared reader' if kind.shared else ''}"
    apart = f",\n{kind.readers}" if kind.readers else ""
    return f"{number} {kind.worker[1]}{apart}"


def _parallel_access(cells: pd.DataFrame) -> _Plot:
    points = _timed(cells)
    points = points.assign(row=points["access"], column=points["executor"] + " " + points["workers"].astype(str))
    counts = {str(e): sorted({int(n) for n in g["workers"]}) for e, g in points.groupby("executor")}
    kinds = {kind.name: kind for kind in sorted(map(load_executor, counts), key=lambda kind: kind.order)}
    # One thread is what the others are held against; of the rest the most workers of each kind say most.
    chosen = [("threads", 1)] if 1 in counts.get("threads", []) else []
    chosen += [(e, counts[e][-1]) for e in kinds if (e, counts[e][-1]) not in chosen]
    columns = {f"{e} {n}": _crew(kinds[e], n) for e, n in chosen}
    left = [f"{e} {n}" for e in kinds for n in counts[e] if (e, n) not in chosen]
    note = "Time for the whole plan: the same windows for every format and every number of workers."
    if left:
        note += f" Measured too, see summary.csv: {', '.join(left)}."
    rows = [_Row(f"window_{kind}", f"{kind} windows\n{_TIME}") for kind in ("attention", "pair")]
    points = points[points["column"].isin(list(columns))]
    title = "Parallel access: the same windows on threads and processes (time, lower is better)"
    return _Plot(title, points, rows, columns, [note])


def _storage_size(cells: pd.DataFrame) -> _Plot:
    archive = cells[(cells["access"] == "archive") & cells["size_bytes"].notna()]
    ours = archive[archive["format"] != RAW]
    native = ours.assign(row="native", y=ours["ratio_to_native"])
    differs = not np.allclose(ours["ratio_to_native"], ours["ratio_to_float32"], rtol=0.01, equal_nan=True)
    parts = [
        archive.assign(row="size", y=archive["size_bytes"] / 1e6),
        ours.assign(row="float32", y=ours["ratio_to_float32"]),
        *([native] if differs else []),
        _twice(cells[cells["format"] != RAW]),
    ]
    points = pd.concat(parts, ignore_index=True).assign(column="")
    points = points.assign(low=np.nan, high=np.nan)
    rows = [
        _Row("size", "archive\n(MB, log axis)\nlower is better"),
        _Row("float32", "float32 bytes ÷\narchive bytes\nhigher is better", log=False, line=1.0),
        _Row("native", "native bytes ÷\narchive bytes\nhigher is better", log=False, line=1.0),
        _Row("twice", "extra for a\nsecond name (%)\nlower is better", log=False),
    ]
    notes = ["Sizes are exact, one archive per format and trace, so there are no intervals. 1 MB is 10⁶ bytes."]
    if differs:
        notes[0] += " Native bytes: 2 for each value of a tensor whose values are all exact in bfloat16."
    if (points["row"] == "twice").any():
        notes[0] += (
            " Extra for a second name: one layer with its single and pair representations stored under both names that "
            "the schema allows, against under one; 0 % means that equal values are stored once."
        )
    return _Plot("Storage size of the same trace in every format", points, rows, {"": ""}, notes, exact=True)


def _twice(cells: pd.DataFrame) -> pd.DataFrame:
    """Compare a layer that is filled under both names with one that is filled under one."""
    on = ["trace", "n_res", "format", "profile"]
    one, both = (
        cells[cells["access"] == f"layer_filled_{which}"][[*on, "size_bytes"]].dropna(subset="size_bytes")
        for which in ("one", "both")
    )
    merged = one.merge(both, on=on, suffixes=("_one", "_both"))
    return merged.assign(row="twice", y=100 * (merged["size_bytes_both"] / merged["size_bytes_one"] - 1))


FIGURES: dict[str, tuple[str, Callable[[pd.DataFrame], _Plot]]] = {
    "storage_size": ("size", _storage_size),
    "full_read": ("full_read", _full_read),
    "layer_read": ("layer_read", _layer_read),
    "random_access": ("random_access", _random_access),
    "parallel_access": ("parallel_access", _parallel_access),
}


def _blocks(cells: pd.DataFrame, points: pd.DataFrame) -> list[PageBlock]:
    """Tell traces that were made at several lengths, which get a panel each, from those that share one."""
    blocks, single = [], []
    shown = set(points["trace"])
    for trace, group in cells.groupby("trace", sort=False):
        sizes = sorted(float(n) for n in group["n_res"].dropna().unique())
        if trace not in shown:
            continue
        if len(sizes) > 1:
            blocks.append(PageBlock(words.pretty_trace(str(trace)), tuple((str(trace), n) for n in sizes), sweep=True))
        else:
            single.append((str(trace), sizes[0] if sizes else None))
    if single:
        title = "traces of one length" if len(single) > 1 else "one length"
        blocks.append(PageBlock(title, tuple(single), sweep=False))
    return blocks


def _page(plot: _Plot, cells: pd.DataFrame) -> Page:
    """Arrange the panels: traces side by side where they fit, else below one another."""
    points = plot.points
    blocks = _blocks(cells, points)
    columns = [name for name in plot.columns if (points["column"] == name).any()]
    rows = [row for row in plot.rows if (points["row"] == row.name).any()]
    beside = len(columns) * len(blocks) <= _MOST_COLUMNS
    if beside:
        grid = [[(row, column, block) for column in columns for block in blocks] for row in rows]
        widths = [1.0 if b.sweep else float(np.clip(0.36 * len(b.keys), 0.6, 2)) for _, _, b in grid[0]]
        fit = [b.fitted(width) for (_, _, b), width in zip(grid[0], Page.inches(widths), strict=True)]
        blocks, grid = (
            fit[: len(blocks)],
            [[(r, c, b) for (r, c, _), b in zip(line, fit, strict=True)] for line in grid],
        )
        heads = [(plot.columns[c], b.title if len(blocks) > 1 else "") for _, c, b in grid[0]]
        last = [row is rows[-1] for row in rows]
        below = [max(b.below for b in blocks)] * len(rows)
    else:
        blocks = [b.fitted(Page.inches([1.0] * len(columns))[0]) for b in blocks]
        grid = [[(r, c, b) for c in columns] for b in blocks for r in rows if len(_of(points, r, b))]
        widths = [1.0] * len(columns)
        heads = [(plot.columns[column], "") for column in columns]
        down = [line[0][2] for line in grid]
        last = [block is not after for block, after in zip(down, [*down[1:], None], strict=True)]
        below = [block.below + 0.14 for block in down]
    found = looks(zip(points["format"].astype(str), points["profile"].astype(str), strict=True))
    arms = {arm: look for arm, look in found.items() if arm[0] != RAW}
    page = Page(
        title=plot.title,
        caption=_caption(plot, cells, len(points.groupby(["row", "column"]))),
        legend=_legend(plot, arms),
        heights=[plot.height] * len(grid),
        below=[space if end else 0.12 for space, end in zip(below, last, strict=True)],
        widths=widths,
        headings=[_heading(parts, width) for parts, width in zip(heads, Page.inches(widths), strict=True)],
    )
    for i, line in enumerate(grid):
        for j, (row, column, block) in enumerate(line):
            axes = page.axes[i, j]
            part = _of(points, row, block)
            panel(axes, part[part["column"] == column], block, row.line, arms)
            _scale(axes, row, points if plot.one_scale else points[points["row"] == row.name])
            axes.tick_params(labelbottom=last[i], labelleft=j == 0)
            axes.tick_params(axis="y", which="both", left=j == 0)
            if j == 0:
                axes.set_ylabel(row.label, fontsize=8)
            if last[i] and block.sweep and (beside or j == 0):
                of = "" if beside and len(blocks) > 1 else " of " + block.title.replace("$", r"\$")
                under = [j] if beside and len(blocks) > 1 else range(len(line))
                if j == under[0]:
                    page.under(i, f"{N_RES} (residues, log axis){of}", block.drop + 0.03, under)
    return page


def _heading(parts: Sequence[str], inches: float) -> str:
    """Fold each part to the width of its panel."""
    fit = max(int(inches * 15.5), 12)
    return "\n".join(line for part in parts for text in part.splitlines() for line in textwrap.wrap(text, fit))


def _of(points: pd.DataFrame, row: _Row, block: PageBlock) -> pd.DataFrame:
    return points[(points["row"] == row.name) & points["trace"].isin({trace for trace, _ in block.keys})]


def _scale(axes: Axes, row: _Row, points: pd.DataFrame) -> None:
    """Give all panels of a row the same y axis."""
    values = points[["y", "low", "high"]].to_numpy(float)
    if row.log:
        seconds = row.label.endswith(_TIME)
        logarithmic(axes, float(np.nanmin(values[values > 0])), float(np.nanmax(values)), seconds=seconds)
    else:
        linear(axes, max(float(np.nanmax(values)), row.line or 1.0))


def _legend(plot: _Plot, arms: dict[Arm, Look]) -> list[Line2D]:
    handles = [Line2D([], [], label=look.label, **look.style()) for look in arms.values()]
    if (plot.points["format"] == RAW).any():
        text = "uncompressed (flat file; ratio 1)" if plot.exact else "raw ceiling (flat file)"
        handles.append(Line2D([], [], label=text, **CEILING))
    return handles


def _caption(plot: _Plot, cells: pd.DataFrame, panels: int) -> list[str]:
    """Say what a reader must know who sees the figure alone."""
    points, lines = plot.points, list(plot.notes)
    if not plot.exact:
        rounds = sorted({int(n) for n in points["samples"]})
        spell = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
        few = f" (fewer than {VERDICT_ROUNDS} rounds: no verdict)" if rounds[0] < VERDICT_ROUNDS else ""
        how = f"Median and 95 % bootstrap interval over {spell} round{'s' if rounds[-1] != 1 else ''}{few}."
        states = [text for state, text in _CONFIRMED.items() if state in set(points["cache"])]
        lines.insert(0, " ".join([how, *states, "Formats stand side by side at each length, so that intervals show."]))
    if (points["format"] == RAW).any() and not plot.exact:
        lines.append(
            "Raw ceiling: the same bytes, uncompressed, in one flat file; on a slow disk, fewer bytes can beat it."
        )
    traces = "; ".join(words.pretty_trace(t) for t in points["trace"].unique())
    profiles = sorted({str(p) for p in points["profile"]} - {""})
    lines.append(f"Traces: {traces}. Profile{'s' if len(profiles) > 1 else ''}: {', '.join(profiles) or 'none'}.")
    if ((cells["format"] == CONTROL) & (cells["status"] == "ok")).any():
        lines[-1] += " The blind A/A twin is measured but not drawn."
    missing = not_shown(cells)
    if len(points.groupby(["row", "column", "trace"])) < panels * points["trace"].nunique():
        lines.append("No result: the trace has no such tensor" + (", or the cell is listed below." if missing else "."))
    if len(missing) > _MOST_NOTES:
        missing = [*missing[:_MOST_NOTES], f"{len(missing) - _MOST_NOTES} more, see summary.csv"]
    return lines + [f"Not shown: {line}." for line in missing]
