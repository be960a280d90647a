"""One picture of the time of reads from an object store against its latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.analysis import formatting as words
from harness.report.drawing.figure import ArmStyle, Page, arm_styles, drawing

_NONE = 1.25  # where a latency of nothing stands on the log axis, in milliseconds
_RESAMPLES = 2000


def draw_latency(samples: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw a panel for each trace and access: seconds, opening included, against latency, a line for each format.

    Parameters
    ----------
    samples : DataFrame
        Columns trace, latency_ms, bandwidth (bytes per second, 0 for no limit), access, format, profile, seconds,
        open_seconds; one row a sample, of which none is wrong.
    folder : Path
        Where the files go.

    Returns
    -------
    list of Path
        ``latency.svg`` and ``latency.png``.
    """
    samples = samples.assign(total=samples["seconds"] + samples["open_seconds"])
    traces, accesses = list(samples["trace"].unique()), list(samples["access"].unique())
    found = arm_styles(sorted({(str(f), str(p)) for f, p in zip(samples["format"], samples["profile"], strict=True)}))
    names = [name for name, _ in found]
    entries = [
        Line2D([], [], label=style.label if names.count(name) > 1 else name, **_line(style))
        for (name, _), style in found.items()
    ]
    limits = sorted(samples["bandwidth"].unique())
    rounds = int(samples.groupby(["trace", "latency_ms", "access", "format", "profile"]).size().min())
    with drawing():
        page = Page(
            title="Reads from an object store against its latency (lower is better)",
            caption=[
                "Median time of all reads of the access, opening a fresh reader with a fresh client included, with its "
                f"95 % bootstrap interval; {rounds} rounds, formats interleaved. Both axes are logarithmic; 0 ms has "
                "no place on such an axis and stands at its left end. npz loads each tensor whole once and takes "
                "windows from memory. One GET is a single request for as many bytes as zarr-slim read.",
                "A shaper on loopback adds the latency to each request of a real S3 server and limits what is read to "
                f"{words.listed([f'{limit / 1e6:g} MB/s' if limit else 'no bandwidth' for limit in limits])}.",
            ],
            legend=entries,
            heights=[2.7] * len(traces),
            below=[0.62] * len(traces),
            widths=[1.0] * len(accesses),
            headings=[str(access) for access in accesses],
        )
        for row, trace in enumerate(traces):
            of_trace = samples[samples["trace"] == trace]
            for column, access in enumerate(accesses):
                axes = page.axes[row, column]
                for key, style in found.items():
                    arm = of_trace[(of_trace["access"] == access) & (of_trace["format"] == key[0])]
                    _curve(axes, arm[arm["profile"] == key[1]], style)
                _scale(axes, of_trace, labels=column == 0)
            page.axes[row, 0].set_ylabel(words.pretty_trace(str(trace)), fontsize=8)
            page.under(row, "latency added to each request, in milliseconds", 0.3, range(len(accesses)))
        return page.save(folder, "latency")


def _line(style: ArmStyle) -> dict[str, Any]:
    fill = "white" if style.fill == "none" else style.colour
    return {
        "color": style.colour, "marker": style.marker, "linestyle": style.dash, "markersize": 4.2, "linewidth": 1.1,
        "markerfacecolor": fill,
    }  # fmt: skip


def _curve(axes: Axes, rows: pd.DataFrame, style: ArmStyle) -> None:
    rng = np.random.default_rng(0)
    points = []
    for latency, group in rows.groupby("latency_ms"):
        values = group["total"].to_numpy(float)
        medians = np.median(rng.choice(values, (_RESAMPLES, len(values))), axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        points.append((max(float(str(latency)), _NONE), float(np.median(values)), low, high))
    if points:
        x, y, low, high = np.array(points).T
        axes.errorbar(x, y, yerr=np.array([y - low, high - y]), elinewidth=0.9, capsize=1.8, **_line(style))


def _scale(axes: Axes, rows: pd.DataFrame, *, labels: bool) -> None:
    latencies = sorted(rows["latency_ms"].unique())
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([max(v, _NONE) for v in latencies], [f"{v:g}" for v in latencies])
    axes.set_xticks([], minor=True)
    low, high = rows["total"].min() / 1.3, rows["total"].max() * 1.3
    ticks = [s * 10.0**p for p in range(-5, 4) for s in (1, 3) if low <= s * 10.0**p <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [words.duration(t) if labels else "" for t in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(alpha=0.4)
