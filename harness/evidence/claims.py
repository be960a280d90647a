"""Two lists for the end of a check: what it has shown, and what a bundle only claims."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pandas as pd

from harness.evidence.bundle import Bundle, drawings, measured_too, tables
from harness.evidence.check import Result

_ALWAYS = (
    "that no more was asked for: formats, suites, traces, lengths, rounds and seed, in run.json",
    "the tensors of the traces, by their names and shapes, in plan.json",
    "the times, counts, sizes and statuses in samples.csv, as they were measured",
    "the SHA-256 and the size of each archive, and the digests of its tensors, in archives.json",
    "the machine and its software, in environment.json",
    "the settings of the formats, in ledger.csv",
)


def shown(results: Sequence[Result]) -> Iterator[str]:
    """Yield what was shown to follow from a bundle's samples, plan and seed, from `check` results without problems."""
    good = [result.what for result in results if not result.unchecked]
    published = [name for name in good if name in tables()]
    drawn = [name for name in good if name in drawings()]
    yield from (name for name in good if name not in (*published, *drawn))
    if published:
        yield ", ".join(published)
    if drawn:
        pictures = sum(name.endswith(".png") for name in drawn)
        yield f"{len(drawn) - pictures} drawings as SVG, {pictures} as PNG"


def claimed(bundle: Bundle, results: Sequence[Result]) -> Iterator[str]:
    """Yield what only a new measurement can show, and what could be checked but was not, from `check` results."""
    yield from _ALWAYS
    rows = pd.read_csv(io.BytesIO(bundle.files["samples.csv"]), dtype=str, keep_default_na=False)
    if again := int((rows["cause"] != "").sum()) if "cause" in rows else 0:
        yield f"that the machine failed in {again} rows of samples.csv, whose rounds were taken again"
    if rejected := int((rows["status"] == "rejected").sum()):
        yield f"what was recorded of the machine in {rejected} rows of samples.csv that were rejected"
    yield from (claim for name, claim in measured_too().items() if name in bundle.files)
    yield from (f"{result.what}: not checked here, {result.unchecked}" for result in results if result.unchecked)
