"""Data for the plot of a suite: points from cells of a summary, and the order of its rows and columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import of_kind
from harness.sampling.executor import Executor, load_executor
from harness.suite import SIZE, AccessInfo, Plot, Suite, access_named

_STATES = {
    "warm": "warm page cache", "cold": "cold page cache", "lukewarm": "lukewarm page cache", "remote": "object store",
}  # fmt: skip
_TIME = "time (log axis)"  # with the unit at each tick: one figure may span microseconds to minutes


@dataclass(frozen=True)
class PanelRow:
    """A row of panels with one y axis."""

    name: str
    label: str
    log: bool = True
    line: float | None = None  # where an uncompressed file would be
    access: str = ""  # the access that it shows; empty if the column is the access


@dataclass(frozen=True, kw_only=True)
class PlotData:
    """Data for one figure: tidy points, and the order of its rows and columns."""

    title: str
    points: pd.DataFrame  # Columns ``row, column, trace, n_res, format, profile, best, y, low, high``.
    rows: list[PanelRow]
    columns: dict[str, str]
    notes: list[str]
    height: float
    exact: bool  # Whether these are sizes, else times.
    one_scale: bool  # Whether all rows have one y axis, because they are compared with each other.
    joined: bool = True  # Whether lines join lengths; times of different nodes must not be compared.


def plot_data(suite: Suite, plot: Plot, cells: pd.DataFrame) -> PlotData:
    """Return the data for the plot of a suite from its measured cells, without the A/A control."""
    return _sizes(suite, plot, cells) if suite.unit == "B" else _times(suite, plot, cells)


def _infos(suite: Suite, names: Iterable[str]) -> list[AccessInfo]:
    """Return the facts on the measured accesses; those that the suite lists come first."""
    measured = list(dict.fromkeys(names))
    listed = [info for info in suite.accesses if info.name in measured]
    return listed + [access_named(name, suite.name) for name in measured if name not in {i.name for i in listed}]


def _times(suite: Suite, plot: Plot, cells: pd.DataFrame) -> PlotData:
    points = cells.rename(columns={"median_seconds": "y", "ci_low": "low", "ci_high": "high"})
    points = points[points["y"] > 0]
    infos = _infos(suite, points["access"])
    states = [state for state in _STATES if state in set(points["cache"])]
    states += sorted(set(points["cache"]) - set(_STATES))
    rows = [PanelRow(info.name, f"{info.label}\n{_TIME}", access=info.name) for info in infos]
    notes = [plot.note] if plot.note else []
    if plot.columns == "access":
        base = {info.name: info.variant_of or info.name for info in infos}
        way = {info.name: info.variant for info in infos}
        points = points.assign(row=points["cache"] + points["access"].map(way), column=points["access"].map(base))
        rows = [
            PanelRow(state + variant, f"{_state(state, variant)}\n{_TIME}")
            for state in states
            for variant in dict.fromkeys(["", *way.values()])
        ]
        columns = {info.name: info.label for info in infos if not info.variant_of}
        notes += dict.fromkeys(info.note for info in infos if info.note)
    elif plot.columns == "workers":
        points = points.assign(row=points["access"], column=points["executor"] + " " + points["workers"].astype(str))
        columns, left = _workers(points)
        points = points[points["column"].isin(list(columns))]
        notes += [f"Measured too, see summary.csv: {', '.join(left)}."] if left else []
    else:
        points = points.assign(row=points["access"], column=points["cache"])
        columns = {state: _state(state) for state in states}
        if len(infos) == 1:
            rows = [PanelRow(infos[0].name, _TIME, access=infos[0].name)]
    return PlotData(
        title=plot.title, points=points, rows=rows, columns=columns, notes=[" ".join(notes)] if notes else [],
        height=2.7 if len(rows) == 1 else 1.5, exact=False, one_scale=plot.columns == "access",
    )  # fmt: skip


def _state(state: str, variant: str = "") -> str:
    text = _STATES.get(state, state)
    return f"{text.removesuffix(' page cache')}, {variant}" if variant else text


def _workers(points: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """Return the columns: one worker, for comparison, and the most of each kind; and the names of the others."""
    counts = {str(e): sorted({int(n) for n in g["workers"]}) for e, g in points.groupby("executor")}
    kinds = {kind.name: kind for kind in sorted(map(load_executor, counts), key=lambda kind: kind.order)}
    chosen = [(name, 1) for name in list(kinds)[:1] if 1 in counts[name]]
    chosen += [(name, counts[name][-1]) for name in kinds if (name, counts[name][-1]) not in chosen]
    left = [f"{name} {n}" for name in kinds for n in counts[name] if (name, n) not in chosen]
    return {f"{name} {n}": _crew(kinds[name], n) for name, n in chosen}, left


def _crew(kind: Executor, number: int) -> str:
    """Return the heading of a column: the number and kind of workers."""
    if number == 1:
        return f"1 {kind.worker[0]}{', shared reader' if kind.shared else ''}"
    return f"{number} {kind.worker[1]}" + (f",\n{kind.readers}" if kind.readers else "")


def _sizes(suite: Suite, plot: Plot, cells: pd.DataFrame) -> PlotData:
    cells = cells[cells["size_bytes"].notna()]
    infos = _infos(suite, cells["access"])
    shown = [info for info in infos if info.cost == SIZE] or [info for info in infos if not info.variant_of]
    rows: list[PanelRow] = []
    parts: list[pd.DataFrame] = []
    notes = ["Sizes are exact, one archive per format and trace, so there are no intervals. 1 MB is 10⁶ bytes."]
    for info in shown:
        here = cells[cells["access"] == info.name]
        what = f"{info.label}\n" if len(shown) > 1 else ""
        bytes_row, ratio = f"{info.name} bytes", f"{info.name} ratio"
        label = f"{what}times smaller than\nuncompressed float32\nhigher is better"
        rows += [
            PanelRow(bytes_row, f"{what}size\n(MB, log axis)\nlower is better", access=info.name),
            PanelRow(ratio, label, log=False, line=1.0, access=info.name),
        ]
        # The flat file is the line at 1; in its place is one with two bytes per value, where these are enough.
        native = here["ratio_to_float32"] / here["ratio_to_native"]
        smaller = here["ratio_to_float32"].mask(of_kind(here, "ceiling"), native.where(native > 1.01))
        parts += [here.assign(row=bytes_row, y=here["size_bytes"] / 1e6), here.assign(row=ratio, y=smaller)]
    points = pd.concat(parts, ignore_index=True) if parts else cells.assign(row="", y=np.nan)
    return PlotData(
        title=plot.title, points=points.assign(column="", low=np.nan, high=np.nan), rows=rows, columns={"": ""},
        notes=[" ".join(notes), *(text for info in infos if (text := _more(cells, info)))], height=2.1, exact=True,
        one_scale=False,
    )  # fmt: skip


def _more(cells: pd.DataFrame, info: AccessInfo) -> str:
    """Return a sentence on how many percent more an access takes than the one that it varies; empty without one."""
    on = ["trace", "n_res", "format", "profile"]
    formats = cells[~of_kind(cells, "ceiling") & ~cells["best"]]
    base, other = (formats[formats["access"] == name][[*on, "size_bytes"]] for name in (info.variant_of, info.name))
    both = base.merge(other, on=on, suffixes=("", "_other"))
    more = both.assign(more=100 * (both["size_bytes_other"] / both["size_bytes"] - 1))
    said: dict[str, list[str]] = {}
    arms = formatting.arms_of(more)
    for arm in arms:
        values = more["more"][(more["format"] == arm[0]) & (more["profile"] == arm[1])]
        ends = dict.fromkeys((f"{round(values.min())}", f"{round(values.max())}"))
        said.setdefault(f"{' to '.join(ends)} %", []).append(formatting.arm_name(arm, arms))
    figures = "; ".join(f"{formatting.listed(names)} {percent}" for percent, names in said.items())
    return f"{info.note} More {info.variant}: {figures}." if said else ""
