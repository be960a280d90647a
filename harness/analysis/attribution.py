"""Attribution of time differences: pairs of contenders that differ in one thing only, and chains of such steps.

Pairs are compared by round, as in all comparisons. The steps of a chain are ratios of medians, with the same resampled
rounds for all steps. So they multiply to the ratio of the chain's ends, which medians of ratios do not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.analysis.cells import CellSamples
from harness.analysis.efforts import is_own, stated
from harness.analysis.grades import most_workers
from harness.analysis.noise_floors import Floors
from harness.analysis.report_options import REPORT_VERSION, SIMILAR_SINCE
from harness.analysis.statistics import Comparison, Interval
from harness.analysis.table import CaseKey, CaseSamples, SampleTable, direction, paired
from harness.analysis.verdict import Floor, doubt, judge
from harness.records import Contender

Due = Literal["reader", "settings", "slimming", "container"]
"""Things that two contenders may differ in; ``settings`` are layout and codec."""

Layouts = Mapping[tuple[str, int | None, str, str], frozenset[tuple[str, ...]]]
"""Role, chunks, shards and codec of every tensor of an archive, by trace, length, format and profile."""

_CASE = list(CaseKey._fields)
_ENDS = [f"{side}{name}" for side in ("", "against_") for name in Contender._fields if name != "threads"]
_RATIO = ["ratio", "ratio_low", "ratio_high"]
PAIR_COLUMNS = [
    *_CASE, "due", *_ENDS, "own", *_RATIO, "verdict", "why", "cpu_per_second", "against_cpu_per_second",
]  # fmt: skip
CHAIN_COLUMNS = [*_CASE, "compared", "compared_with", "part", "due", *_ENDS, *_RATIO, "verdict", "why"]

_MATCHED = "matched"
"""The profile in which containers have the same layout and codec."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Causes of time differences: pairs that differ in one thing, and chains of steps between formats."""

    # Columns `PAIR_COLUMNS`: two contenders of a case that differ in one thing, the ratio of their times paired by
    # round, its verdict, and processor time over wall time of each. ``own``: one of the two readers is this project's
    # own decoder.
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=PAIR_COLUMNS))
    # Columns `CHAIN_COLUMNS`. Each two formats of a case have a row of the part ``total``: stock over stock in
    # the profile that formats are judged in. Rows of the part ``step`` multiply to it. A row of the part ``best``
    # compares both formats at their best, if both were measured; only this row has a verdict. ``due`` of a step lists
    # several things, separated by blanks, if no contender between its ends was measured.
    chains: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CHAIN_COLUMNS))


_IsOwn = Callable[[Contender], bool]


def _container(contender: Contender) -> str:
    backend = stated(contender.format)
    return backend.container if backend else contender.format


def layouts(ledger: pd.DataFrame) -> Layouts:
    """Return the layout of each archive from a run's ledger, to detect equal settings."""
    if ledger.empty:
        return {}
    told = ledger[ledger["role"] != ""]
    found: dict[tuple[str, int | None, str, str], set[tuple[str, ...]]] = {}
    columns = ("trace", "n_res", "format", "profile", "role", "chunks", "shards", "codec")
    for trace, n_res, name, profile, *layout in told[list(columns)].itertuples(index=False):
        length = int(float(n_res)) if n_res else None
        found.setdefault((trace, length, name, profile), set()).add(tuple(layout))
    return {place: frozenset(rows) for place, rows in found.items()}


def differs(one: Contender, other: Contender, case: CaseKey, known: Layouts) -> tuple[Due, ...]:
    """List the things that two contenders differ in; a difference of containers includes that of their readers."""
    found: list[Due] = []
    same = _container(one) == _container(other)
    if same and one.reader != other.reader:
        found.append("reader")
    if one.format == other.format:
        settings = one.profile != other.profile
    elif not same:
        settings = not one.profile == other.profile == _MATCHED
    else:
        first, second = (known.get((case.trace, case.n_res, c.format, c.profile)) for c in (one, other))
        settings = first is None or first != second or one.profile != other.profile
    if settings:
        found.append("settings")
    if one.slim != other.slim:
        found.append("slimming")
    if not same:
        found.append("container")
    return tuple(found)


