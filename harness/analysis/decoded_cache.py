"""Cells whose data fit their reader's cache of decoded chunks, so that repeated reads decode nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from harness.run.subject import Subject
from harness.trace.schema import Role
from harness.workload import Access, ReadAccess

DECODED = "fits"
"""Value of the column ``decoded_cache`` for cells that fit."""

_Contender = tuple[str, int | None, str, str, str]
"""Trace, length, format, profile and reader."""


def caches(ledger: pd.DataFrame) -> dict[_Contender, dict[str, int]]:
    """Return the bytes of decoded chunks that each contender keeps of a tensor of each role, as its library reported.

    Parameters
    ----------
    ledger : DataFrame
        The run's ledger. In older ones without the column ``cache_bytes``, nothing is known.
    """
    found: dict[_Contender, dict[str, int]] = {}
    if "cache_bytes" not in ledger:
        return found
    told = ledger[ledger["cache_bytes"] != ""]
    columns = ["trace", "n_res", "format", "profile", "read_by", "role", "cache_bytes"]
    for trace, n_res, name, profile, reader, role, kept in told[columns].itertuples(index=False):
        place = (trace, int(float(n_res)) if n_res else None, name, profile, reader)
        found.setdefault(place, {})[role] = int(kept)
    return found


def with_decoded(
    summary: pd.DataFrame, subjects: Iterable[Subject], ledger: pd.DataFrame, budget: int | None
) -> pd.DataFrame:
    """Mark the cells whose data fit the cache of decoded chunks, in the column ``decoded_cache``.

    Each sample has a new reader, so a cache matters only if a tensor is read more than once. A cell fits if each such
    tensor fits what the reader keeps of one tensor, and all of them together fit the budget, if the run had one.

    Parameters
    ----------
    summary : DataFrame
        From `harness.analysis.summary.summarise`.
    subjects : iterable of Subject
        The subjects of the run, with its accesses.
    ledger : DataFrame
        The run's ledger.
    budget : int or None
        Bytes of decoded chunks that each reader may keep in total; None for each library's default.
    """
    kept = caches(ledger)
    reads: dict[tuple[str, str, str, int | None], dict[Role, list[int]]] = {
        (suite, access.name, *subject.place): _reread(subject, access)
        for subject in subjects
        for suite, access in subject.plans
    }
    marks = []
    for row in summary.to_dict("records"):
        trace, n_res = row["trace"], None if pd.isna(row["n_res"]) else int(row["n_res"])
        sizes = reads.get((row["suite"], row["access"], trace, n_res), {})
        mine = kept.get((trace, n_res, row["format"], row["profile"], row["reader"] or ""), {})
        fits = row["cache"] in ("warm", "cold") and _fit(sizes, mine, budget)
        marks.append(DECODED if fits else None)
    return summary.assign(decoded_cache=pd.Series(marks, index=summary.index, dtype=object))


def _reread(subject: Subject, access: Access) -> dict[Role, list[int]]:
    """Return the bytes of the tensors that an access reads more than once, by role."""
    if not isinstance(access, ReadAccess) or access.load_once:
        return {}
    found: dict[Role, list[int]] = {}
    for path, times in Counter(read.path for read in access.reads).items():
        if times > 1:
            spec = subject.manifest[path]
            found.setdefault(spec.role, []).append(spec.nbytes)
    return found


def _fit(sizes: Mapping[Role, list[int]], kept: Mapping[str, int], budget: int | None) -> bool:
    each = [nbytes <= kept.get(role.value, 0) for role, found in sizes.items() for nbytes in found]
    return bool(each) and all(each) and (budget is None or sum(map(sum, sizes.values())) <= budget)
