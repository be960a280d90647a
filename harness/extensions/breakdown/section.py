"""Report section on where the time of reads goes: its table, drawing and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.analysis.plain_values import plain
from harness.extensions.breakdown.analysis import OPENED, below_zero, drawn_cells, where_time_goes
from harness.extensions.breakdown.plot import draw_time
from harness.extensions.breakdown.rows import Breakdown, read_breakdown
from harness.records import kind_of
from harness.report.section import Block, Picture, Section, Table, Text


@dataclass(frozen=True)
class FoundTime:
    """Summary of where the time of a run goes; `cells` is None if it was not measured."""

    cells: pd.DataFrame | None


class TimeSection(Section):
    """Where the time of warm reads goes, for the trace that is drawn."""

    name, title = "time", "Where the time goes"
    order = 70
    measured: ClassVar = {
        Breakdown.file: f"the times in {Breakdown.file}, those that no published figure uses included"
    }
    drawn = ("where_time_goes",)

    def find(self, folder: Path, findings: Findings) -> FoundTime:
        """Summarise ``breakdown.csv``."""
        path = folder / Breakdown.file
        return FoundTime(where_time_goes(read_breakdown(path)) if path.exists() else None)

    def document(self, found: FoundTime) -> dict[str, Any]:
        """Return the table."""
        return {"where_time_goes": plain(found.cells)}

    def draw(self, found: FoundTime, folder: Path) -> list[Path]:
        """Draw stacked bars."""
        return [] if found.cells is None else draw_time(found.cells, folder)

    def limits(self, found: FoundTime, findings: Findings) -> list[str]:
        """Return a sentence on how few rounds the parts come from."""
        rounds = (
            "one instrumented round" if findings.config.rounds == 1 else "the quietest of a few instrumented rounds"
        )
        return [
            f"Where the time goes comes from {rounds}, apart from the samples of the verdicts; its parts have no "
            "intervals."
        ]

    def blocks(self, found: FoundTime, findings: Findings) -> list[Block]:
        """Return sentences, a drawing and a table on where time goes, for the trace that is drawn."""
        cells = found.cells
        if findings.without_formats:
            return []
        if cells is None or cells.empty or cells["total_seconds"].isna().all():
            return [Text("It was not measured in this run.")]
        trace, n_res, shown = drawn_cells(cells)
        arms = formatting.arms_of(shown)
        summary = findings.summary
        of_it = summary["n_res"].isna() if pd.isna(n_res) else summary["n_res"] == n_res
        rows = _rows(shown, arms, summary[(summary["trace"] == trace) & of_it])
        table = Table(
            label="Where the time goes, in figures",
            caption="Warm; the round that was disturbed least. Bytes and read calls are those of the samples.",
            columns=_COLUMNS,
            rows=rows,
            figures=True,
            folded="In figures",
        )
        told = [Text(text) for text in (_slow(shown, arms), _too_long(shown, arms)) if text]
        return [*told, Picture("where_time_goes", self.title, _DRAWN), *([table] if rows else [])]


section = TimeSection()

_DRAWN = (
    "Stacked bars of open, metadata, file reads, decode, copy and the rest of the library, for each access and format; "
    "the same figures stand in the table below."
)
_COLUMNS = [
    "Access", "Format", "Read", "Open", "Metadata", "File reads", "Decode", "Copy", "Rest",
    "Of the raw ceiling's speed", "Bytes read per byte asked for", "Read calls", "Files opened",
]  # fmt: skip


_DURATIONS = ["total_seconds", *(name for name in OPENED if name != "rest_seconds")]
_FLAG = " (parts beyond the read)"

_COUNTED = {  # how to write those figures of the summary that are known
    "percent_of_raw": lambda share: formatting.percent(share / 100),
    "read_amplification": formatting.times,
    "median_requests": "{:.0f}".format,
    "files_opened": "{:.0f}".format,
}


def _rows(shown: pd.DataFrame, arms: list[tuple[str, str]], summary: pd.DataFrame) -> list[list[str]]:
    """Return a row for each cell of a subject, with the counts of the same reads from the summary."""
    counted = summary[(summary["cache"] == "warm") & (summary["executor"] == "main")].fillna({"profile": ""})
    counts = {(row["access"], row["format"], row["profile"]): row for row in counted.to_dict("records")}
    rows = []
    shown = shown.assign(below_zero=below_zero(shown))
    found = shown[shown["total_seconds"].notna()].fillna({"profile": ""}).to_dict("records")
    accesses = list(dict.fromkeys(shown["access"]))
    found.sort(key=lambda row: (accesses.index(row["access"]), arms.index((row["format"], row["profile"]))))
    for row in found:
        flag = _FLAG if row["below_zero"] else ""
        told = counts.get((row["access"], row["format"], row["profile"]), {})
        rows.append(
            [
                formatting.access(row["access"]),
                formatting.arm_name((row["format"], row["profile"]), arms),
                *(formatting.duration(row[name]) if formatting.known(row[name]) else "–" for name in _DURATIONS),
                formatting.duration(row["rest_seconds"]) + flag if formatting.known(row["rest_seconds"]) else "–",
                *(write(told[name]) if formatting.known(told.get(name)) else "–" for name, write in _COUNTED.items()),
            ]
        )
    return rows


def _too_long(cells: pd.DataFrame, arms: list[tuple[str, str]]) -> str:
    """Return a sentence on the formats whose parts take clearly longer than the read; empty if there are none."""
    found = cells[below_zero(cells)]
    if found.empty:
        return ""
    names, of = (
        [formatting.arm_name(arm, arms) for arm in formatting.arms_of(found)],
        cells["rest_seconds"].notna().sum(),
    )
    return (
        f"In {len(found)} of {of} cells, of {formatting.listed(names)}, the parts take "
        "clearly longer than the read. They are marked: the read decodes on several threads and the replay on one, or "
        "the replay was disturbed. The parts say there what there is to do, and not how the time of the read divides."
    )


def _slow(cells: pd.DataFrame, arms: list[tuple[str, str]]) -> str:
    """Return a sentence on the two largest parts of every format, over the accesses of one trace."""
    said = []
    for arm in arms:
        if kind_of(arm[0]) != "format":
            continue
        own = cells[(cells["format"] == arm[0]) & (cells["profile"].fillna("") == arm[1])]
        own = own.dropna(
            subset=["total_seconds", *OPENED]
        )  # a format that does not expose where its bytes lie has no parts
        if own.empty:
            continue
        # Each access has the same weight, however long it takes. Parts beyond the read are shares of their sum.
        parts = own[[*OPENED]].clip(lower=0)
        shares = {name: float((parts[name] / parts.sum(axis=1)).mean()) for name in OPENED}
        top = sorted(shares, key=lambda name: -shares[name])[:2]
        said.append(
            f"{formatting.arm_name(arm, arms)} on "
            + formatting.listed(f"{OPENED[name].doing} ({formatting.percent(shares[name])})" for name in top)
        )
    if not said:
        return "No format says where its bytes lie, so only whole reads were timed."
    return f"On average over the accesses of the trace that is drawn, most time goes, for {'; for '.join(said)}."
