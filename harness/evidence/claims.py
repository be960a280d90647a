"""What a check has shown, and what a bundle only claims: two lists for its closing lines."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import pandas as pd

from harness.evidence.bundle import DRAWN, MEASURED_TOO, PUBLISHED, PUBLISHED_TOO, Bundle
from harness.evidence.check import Result
from harness.extensions.projection import section as projection
from harness.extensions.result_directories.record import DIRECTORIES

_ALWAYS = (
    "that no more was asked for: formats, suites, traces, lengths, rounds and seed, in run.json",
    "the tensors of the traces, by their names and shapes, in plan.json",
    "the times, counts, sizes and statuses in samples.csv, as they were measured",
    "the SHA-256 and the size of each archive, and the digests of its tensors, in archives.json",
    "the machine and its software, in environment.json",
    "the settings of the formats, in ledger.csv",
)
_SOMETIMES = {
    "breakdown.csv": "the times in breakdown.csv, those that no published figure uses included",
    "contention.csv": "the times in contention.csv, those that no published figure uses included",
    DIRECTORIES: f"the files of result directories and what was read from them, in {DIRECTORIES}",
    projection.FILE: f"the projection, in {projection.FILE}",
}


def shown(results: Sequence[Result]) -> Iterator[str]:
    """Yield what follows from a bundle's samples, plan and seed, as was checked.

    Parameters
    ----------
    results : sequence of Result
        From `harness.evidence.check.check`, without problems.
    """
    good = [result.what for result in results if not result.unchecked]
    published = [name for name in good if name in (*PUBLISHED, *PUBLISHED_TOO)]
    drawn = [name for name in good if name in DRAWN]
    yield from (name for name in good if name not in (*published, *drawn))
    if published:
        yield ", ".join(published)
    if drawn:
        pictures = sum(name.endswith(".png") for name in drawn)
        yield f"{len(drawn) - pictures} drawings as SVG, {pictures} as PNG"


def claimed(bundle: Bundle, results: Sequence[Result]) -> Iterator[str]:
    """Yield what nobody can know without measuring again, and what could be checked and was not.

    Parameters
    ----------
    bundle : Bundle
        What was checked.
    results : sequence of Result
        From `harness.evidence.check.check`.
    """
    yield from _ALWAYS
    rows = pd.read_csv(io.BytesIO(bundle.files["samples.csv"]), dtype=str, keep_default_na=False)
    if again := int((rows["cause"] != "").sum()) if "cause" in rows else 0:
        yield f"that the machine failed in {again} rows of samples.csv, whose rounds were taken again"
    if rejected := int((rows["status"] == "rejected").sum()):
        yield f"what was recorded of the machine in {rejected} rows of samples.csv that were rejected"
    yield from (_SOMETIMES[name] for name in MEASURED_TOO if name in bundle.files)
    yield from (f"{result.what}: not checked here, {result.unchecked}" for result in results if result.unchecked)
