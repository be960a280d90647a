"""The section on where the time of reads goes: its table, its drawing, its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.findings import Findings, plain
from harness.extensions.breakdown.analysis import OPENED, where_time_goes
from harness.extensions.breakdown.plot import draw_time
from harness.extensions.breakdown.rows import Breakdown, read_breakdown
from harness.records import CONTROL, RAW
from harness.report.page.scaling import main_subject
from harness.report.section import Block, Picture, Section, Table, Text


@dataclass(frozen=True)
class FoundTime:
    """What a run says of where its time goes; `cells` is None where it was not measured."""

    cells: pd.DataFrame | None


class TimeSection(Section):
    """Where the time of warm reads goes, on the trace that is drawn."""

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

    def draw(self, found: FoundTime, folder: Path, *, pictures: bool) -> list[Path]:
        """Draw stacked bars."""
        return [] if found.cells is None else draw_time(found.cells, folder, pictures=pictures)

    def limits(self, found: FoundTime, findings: Findings) -> list[str]:
        """Say how little stands behind its parts."""
        rounds = (
            "one instrumented round" if findings.config.rounds == 1 else "the quietest of a few instrumented rounds"
        )
        return [
            f"Where the time goes comes from {rounds}, apart from the samples of the verdicts; its parts have no "
            "intervals."
        ]

    def blocks(self, found: FoundTime, findings: Findings) -> list[Block]:
        """Say where time goes on the trace that is drawn, in words, a drawing and figures."""
        cells = found.cells
        if findings.without_formats:
            return []
        if cells is None or cells.empty or cells["total_seconds"].isna().all():
            return [Text("It was not measured in this run.")]
        trace, n_res = main_subject(cells[cells["total_seconds"].notna()])
        here = cells["n_res"].isna() if pd.isna(n_res) else cells["n_res"] == n_res
        shown = cells[(cells["trace"] == trace) & here]
        arms = words.arms_of(shown)
        rows = _rows(shown, arms, _counts(findings.summary, trace, n_res))
        table = Table(
            label="Where the time goes, in figures",
            caption="Warm; the round that was disturbed least. Bytes and read calls are those of the samples.",
            columns=_COLUMNS,
            rows=rows,
            figures=True,
            folded="In figures",
        )
        return [Text(_slow(shown, arms)), Picture("where_time_goes", self.title, _DRAWN), *([table] if rows else [])]


section = TimeSection()

_DRAWN = (
    "Stacked bars of open, metadata, file reads, decode, copy and the rest of the library, for each access and format; "
    "the same figures stand in the table below."
)
_COLUMNS = [
    "Access", "Format", "Read", "Open", "Metadata", "File reads", "Decode", "Copy", "Rest",
    "Of the raw ceiling's speed", "Bytes read per byte asked for", "Read calls", "Files opened",
]  # fmt: skip


def _rows(
    shown: pd.DataFrame, arms: list[tuple[str, str]], counts: dict[tuple[str, ...], dict[str, float]]
) -> list[list[str]]:
    accesses = list(dict.fromkeys(shown["access"]))
    rows = []
    order = {arm: place for place, arm in enumerate(arms)}
    found = [row for _, part in shown.groupby("access", sort=False) for row in part.to_dict("records")]
    found.sort(key=lambda row: (accesses.index(row["access"]), order[row["format"], row["profile"] or ""]))
    for row in found:
        if not words.known(row["total_seconds"]):
            continue
        arm = (str(row["format"]), str(row["profile"] or ""))
        told = counts.get((row["access"], *arm), {})
        rows.append(
            [
                words.access(str(row["access"])),
                words.arm_name(arm, arms),
                words.duration(row["total_seconds"]),
                *(words.duration(row[name]) if words.known(row[name]) else "–" for name in OPENED),
                _share(told.get("percent_of_raw")),
                words.times(told["read_amplification"]) if "read_amplification" in told else "–",
                f"{told['median_requests']:.0f}" if "median_requests" in told else "–",
                f"{told['files_opened']:.0f}" if "files_opened" in told else "–",
            ]
        )
    return rows


def _counts(summary: pd.DataFrame, trace: str, n_res: float) -> dict[tuple[str, ...], dict[str, float]]:
    length = summary["n_res"].isna() if pd.isna(n_res) else summary["n_res"] == n_res
    rows = summary[
        (summary["trace"] == trace) & length & (summary["cache"] == "warm") & (summary["executor"] == "main")
    ]
    names = ["percent_of_raw", "read_amplification", "median_requests", "files_opened"]
    return {
        (str(row["access"]), str(row["format"]), str(row["profile"] or "")): {
            name: float(row[name]) for name in names if words.known(row[name])
        }
        for row in rows.to_dict("records")
    }


def _share(percent: float | None) -> str:
    return "–" if percent is None else words.percent(percent / 100)


def _slow(cells: pd.DataFrame, arms: list[tuple[str, str]]) -> str:
    """Say for every format what it spends most on, over the accesses of one trace."""
    said = []
    for arm in arms:
        if arm[0] in (RAW, CONTROL):
            continue
        own = cells[(cells["format"] == arm[0]) & (cells["profile"].fillna("") == arm[1])]
        own = own.dropna(
            subset=["total_seconds", *OPENED]
        )  # a format that does not say where its bytes lie has no parts
        if own.empty:
            continue
        # Each access counts alike, however long it takes. Parts that reach beyond the read are shares of their sum.
        parts = own[[*OPENED]].clip(lower=0)
        shares = {name: float((parts[name] / parts.sum(axis=1)).mean()) for name in OPENED}
        top = sorted(shares, key=lambda name: -shares[name])[:2]
        said.append(
            f"{words.arm_name(arm, arms)} on "
            + words.listed(f"{OPENED[name].doing} ({words.percent(shares[name])})" for name in top)
        )
    if not said:
        return "No format says where its bytes lie, so only whole reads were timed."
    return f"On average over the accesses of the trace that is drawn, most time goes, for {'; for '.join(said)}."
