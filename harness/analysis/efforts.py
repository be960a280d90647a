"""A run's samples as if each format had one contender: the stock reader, or the best that its races found.

What compares formats (grades, growth, decisions) is made from such a table; the run's own has every contender.
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
"""A format as a user gets it by installing its library, and at its best."""

_CASE = list(CaseKey._fields)


def has_efforts(table: SampleTable) -> bool:
    """Say whether rows tell what their contenders stand for; in runs of before, none does."""
    return bool(table.rows["effort"].astype(bool).any())


def has_best(table: SampleTable) -> bool:
    """Say whether formats were measured at their best."""
    return bool(table.rows["effort"].isin([BEST, "both"]).any())


@cache
def stated(name: str) -> Format | None:
    """Return a format by its name in records; None where it is not installed here, and so known by its rows alone."""
    try:
        return load_format(name) if name in registry.names("formats") else None
    except UsageError:
        return None


def is_own(contender: Contender, version: int = REPORT_VERSION) -> bool:
    """Say whether it is read by a decoder of this project, as reports of a version knew it."""
    backend = stated(contender.format)
    spec = backend.readers.get(contender.reader) if backend else None
    return spec is not None and spec.own and version >= spec.own_since


def best_unmeasured(table: SampleTable, arms: Iterable[Arm], version: int = REPORT_VERSION) -> dict[str, str]:
    """Say of which formats the best is not known, each with the reason: nothing is claimed about these.

    Neither is it where a decoder of this project was among the candidates, as in runs of before, and won.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    arms : iterable of Arm
        Those that it planned; ``missing`` tells of candidates whose reader cannot be used here.
    version : int
        Of the report.
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
    """Return the samples of one contender a format and group, under the format's name and the group's alone.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    effort : {"stock", "best"}
        Which contender. Of a case in which nothing was raced, such as a write, the best is the stock one; a size's best
        is the smallest archive. Of a run without efforts, all samples.
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
        kinds = kinds.mask(kinds == "control", "")  # it repeats the stock contender, and says nothing of another
    wanted &= ~rows["format"].isin(without)
    kept = rows[wanted & (kinds == "format") | kinds.isin(["ceiling", "control"])]
    kept = kept.assign(slim="", reader="", threads=np.nan)
    seen = SampleTable.of(kept)
    decided = {place for case in table.cases for cell in case.cells if cell.decided for place in cell.rows.tolist()}
    places = kept.index.to_numpy()

    def known(case: CaseSamples) -> CaseSamples:
        """Mark who left early: only the run's own table has all that says so."""
        cells = (replace(cell, decided=int(places[cell.rows[0]]) in decided) for cell in case.cells)
        return replace(case, cells=tuple(cells))

    return replace(seen, cases=tuple(map(known, seen.cases)))


def standing(cells: pd.DataFrame, effort: str = STOCK) -> pd.DataFrame:
    """Return the rows of a summary that stand for formats in an effort, with the ceiling and the control.

    All of them where nothing says what its contender stands for, as in runs of before.
    """
    formats = cells["format"].map(kind_of) == "format"
    if not cells.loc[formats, "effort"].isin([STOCK, BEST, "both"]).any():
        return cells
    return cells[~formats | cells["effort"].isin([effort, "both"])]


def at_their_best(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a summary that stand for formats at their best, of cases in which one is not the stock one."""
    best = cells[cells["effort"].isin([BEST, "both"]) & (cells["format"].map(kind_of) == "format")]
    case = [best[name] for name in (*_CASE, "group")]
    return best[(best["effort"] == BEST).groupby(case, dropna=False).transform("any").astype(bool)]
