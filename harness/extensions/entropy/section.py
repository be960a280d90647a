"""Report section that compares sizes with the entropy of each trace under a stated model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.extensions.entropy import document
from harness.extensions.entropy.document import TraceEntropy
from harness.report.section import Block, Section, Table, Text

_SIZE, _ARCHIVE = "size", "archive"
_MODEL = (
    "The estimate assumes that the first bytes of all values of a tensor are drawn independently, with the frequencies "
    "that they have, and so the second bytes, and so on. It is no bound: a codec that finds repetition or neighbours "
    "that are alike is smaller, and equal tensors that are stored once are smaller by far."
)


class EntropySection(Section):
    """Sizes next to the entropy of each trace."""

    name, title = "entropy", "Sizes beside an entropy estimate"
    order = 75
    measured: ClassVar = {document.FILE: f"the entropy of each trace, in {document.FILE}"}

    def find(self, folder: Path, findings: Findings) -> list[TraceEntropy] | None:
        """Read the estimates; return None if there are none."""
        return document.read(folder) or None

    def document(self, found: list[TraceEntropy]) -> dict[str, Any]:
        """Return the estimates."""
        return {"entropy": list(found)}

    def blocks(self, found: list[TraceEntropy], findings: Findings) -> list[Block]:
        """Show how many times smaller than float32 each trace is, by the model and in each format."""
        sizes = _sizes(findings.summary)
        formats = formatting.ordered({name for name, _, _ in sizes})
        rows = [_row(each, formats, sizes) for each in found]
        caption = "Times smaller than float32: by the estimate, and as each format stores the trace."
        columns = ("trace", "estimate", *formats)
        return [
            Text(_MODEL),
            Table(label="Sizes and entropy", caption=caption, columns=columns, rows=rows, figures=True),
        ]


def _sizes(summary: pd.DataFrame) -> dict[tuple[str, str, float | None], float]:
    """Return how many times smaller than float32 an archive is, by format, trace and length, in tuned settings."""
    cells = summary[summary["suite"].eq(_SIZE) & summary["access"].eq(_ARCHIVE) & summary["profile"].eq("tuned")]
    cells = cells[cells["ratio_to_float32"].notna()]
    rows: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in cells.to_dict("records")]
    return {
        (row["format"], row["trace"], None if pd.isna(row["n_res"]) else float(row["n_res"])): row["ratio_to_float32"]
        for row in rows
    }


def _row(found: TraceEntropy, formats: list[str], sizes: dict[tuple[str, str, float | None], float]) -> tuple[str, ...]:
    length = found["n_res"]
    estimate = formatting.times(found["float32_bytes"] / found["entropy_bytes"]) if found["entropy_bytes"] else "any"
    counted = "" if found["counted"] > 0.999 else f" (of {formatting.percent(found['counted'])} of the bytes)"
    key = None if length is None else float(length)
    cells = (sizes.get((name, found["trace"], key)) for name in formats)
    return (
        formatting.subject(found["trace"], length),
        f"{estimate}{counted}",
        *("–" if ratio is None else formatting.times(ratio) for ratio in cells),
    )


section = EntropySection()
