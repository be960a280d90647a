"""Plot of the time of reads from an object store against its latency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.records import RAW
from harness.report.drawing.figure import CEILING, GREY, ArmStyle, Page, arm_styles, drawing

_NONE = 1.25  # place of zero latency on the log axis, in milliseconds
_RESAMPLES = 2000
_HEIGHT = 2.7  # height of a panel in inches
_NAME = 0.14  # inches between names at the ends of lines


def draw_latency(samples: pd.DataFrame, folder: Path, aside: Sequence[str] = ()) -> list[Path]:
    """Draw a panel for each trace and access: seconds, opening included, against latency, a line for each format.

    Parameters
    ----------
    samples : DataFrame
        Columns trace, latency_ms, bandwidth (bytes per second, 0 for no limit), access, format, profile, seconds,
        open_seconds, bytes_read; one row per sample, all with correct values.
    folder : Path
        Folder for the files.
    aside : sequence of str
        Arms that were measured too but are not among the samples, for the caption.

    Returns
    -------
    list of Path
        ``latency.svg`` and ``latency.png``.
    """
    samples = samples.assign(total=samples["seconds"] + samples["open_seconds"])
    traces, accesses = list(samples["trace"].unique()), list(samples["access"].unique())
    found = arm_styles(sorted({(str(f), str(p)) for f, p in zip(samples["format"], samples["profile"], strict=True)}))
    profiles = Counter(name for name, _ in found)
    # A line has little room for its name: the profile is shown only if it distinguishes two lines.
    short = {key: key[0] if profiles[key[0]] == 1 else style.label for key, style in found.items()}
    found = {key: replace(style, label=short[key]) for key, style in found.items()}
    found[RAW, ""] = ArmStyle(label="raw (flat file)", colour=GREY, marker="o", dash=CEILING["linestyle"], fill="full")
    with drawing():
        page = Page(
            title="Reads from an object store against its latency (lower is better)",
            caption=_caption(samples, aside),
            legend=[],
            heights=[_HEIGHT] * len(traces),
            below=[0.62] * len(traces),
            widths=[1.0] * len(accesses),
            headings=[str(access) for access in accesses],
        )
        for row, trace in enumerate(traces):
            of_trace = samples[samples["trace"] == trace]
            for column, access in enumerate(accesses):
                axes = page.axes[row, column]
                _scale(axes, of_trace, labels=column == 0)
                ends: dict[str, tuple[float, float]] = {}
                for key, style in found.items():
                    arm = of_trace[(of_trace["access"] == access) & (of_trace["format"] == key[0])]
                    arm = arm[arm["profile"] == key[1]]
                    if len(arm):
                        ends[style.label] = _curve(axes, arm, style)
                _name(axes, ends)
            page.axes[row, 0].set_ylabel(f"{formatting.pretty_trace(str(trace))}\n(time, log axis)", fontsize=8)
            page.under(row, "latency added to each request, in milliseconds (log axis)", 0.3, range(len(accesses)))
        return page.save(folder, "latency")


def _caption(samples: pd.DataFrame, aside: Sequence[str]) -> list[str]:
    limits = sorted(samples["bandwidth"].unique())
    rounds = int(samples.groupby(["trace", "latency_ms", "access", "format", "profile"]).size().min())
    flat = samples["format"] == RAW
    read = samples.groupby(["access", flat])["bytes_read"].median().unstack()
    caption = [
        "Median time of all reads of the access, opening a fresh reader included (with a fresh client, but for "
        "tensorstore, whose connections are the process's), with its "
        f"95 % bootstrap interval; {rounds} rounds, formats interleaved. 0 ms has no place on a logarithmic axis and "
        "stands at its left end. npz-download fetches the archive whole, once. One GET is a single request for as many "
        "bytes as this project's decoder read.",
        "A shaper on loopback adds the latency to each request of a real S3 server and limits what is read to "
        f"{formatting.listed([f'{limit / 1e6:g} MB/s' if limit else 'no bandwidth' for limit in limits])}.",
    ]
    if {True, False} <= set(read):
        named = read.rename(columns={True: "flat", False: "others"})
        moved = {str(name): (float(row["flat"]), float(row["others"])) for name, row in named.iterrows()}
        most = max(moved, key=lambda name: moved[name][0] / moved[name][1])
        flat_file, others = map(formatting.size, moved[most])
        caption.append(
            "The flat file (raw) can be the slowest here, though it is the ceiling on a disk. Its values are not "
            "compressed, and the rows of a window lie far apart in it: one request takes all that lies between them. "
            f"For {most} it moved {flat_file}, the others {others} (median)."
        )
    return caption + ([f"Measured too, see samples.csv: {'; '.join(aside)}."] if aside else [])


def _curve(axes: Axes, rows: pd.DataFrame, style: ArmStyle) -> tuple[float, float]:
    """Draw the line of a format; return its last point."""
    rng = np.random.default_rng(0)
    points = []
    for latency, group in rows.groupby("latency_ms"):
        values = group["total"].to_numpy(float)
        medians = np.median(rng.choice(values, (_RESAMPLES, len(values))), axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        points.append((max(float(str(latency)), _NONE), float(np.median(values)), low, high))
    x, y, low, high = np.array(points).T
    line: dict[str, Any] = style.line() | {"markersize": 4.2, "linewidth": 1.1, "elinewidth": 0.9}
    axes.errorbar(x, y, yerr=np.array([y - low, high - y]), **line)
    return float(x[-1]), float(y[-1])


def _name(axes: Axes, ends: dict[str, tuple[float, float]]) -> None:
    """Write the names of lines at their ends, moved apart if these are close together."""
    low, high = map(math.log, axes.get_ylim())
    apart = _NAME / _HEIGHT * (high - low)
    ordered = sorted(ends.items(), key=lambda item: item[1][1])
    places: list[float] = []
    for _, (_, end) in ordered:
        places.append(max(math.log(end), places[-1] + apart if places else -math.inf))
    top = high
    for number in reversed(range(len(places))):  # names beyond the upper edge push the others down
        places[number] = top = min(places[number], top)
        top -= apart
    for (name, (x, _)), y in zip(ordered, places, strict=True):
        axes.annotate(
            name, (x, math.exp(y)), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5,
            annotation_clip=False, parse_math=False,
        )  # fmt: skip


def _scale(axes: Axes, rows: pd.DataFrame, *, labels: bool) -> None:
    latencies = sorted(rows["latency_ms"].unique())
    places = [max(value, _NONE) for value in latencies]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{value:g}" for value in latencies])
    axes.set_xticks([], minor=True)
    # Leave room right of the last latency for the names of the lines.
    axes.set_xlim(places[0] / 1.3, places[-1] * max(places[-1] / places[0], 2) ** 0.4)
    low, high = rows["total"].min() / 1.3, rows["total"].max() * 1.3
    ticks = [s * 10.0**p for p in range(-5, 4) for s in (1, 3) if low <= s * 10.0**p <= high]
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [formatting.duration(t) if labels else "" for t in ticks])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y")
