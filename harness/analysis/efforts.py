"""Samples by effort: each format with one contender, the stock reader or the best that its races found.

Grades, scaling and decisions compare formats by such a table; the run's own table has every contender.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd

from harness import registry
from harness.analysis.report_options import REPORT_VERSION
from harness.analysis.table import CaseKey, CaseSamples, SampleTable
from harness.errors import UsageError
from harness.formats.base import Format, load_format
from harness.records import Contender, kind_of
from harness.run.subject import Arm

STOCK: Literal["stock"] = "stock"
BEST: Literal["best"] = "best"
"""Efforts: a format as a user gets it by installing its library, and a format at its best."""

_CASE = list(CaseKey._fields)


def has_efforts(table: SampleTable) -> bool:
    """Return whether the rows record the effort of their contenders; those of older runs do not."""
    return bool(table.rows["effort"].astype(bool).any())


def has_best(table: SampleTable) -> bool:
    """Return whether formats were measured at their best."""
    return bool(table.rows["effort"].isin([BEST, "both"]).any())


@cache
def stated(name: str) -> Format | None:
    """Return a format by its name in records; None if it is not installed here, so that only its rows are known."""
    try:
        return load_format(name) if name in registry.names("formats") else None
    except UsageError:
        return None


def is_own(contender: Contender, version: int = REPORT_VERSION) -> bool:
    """Return whether a contender's reader is a decoder of this project, as known to reports of a version."""
    backend = stated(contender.format)
    spec = backend.readers.get(contender.reader) if backend else None
    return spec is not None and spec.own and version >= spec.own_since


def best_unmeasured(table: SampleTable, arms: Iterable[Arm], version: int = REPORT_VERSION) -> dict[str, str]:
    """Return the formats whose best is not known, each with the reason; reports claim nothing about these.

    The best is also not known if a decoder of this project was among the candidates, as in older runs, and won.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    arms : iterable of Arm
        The arms that it planned; ``missing`` of a candidate is why its reader cannot be used here.
    version : int
        Version of the report.
    """
    rows = table.rows
    missing: dict[str, dict[str, None]] = {}
    for arm in arms:
        if arm.raced and arm.missing:
            missing.setdefault(arm.label, {})[f"{arm.reader} {arm.missing}"] = None
    rows = rows[rows["format"].map(kind_of) == "format"]
    raced = set(rows.loc[rows["effort"].isin([BEST, "both"]), "format"])
    formats = dict.fromkeys(rows.loc[rows["effort"].isin([STOCK, "both"]), "format"])
    none = {name: "no readers were raced" for name in formats if name not in raced}
    best = rows.loc[rows["effort"].eq(BEST), list(Contender._fields)].drop_duplicates()
    for own in itertools.starmap(Contender, best.itertuples(index=False)):
        if not is_own(own, version):
            continue
        none.setdefault(own.format, f"some of its fastest reads were by {own.reader}, which is code of this project")
    return none | {name: "; ".join(missing[name]) for name in formats if name in missing and name not in none}


def at(table: SampleTable, effort: Literal["stock", "best"], *, without: Collection[str] = ()) -> SampleTable:
    """Return the samples of one contender for each format and group, with only the names of the format and the group.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    effort : {"stock", "best"}
        Which contender. In a case without a race, such as a write, the best is the stock contender. For a size, the
        best is the smallest archive. For a run without efforts, all samples are returned.
    without : collection of str
        Formats to leave out.
    """
    if not has_efforts(table):
        return table
    rows = table.rows.assign(profile=table.rows["group"])
    kinds = rows["format"].map(kind_of)
    stock, best = (rows["effort"].isin([each, "both"]) for each in (STOCK, BEST))
    wanted = stock
    if effort == BEST:
        raced = rows.assign(raced=best).groupby([*_CASE, "group"], dropna=False, sort=False)["raced"].transform("any")
        sizes = rows[rows["size_bytes"].notna() & rows["seconds"].isna() & (kinds == "format")]
        smallest = sizes.sort_values("size_bytes", kind="stable").drop_duplicates([*_CASE, "format", "profile"]).index
        exact = rows.index.isin(sizes.index)
        wanted = (best & raced) | (stock & ~raced & ~exact) | rows.index.isin(smallest)
        kinds = kinds.mask(kinds == "control", "")  # it repeats the stock contender, not the best
    wanted &= ~rows["format"].isin(without)
    kept = rows[wanted & (kinds == "format") | kinds.isin(["ceiling", "control"])]
    kept = kept.assign(slim="", reader="", threads=np.nan)
    seen = SampleTable.of(kept)
    decided = {place for case in table.cases for cell in case.cells if cell.decided for place in cell.rows.tolist()}
    places = kept.index.to_numpy()

    def known(case: CaseSamples) -> CaseSamples:
        """Mark the contenders that left early, which only the run's own table can show."""
        cells = (replace(cell, decided=int(places[cell.rows[0]]) in decided) for cell in case.cells)
        return replace(case, cells=tuple(cells))

    return replace(seen, cases=tuple(map(known, seen.cases)))


def standing(cells: pd.DataFrame, effort: str = STOCK) -> pd.DataFrame:
    """Return the rows of a summary for formats with an effort, and those of the ceiling and the control.

    All rows are returned if no row of a format has an effort, as in older runs.
    """
    formats = cells["format"].map(kind_of) == "format"
    if not cells.loc[formats, "effort"].isin([STOCK, BEST, "both"]).any():
        return cells
    return cells[~formats | cells["effort"].isin([effort, "both"])]


def at_their_best(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a summary for formats at their best, in cases where at least one best is not the stock one."""
    best = cells[cells["effort"].isin([BEST, "both"]) & (cells["format"].map(kind_of) == "format")]
    case = [best[name] for name in (*_CASE, "group")]
    return best[(best["effort"] == BEST).groupby(case, dropna=False).transform("any").astype(bool)]
