"""Report section on corpora: rows per second, bytes read for each byte wanted, and a projection."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.extensions.corpus.measured import PROTEINS, MeasuredCorpora, ProjectedCorpus, measured
from harness.report.section import Block, Items, Section, Table, Text
from harness.trace.schema import MOST_TENSORS

_PROJECTION = f"Projection to {PROTEINS:,} proteins, not a measurement"


class CorpusSection(Section):
    """What training reads of corpora, and a projection that is labelled as one."""

    name, title = "corpus", "Corpora"
    order = 62

    def find(self, folder: Path, findings: Findings) -> MeasuredCorpora | None:
        """Return the figures of corpora; None if there are none, or if the run's reads are no basis for figures."""
        return None if findings.withdrawn else measured(folder, findings.samples, findings.summary)

    def blocks(self, found: MeasuredCorpora, findings: Findings) -> list[Block]:
        """Show the cells in rows per second, and the projection with its assumptions."""
        shown = Table(
            label="Rows of corpora", caption="Each access in rows a second.", columns=_COLUMNS, rows=_rows(found),
            figures=True, folded="In figures" if len(found.cells) > _MOST else "",
        )  # fmt: skip
        return [*map(Text, found.notes), Text(_MEANING), shown, *_projection(found)]


section = CorpusSection()

_MEANING = (
    "Rows a second: from an open archive, in the median. Opening and reading: from a closed one, as for a first batch. "
    "Bytes read: by the process, for each byte wanted; what a mapped file reads is not counted. Peak memory: of the "
    "process that reads."
)
_MOST = 40  # rows that are shown without folding
_COLUMNS = (
    "Case", "Format", "Rows a second", "Opening and reading", "Bytes read for each wanted", "Peak memory",
)  # fmt: skip


def _rows(found: MeasuredCorpora) -> list[list[str]]:
    arms = formatting.arms_of(found.cells)
    return [
        [
            f"{formatting.pretty_trace(row['trace'])}: {formatting.case(row)}",
            formatting.arm_name((row["format"], row["profile"] if formatting.known(row["profile"]) else ""), arms),
            f"{float(formatting.digits(row['rows_per_second'])):,.0f}",
            formatting.duration(row["median_seconds"]),
            formatting.times(row["read_amplification"]) if formatting.known(row["read_amplification"]) else "–",
            formatting.size(row["peak_rss_bytes"]) if formatting.known(row["peak_rss_bytes"]) else "–",
        ]
        for row in found.cells.to_dict("records")
    ]


def _projection(found: MeasuredCorpora) -> list[Block]:
    if not found.projected:
        return []
    columns = ("From", "Format", "Stored", "One layer of every protein, from disk", "Error on a measured corpus")
    notes = [
        "In proportion to the number of proteins, from the largest corpus of the run, for one disk and one reader.",
        "Proteins are as long as in that corpus. Batches are not projected.",
        "The last column is the error of the same rule from the next smaller corpus to the largest: in time, or in "
        "size if nothing was read cold.",
    ]
    if any(not each.corpus.kind[3] and each.corpus.kind[0] * PROTEINS > MOST_TENSORS for each in found.projected):
        notes.append(
            f"An archive holds at most {MOST_TENSORS:,} tensors here: with a tensor for each layer of each protein, so "
            "many proteins are several archives."
        )
    table = Table(
        label=_PROJECTION,
        caption=f"{_PROJECTION}.",
        columns=columns,
        rows=[_projected(each) for each in found.projected],
    )
    return [Text(f"{_PROJECTION}.", markdown=f"**{_PROJECTION}**."), table, Items(notes)]


def _projected(each: ProjectedCorpus) -> list[str]:
    def told(value: float, write: Any) -> str:
        return "–" if math.isnan(value) else str(write(value))

    named = each.format if each.profile in ("", "tuned") else f"{each.format} ({each.profile})"
    mean = each.corpus.rows / each.corpus.proteins
    return [
        f"{formatting.pretty_trace(each.trace)}: {each.corpus.proteins:,} proteins of {mean:.0f} residues",
        named,
        told(each.stored, formatting.size),
        told(each.layer_seconds, formatting.duration),
        told(each.error, formatting.percent) if not math.isnan(each.error) else "unknown: one corpus",
    ]
