"""``verdicts.json``: the content of a report on several runs, as a machine-readable document."""

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
    """The findings of several runs, side by side."""

    runs: Sequence[CheckedRun]  # The runs.
    baseline: str  # Format that the ratios of cells refer to, in each run.
    shared: SharedCells  # Cells that are compared.
    facts: Sequence[RunFact]  # Machines, libraries and settings of the runs.
    verdicts: Sequence[HeldVerdict]  # Every verdict.

    @property
    def names(self) -> list[str]:
        """The names of the runs."""
        return [run.name for run in self.runs]

    @property
    def efforts(self) -> list[Effort]:
        """Efforts (how formats were read) that all runs share."""
        return list(dict.fromkeys(one.effort for one in self.verdicts))

    def of(self, kind: Kind, effort: Effort) -> list[HeldVerdict]:
        """Return the verdicts of a kind and an effort."""
        return [one for one in self.verdicts if (one.kind, one.effort) == (kind, effort)]


class ComparedRun(TypedDict):
    """A run; ``samples_sha256`` identifies its samples."""

    name: str
    run_id: str
    samples_sha256: Digest
    rounds: Positive
    further_cells: Count


class ComparedFact(TypedDict):
    """A fact of every run; `texts` follows the order of runs."""

    label: str
    differs: bool
    texts: list[str]


class ComparedWord(TypedDict):
    """The word of one run on the shared cells, empty without one, and the words that it leaves possible."""

    word: str
    possible: list[str]
    ratio: Figure | None
    low: Figure | None
    high: Figure | None


class ComparedVerdict(TypedDict):
    """A verdict on all runs; `runs` follows the order of runs, and `format` is empty for a use."""

    kind: Kind
    effort: Effort
    of: str
    format: str
    agreement: Agreement
    runs: list[ComparedWord]


class VerdictDocument(TypedDict):
    """The root object of ``verdicts.json``."""

    verdicts_version: Literal[1]
    harness: str
    baseline: str
    runs: list[ComparedRun]
    shared_cells: Positive
    notes: list[str]
    facts: list[ComparedFact]
    verdicts: list[ComparedVerdict]


def to_document(found: SideBySide, harness: str) -> VerdictDocument:
    """Return the document as plain values; `harness` is the version that computed it."""
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
    """Return `to_document` as JSON text."""
    return json.dumps(to_document(found, harness), indent=1) + "\n"