def attribute(
    table: SampleTable,
    ledger: pd.DataFrame,
    baseline: str,
    unmeasured: Collection[str] = (),
    version: int = REPORT_VERSION,
) -> Attribution:
    """Attribute the differences of every trace at its largest length, for one thread and for the most workers.

    Parameters
    ----------
    table : SampleTable
        The samples of a run, with every contender.
    ledger : DataFrame
        The run's ledger.
    baseline : str
        The format that the A/A control repeats.
    unmeasured : collection of str
        Formats whose best is not known. Nothing is claimed about these: they get no row of the part ``best``.
    version : int
        Version of the report.
        Of the document.

    Returns
    -------
    Attribution
        Empty for a run that did not record its readers.
    """
    known, own = layouts(ledger), partial(is_own, version=version)
    longest = [c for c in table.cases if c.case.n_res == table.lengths[c.case.trace] and not c.skipped]
    pairs: list[dict[str, Any]] = []
    chains: list[dict[str, Any]] = []
    claims: list[_Claim] = []
    for case in most_workers(longest):
        cells = sorted((case.by_contender[c] for c in case.counted if c.competes and c.reader), key=_order)
        edges: dict[Contender, dict[Contender, Due]] = {cell.contender: {} for cell in cells}
        for against, cell in combinations(cells, 2):
            due = differs(cell.contender, against.contender, case.case, known)
            if len(due) == 1:
                edges[cell.contender][against.contender] = edges[against.contender][cell.contender] = due[0]
                pairs.append(_pair(case, cell, against, due[0], own))
                claims.append(_Claim(pairs[-1], case, cell, against))
        for slower, faster in _stocks(case, cells, table.judged_profile):
            rows, best = _chain(case, cells, slower, faster, edges, known, own)
            chains += rows
            if best and not {slower.contender.format, faster.contender.format} & set(unmeasured):
                chains.append(rows[0] | {"part": "best"} | _step(case, best[0].contender, best[1].contender, known))
                claims.append(_Claim(chains[-1], case, *best))
    floors = Floors(table.cases, baseline, similar=version >= SIMILAR_SINCE)
    _judge(claims, floors, all_rounds=table.all_rounds)
    return Attribution(
        pairs=pd.DataFrame(pairs, columns=PAIR_COLUMNS), chains=pd.DataFrame(chains, columns=CHAIN_COLUMNS)
    )


def _order(cell: CellSamples) -> tuple[object, ...]:
    """Return a sort key: contenders that others are compared with, unslimmed and stock, come first."""
    own = cell.contender
    return own.slim, cell.effort not in ("stock", "both"), own.format, own.profile, own.reader


@dataclass(frozen=True)
class _Claim:
    """A comparison of two cells, and the row that receives its verdict."""

    row: dict[str, Any]
    case: CaseSamples
    cell: CellSamples
    against: CellSamples


def _judge(claims: Sequence[_Claim], known: Floors, *, all_rounds: bool) -> None:
    """Judge all comparisons together, and write the verdicts into their rows."""
    open_claims: list[tuple[_Claim, Comparison, Floor]] = []
    for claim in claims:
        comparison = paired(claim.cell, claim.against)
        if comparison is None:
            continue
        claim.row.update(comparison.ratio.columns("ratio"))
        left = claim.cell.decided or claim.against.decided
        if left and (way := direction(claim.cell, claim.against, claim.case.control, known.original(claim.case))):
            claim.row["verdict"] = "slower" if way > 0 else "faster"
            continue
        open_claims.append((claim, comparison, known.of(claim.case, claim.cell, claim.against)))
    words = judge([c for _, c, _ in open_claims], [floor for *_, floor in open_claims], all_rounds=all_rounds)
    for (claim, comparison, floor), word in zip(open_claims, words, strict=True):
        claim.row["verdict"] = word
        claim.row["why"] = doubt(comparison, floor) if word == "inconclusive" else None


def _ends(one: Contender, other: Contender) -> dict[str, Any]:
    return {
        f"{side}{name}": value
        for side, contender in (("", one), ("against_", other))
        for name, value in contender._asdict().items() if name != "threads"
    }  # fmt: skip


