"""Measurements of corpora in a run: rows per second and bytes read, and a projection to many more proteins."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.analysis.accesses import archive_sizes
from harness.analysis.efforts import standing
from harness.extensions.corpus.source import PROTEIN_AXES, ROW_AXES, STARTS
from harness.extensions.corpus.suite import LAYER, NAME
from harness.records import kind_of
from harness.run.plan import read_plan
from harness.trace.manifest import Manifest

PROTEINS = 100_000
"""Number of proteins of the projection."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that was measured."""

    # Number of proteins, and of the rows of one layer.
    proteins: int
    rows: int
    # Properties that must be equal for one corpus to be a larger copy of another: layers, width, type, and whether the
    # rows of all proteins are in one tensor.
    kind: tuple[int, int, str, bool]
    row_bytes: int  # Bytes of a row.

    @classmethod
    def of(cls, manifest: Manifest) -> Corpus | None:
        """Describe a trace; return None if it is no corpus."""
        specs = [s for s in manifest.tensors if s.axes in (PROTEIN_AXES, ROW_AXES) and s.layer is not None and s.items]
        if not specs:
            return None
        first, together = specs[0], specs[0].axes == ROW_AXES
        layers = {spec.layer for spec in specs}
        table = next((spec for spec in manifest.tensors if spec.path == STARTS), None)
        if together and (table is None or len(table.shape) != 1 or table.shape[0] < 2):
            return None
        proteins = table.shape[0] - 1 if together and table else len({s.path.rpartition("/")[0] for s in specs})
        rows = sum(spec.shape[0] for spec in specs) // len(layers)
        kind = (len(layers), first.shape[1], first.values or first.dtype, together)
        return cls(proteins=proteins, rows=rows, kind=kind, row_bytes=first.shape[1] * np.dtype(first.dtype).itemsize)


@dataclass(frozen=True, kw_only=True)
class ProjectedCorpus:
    """Projection to `PROTEINS` proteins in a format, in proportion to the largest corpus that was measured."""

    # Trace of that corpus, and the format with its profile.
    trace: str
    format: str
    profile: str
    corpus: Corpus  # That corpus.
    stored: float  # Bytes; NaN if the run measured no sizes.
    layer_seconds: float  # Seconds to read one layer of every protein from disk; NaN if the run did not read cold.
    # Relative error of the same rule from the next smaller corpus to that one, in time or else in size; NaN if there is
    # no smaller one.
    error: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredCorpora:
    """Figures of corpora in a run."""

    corpora: Mapping[str, Corpus]  # By the label of their trace.
    # The cells of `NAME`, of stock contenders and of the ceiling, with ``rows`` per sample and ``rows_per_second``.
    cells: pd.DataFrame
    projected: list[ProjectedCorpus]  # In the order of the cells.
    notes: list[str]  # What was left out of each imported corpus.


def measured(folder: Path, samples: pd.DataFrame, summary: pd.DataFrame) -> MeasuredCorpora | None:
    """Return the figures of corpora in a run; None for a run without the suite.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its plan.
    samples, summary : DataFrame
        Tables of the run.
    """
    cells = summary[summary["suite"].eq(NAME) & summary["status"].eq("ok")]
    if cells.empty:
        return None
    cells = standing(cells)
    cells = cells[cells["format"].map(kind_of).ne("control") & cells["median_seconds"].notna()]
    corpora, notes = {}, []
    for described in read_plan(folder / "plan.json"):
        manifest = Manifest.from_json(json.dumps(described["manifest"]))
        if (corpus := Corpus.of(manifest)) is not None:
            corpora[described["trace"]] = corpus
            if manifest.provenance.importer and manifest.provenance.note:
                notes.append(f"{described['trace']}: {manifest.provenance.note}.")
    cells = cells[cells["trace"].isin(corpora)]
    rows = [row["bytes_requested"] // corpora[row["trace"]].row_bytes for row in cells.to_dict("records")]
    seconds = cells["median_read_seconds"].fillna(cells["median_seconds"]).astype(float)
    cells = cells.assign(rows=rows, rows_per_second=np.array(rows, float) / seconds)
    return MeasuredCorpora(
        corpora=corpora, cells=cells, projected=list(_projected(corpora, cells, archive_sizes(samples))), notes=notes
    )


def _projected(corpora: Mapping[str, Corpus], cells: pd.DataFrame, sizes: pd.DataFrame) -> Iterator[ProjectedCorpus]:
    """Yield the projection of each format from the largest corpus of each kind."""
    layers = cells[cells["access"].eq(LAYER) & cells["cache"].eq("cold") & cells["workers"].eq(1)]
    times = _by_place(layers, "median_seconds")
    stored = _by_place(sizes, "size_bytes")
    arms = dict.fromkeys((row["format"], row["profile"]) for row in cells.fillna({"profile": ""}).to_dict("records"))
    for kind in dict.fromkeys(corpus.kind for corpus in corpora.values()):
        alike = sorted((c.proteins, name) for name, c in corpora.items() if c.kind == kind)
        (_, name), *smaller = reversed(alike)
        for arm in (arm for arm in arms if kind_of(arm[0]) == "format"):
            found = ProjectedCorpus(
                trace=name, format=arm[0], profile=arm[1], corpus=corpora[name],
                stored=_scaled(stored, name, arm, corpora, PROTEINS),
                layer_seconds=_scaled(times, name, arm, corpora, PROTEINS),
                error=_error(times if (name, *arm) in times else stored, name, [n for _, n in smaller], arm, corpora),
            )  # fmt: skip
            if not (math.isnan(found.stored) and math.isnan(found.layer_seconds)):
                yield found


_Places = Mapping[tuple[str, str, str], float]


def _by_place(table: pd.DataFrame, column: str) -> _Places:
    rows = table.assign(profile=table["profile"].fillna("")).to_dict("records")
    found: dict[tuple[str, str, str], float] = {}
    for row in rows:
        found.setdefault((row["trace"], row["format"], row["profile"]), float(row[column]))
    return found


def _scaled(measured: _Places, name: str, arm: tuple[str, str], corpora: Mapping[str, Corpus], proteins: int) -> float:
    return measured.get((name, *arm), math.nan) * proteins / corpora[name].proteins


def _error(
    measured: _Places, name: str, smaller: list[str], arm: tuple[str, str], corpora: Mapping[str, Corpus]
) -> float:
    """Return the relative error of the projection to the largest corpus from the next one with fewer proteins."""
    known = [n for n in smaller if (n, *arm) in measured and corpora[n].proteins < corpora[name].proteins]
    if not known or (name, *arm) not in measured:
        return math.nan
    said = _scaled(measured, known[0], arm, corpora, corpora[name].proteins)
    return abs(said / measured[(name, *arm)] - 1)
