"""``verdicts.json``: all that a report on several runs says, for a program to go on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from harness.documents import Count, Digest, Figure, Positive
from harness.extensions.beside.runs import CheckedRun
from harness.extensions.beside.shared import SharedCells
from harness.extensions.beside.systems import RunFact
from harness.extensions.beside.verdicts import Agreement, HeldVerdict, Kind
from harness.records import Effort
from harness.report.write import lasting

FILE = "verdicts.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """What runs say, side by side."""

    runs: Sequence[CheckedRun]  # The runs.
    baseline: str  # The format that ratios of cells refer to, in each run.
    shared: SharedCells  # What is compared.
    facts: Sequence[RunFact]  # What they were measured on and with.
    verdicts: Sequence[HeldVerdict]  # Every verdict.

    @property
    def names(self) -> list[str]:
        """The names of the runs."""
        return [run.name for run in self.runs]

    @property
    def efforts(self) -> list[Effort]:
        """How formats were read in all runs."""
        return list(dict.fromkeys(one.effort for one in self.verdicts))

    def of(self, kind: Kind, effort: Effort) -> list[HeldVerdict]:
        """Return the verdicts of a kind and an effort."""
        return [one for one in self.verdicts if (one.kind, one.effort) == (kind, effort)]


class ComparedRun(TypedDict):
    """A run; its samples are named by their digest."""

    name: str
    run_id: str
    samples_sha256: Digest
    rounds: Positive
    further_cells: Count


class ComparedFact(TypedDict):
    """A fact of every run, in the order of runs."""

    label: str
    differs: bool
    texts: list[str]


class ComparedWord(TypedDict):
    """What one run says: the word of its own report, empty without one, and what it leaves possible."""

    word: str
    possible: list[str]
    ratio: Figure | None
    low: Figure | None
    high: Figure | None


class ComparedVerdict(TypedDict):
    """A verdict on all runs, in the order of runs; `format` is empty for a use."""

    kind: Kind
    effort: Effort
    of: str
    format: str
    agreement: Agreement
    runs: list[ComparedWord]


class VerdictDocument(TypedDict):
    """The document."""

    verdicts_version: Literal[1]
    harness: str
    baseline: str
    runs: list[ComparedRun]
    shared_cells: Positive
    notes: list[str]
    facts: list[ComparedFact]
    verdicts: list[ComparedVerdict]


def to_document(found: SideBySide, harness: str) -> VerdictDocument:
    """Return everything as plain values; `harness` is the version that worked it out."""
    return lasting({
        "verdicts_version": VERSION, "harness": harness, "baseline": found.baseline,
        "runs": [
            {
                "name": run.name, "run_id": run.config.run_id, "samples_sha256": run.samples_sha256,
                "rounds": run.config.rounds, "further_cells": further,
            }
            for run, further in zip(found.runs, found.shared.further, strict=True)
        ],
        "shared_cells": len(found.shared.cells), "notes": list(found.shared.notes),
        "facts": [{"label": one.label, "differs": one.differs, "texts": list(one.texts)} for one in found.facts],
        "verdicts": [_verdict(one) for one in found.verdicts],
    })  # fmt: skip


def _verdict(one: HeldVerdict) -> ComparedVerdict:
    return {
        "kind": one.kind, "effort": one.effort, "of": one.of, "format": one.format, "agreement": one.agreement,
        "runs": [
            {
                "word": said.word, "possible": sorted(said.possible), "ratio": said.ratio, "low": said.low,
                "high": said.high,
            }
            for said in one.said
        ],
    }  # fmt: skip


def to_json(found: SideBySide, harness: str) -> str:
    """Write `to_document` as JSON."""
    return json.dumps(to_document(found, harness), indent=1) + "\n"