def _pair(case: CaseSamples, cell: CellSamples, against: CellSamples, due: Due, own: _IsOwn) -> dict[str, Any]:
    one, other = cell.contender, against.contender
    return dict.fromkeys(PAIR_COLUMNS) | case.case._asdict() | _ends(one, other) | {
        "due": due, "own": own(one) or own(other), "cpu_per_second": _busy(cell),
        "against_cpu_per_second": _busy(against),
    }  # fmt: skip


def _busy(cell: CellSamples) -> float | None:
    """Return the median over samples of processor time over wall time of the reads: the processors at work."""
    share = cell.columns["cpu_seconds"][cell.timed] / cell.read_seconds
    share = share[np.isfinite(share)]
    return float(np.median(share)) if len(share) else None


def _stocks(case: CaseSamples, cells: Sequence[CellSamples], profile: str) -> Iterator[tuple[CellSamples, CellSamples]]:
    """Yield the stock contenders of each two formats in a profile, the slower first."""
    medians = case.medians()
    stock = [cell for cell in cells if cell.effort in ("stock", "both") and cell.group == profile]
    for pair in combinations(stock, 2):
        slower, faster = sorted(pair, key=lambda cell: -medians[cell.contender][0])
        yield slower, faster


def _chain(
    case: CaseSamples,
    cells: Sequence[CellSamples],
    slower: CellSamples,
    faster: CellSamples,
    edges: Mapping[Contender, Mapping[Contender, Due]],
    known: Layouts,
    own: _IsOwn,
) -> tuple[list[dict[str, Any]], tuple[CellSamples, CellSamples] | None]:
    """Return the rows of two formats, the total first, and the cells of both at their best, if both have one.

    The chain leads from stock to that format's best, over to the other's best, and back to its stock. So containers are
    compared by raced readers, if there are any.
    """
    ends = [_best(cells, each) for each in (slower, faster)]
    first, last = ends
    through = [slower, *(each for each in ends if each is not None), faster]
    allowed = edges
    if first is not None and last is not None:
        raced = {cell.contender for cell in cells if cell.effort in ("best", "both")}
        allowed = {
            one: {other: due for other, due in others.items() if due != "container" or {one, other} <= raced}
            for one, others in edges.items()
        }
    walked = [slower.contender]
    for one, other in pairwise(through):
        _, *steps = _path(one.contender, other.contender, allowed, own)
        for there in steps:  # a contender visited before: remove the loop back to it
            walked = [*walked[: walked.index(there)], there] if there in walked else [*walked, there]
    named = {"compared": slower.contender.format, "compared_with": faster.contender.format}
    base = dict.fromkeys(CHAIN_COLUMNS) | case.case._asdict() | named
    rows = [base | {"part": "total"} | _step(case, slower.contender, faster.contender, known)]
    rows += [base | {"part": "step"} | _step(case, one, other, known) for one, other in pairwise(walked)]
    return rows, None if first is None or last is None else (first, last)


def _best(cells: Sequence[CellSamples], stock: CellSamples) -> CellSamples | None:
    """Return the best contender of a format in the group of its stock contender; None if there is none."""
    mine = (cell for cell in cells if cell.contender.format == stock.contender.format and cell.group == stock.group)
    return next((cell for cell in mine if cell.effort in ("best", "both")), None)


def _step(case: CaseSamples, one: Contender, other: Contender, known: Layouts) -> dict[str, Any]:
    medians = case.medians()
    ratio = Interval.of_draws(medians[one] / medians[other])
    return {"due": " ".join(differs(one, other, case.case, known))} | _ends(one, other) | ratio.columns("ratio")


def _path(
    start: Contender, end: Contender, edges: Mapping[Contender, Mapping[Contender, Due]], own: _IsOwn
) -> list[Contender]:
    """Return the shortest path between two contenders in steps of one thing each; without a path, a direct step."""
    came: dict[Contender, Contender | None] = {start: None}
    waiting = [start]
    for here in waiting:
        for there in edges[here]:
            if there not in came and not own(there):
                came[there] = here
                waiting.append(there)
    if end not in came:
        return [start, end]
    found = [end]
    while (before := came[found[-1]]) is not None:
        found.append(before)
    return found[::-1]
