"""Report section that shows the result of `harness project` as a projection."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypedDict

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.documents import Figure, read_document
from harness.report.section import Block, Items, Section, Table, Text

FILE = "projection.json"
VERSION = 1

COLUMNS = (
    "format", "stored", "a month", "uploads", "requests an access", "all requests", "cost of reading",
    "time an access", "all accesses", "held-out error (lengths, accesses)",
)  # fmt: skip


class _Section(Section):
    """Section with the result of `harness project` for the run, labelled as a projection."""

    name = "projection"
    title = "Projection"
    order = 60
    measured: ClassVar = {FILE: f"the projection, in {FILE}"}

    def find(self, folder: Path, findings: Findings) -> Any:
        """Read the projection; None if there is none, or if the results of the run are withdrawn."""
        path = folder / FILE
        if findings.withdrawn or not path.exists():
            return None
        mend = "remove it and project again"
        return read_document(path, _Projected, version=("projection_version", VERSION), mend=mend, extra=True)

    def blocks(self, found: Any, findings: Findings) -> list[Block]:
        """Return the question, the rows and the assumptions."""
        label = "Projection, not a measurement"
        return [
            Text(f"{found['asked']}.", markdown=f"**{label}**: {found['asked']}."),
            Table(label=label, caption=f"{label}.", columns=COLUMNS, rows=[cells(row) for row in found["rows"]]),
            Items(found["notes"]),
        ]


section = _Section()


class Projected(TypedDict):
    """The shown fields of a row of a projection."""

    format: str
    profile: str
    gigabytes: Figure
    storage_per_month: Figure
    upload_requests: Figure
    upload: Figure
    requests_per_access: Figure
    requests: Figure
    reading: Figure
    seconds_per_access: Figure
    seconds: Figure
    error_by_length: Figure | None
    error_by_access: Figure | None


class _Projected(TypedDict):
    asked: str
    notes: list[str]
    rows: list[Projected]


def cells(row: Projected) -> list[str]:
    """Return one row of a projection as texts for `COLUMNS`."""
    seconds = row["seconds"]
    hours, minutes = f"{seconds / 3600:,.1f} h", f"{seconds / 60:.1f} min"
    errors = (row["error_by_length"], row["error_by_access"])
    return [
        row["format"] if row["profile"] in ("", "tuned") else f"{row['format']} {row['profile']}",
        formatting.size(row["gigabytes"] * 1e9),
        f"{row['storage_per_month']:,.2f} USD",
        f"{row['upload_requests']:,.0f} ({row['upload']:,.2f} USD)",
        f"{row['requests_per_access']:,.0f}",
        f"{row['requests']:,.0f}",
        f"{row['reading']:,.2f} USD",
        formatting.duration(row["seconds_per_access"]),
        hours if seconds >= 2 * 3600 else minutes if seconds >= 120 else formatting.duration(seconds),
        ", ".join("unknown" if value is None or value != value else f"{100 * value:.0f} %" for value in errors),
    ]
