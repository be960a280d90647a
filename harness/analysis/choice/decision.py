"""Decision for a mix of accesses: the cheapest format, how sure that is, and what would change the choice."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.analysis.choice.costs import CostParts, Use, control_floor, cost, cost_parts, needed
from harness.analysis.choice.mix import Mix, several
from harness.analysis.choice.sensitivity import Flip, vary
from harness.analysis.statistics import bounds
from harness.analysis.table import SampleTable
from harness.records import CONTROL
from harness.suite import READERS, SIZE, WRITE, Part, counted_as, mix_reads
from harness.workload import PlanOptions

COST_COLUMNS = [
    "format", "profile", "cost_seconds", "low", "high", "ratio", "ratio_low", "ratio_high", "distinguishable",
    "reading_seconds", "writing_seconds", "keeping_seconds",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """The decision for one trace."""

    # The trace, its largest length, and the settings of the formats.
    trace: str
    n_res: int | None
    profile: str
    mix: Mix  # The use that the decision is for.
    preferred: str | None = None  # The cheapest format; None when there is no decision.
    # Formats whose cost is not statistically distinguishable: the interval of the ratio reaches 1 or the floor.
    indistinguishable: tuple[str, ...] = ()
    reason: str = ""  # Why there is no decision; empty when there is one.
    missing: tuple[str, ...]  # What the mix needs and was not measured.
    assumptions: tuple[str, ...]  # Assumptions of the decision, in addition to the measurements.
    out: Mapping[str, str]  # Formats that do not compete, each with the reason.
    # Columns `COST_COLUMNS`, cheapest first: seconds of one access with their 95 % interval, the three parts that they
    # are the sum of, and the ratio to the preferred format.
    costs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COST_COLUMNS))
    # Factor, less 1, by which the costs of two equal arms differ at most; None without an A/A arm.
    floor: float | None = None
    flips: tuple[Flip, ...] = ()  # For every weight that the measurements allow to vary.


def decide(table: SampleTable, mix: Mix, trace: str, options: PlanOptions, baseline: str) -> Decision:
    """Decide for a trace at its largest length, without a preferred format if a cost is missing; see `cost_parts`."""
    measured = cost_parts(table, trace, options, baseline)
    use, missing, assumptions = _usable(measured, mix)
    out = {} if missing else _out(measured, use)
    formats = [] if missing else [name for name in measured.formats if name not in out and name != CONTROL]
    out.pop(CONTROL, None)
    decision = Decision(
        trace=trace, n_res=measured.n_res, profile=measured.profile, mix=mix, missing=tuple(missing),
        assumptions=tuple(assumptions), out=out,
    )  # fmt: skip
    if formats:
        return _answer(decision, measured, use, formats, baseline)
    reason = "not everything that the mix asks was measured"
    if not missing:
        reason = f"no format counts in all that the mix asks ({'; '.join(dict.fromkeys(out.values()))})"
    return dataclasses.replace(decision, reason=reason)


def _answer(decision: Decision, measured: CostParts, use: Use, formats: list[str], baseline: str) -> Decision:
    """Return the decision with costs, the preferred format and flips, given formats to compare."""
    columns = [measured.formats.index(name) for name in formats]
    everything = cost(measured, use)
    total = everything[:, columns]
    best = int(np.argmin(total[0]))
    floor = control_floor(measured, everything, baseline)
    low, high = bounds(total[1:])
    ratios = total / total[:, [best]]
    ratio_low, ratio_high = bounds(ratios[1:])
    reading = cost(measured, use._replace(writes_per_read=0))[0, columns]
    writing = cost(measured, use._replace(storage_price=0))[0, columns] - reading
    table = pd.DataFrame(
        {
            "format": formats, "profile": measured.profile, "cost_seconds": total[0], "low": low, "high": high,
            "ratio": ratios[0], "ratio_low": ratio_low, "ratio_high": ratio_high,
            "distinguishable": np.log(ratio_low) > (floor or 0.0), "reading_seconds": reading,
            "writing_seconds": writing, "keeping_seconds": total[0] - reading - writing,
        },
        columns=COST_COLUMNS,
    ).sort_values("cost_seconds", ignore_index=True, kind="stable")  # fmt: skip
    close = table.loc[~table["distinguishable"] & (table["format"] != formats[best]), "format"]
    alone = "No A/A arm covers this mix: differences are judged by their intervals alone."
    return dataclasses.replace(
        decision,
        preferred=formats[best],
        indistinguishable=tuple(close),
        assumptions=decision.assumptions if floor is not None else (*decision.assumptions, alone),
        costs=table,
        floor=None if floor is None else float(np.expm1(floor)),
        flips=tuple(vary(measured, use, formats, formats[best])),
    )


def _usable(measured: CostParts, mix: Mix) -> tuple[Use, list[str], list[str]]:
    """Return the use that can be computed, what is missing for the mix, and the assumptions that were made."""
    use, assumptions = Use.of(mix), []
    shares = {access: share for access, share in use.shares.items() if share}
    shares, stand = _standing_in(shares, measured)
    assumptions += stand
    use = use._replace(shares=shares)
    absent = [access for access in shares if access in measured.absent]
    lost: dict[str, list[str]] = {}
    for access, cache in needed(use):
        if access not in absent and (access, cache) not in measured.reads:
            lost.setdefault(cache, []).append(access)
    missing = [f"not measured {cache}: {', '.join(accesses)}" for cache, accesses in lost.items()]
    kept = {access: share for access, share in shares.items() if access not in absent}
    if not kept:
        missing.append("the trace has none of the tensors that the mix reads")
    elif absent:
        total = sum(kept.values())
        use = use._replace(shares={access: share / total for access, share in kept.items()})
    if absent:
        text = f"The trace has no tensor for {', '.join(absent)} ({sum(shares[a] for a in absent):.0%} of accesses)"
        assumptions.append(f"{text}: the other shares are scaled up.")
    if measured.write is None:
        missing.append(f"writing a layer was not measured (suite {_suites(WRITE)})")
    if measured.gigabytes is None and use.storage_price:
        missing.append(f"the archive's size was not measured (suite {_suites(SIZE)})")
    if use.readers > 1 and (nearest := measured.nearest_readers(use.readers)) == 1:
        missing.append(f"reading by 1 and by {use.readers} or fewer processes was not measured ({_suites(READERS)})")
    elif use.readers > 1:
        assumptions.append(_slowdown(measured, use.readers, nearest))
    reads = mix_reads()
    assumptions += dict.fromkeys(text for access in shares if (text := reads[access][1].assumes))
    return use, missing, [*assumptions, measured.writes_from] if measured.writes_from else assumptions


def _standing_in(shares: Mapping[str, float], measured: CostParts) -> tuple[dict[str, float], list[str]]:
    """Replace reads that the trace has no tensor for by their substitutes; return the shares, and notes on these."""
    given: defaultdict[str, float] = defaultdict(float)
    said = []
    there = {access for access, _ in measured.reads}
    for access, share in shares.items():
        for_it = [n for n, (_, info) in mix_reads().items() if access in info.in_place_of and n in there]
        if access not in measured.absent or not for_it:
            given[access] += share
            continue
        for name in for_it:
            given[name] += share / len(for_it)
        said.append(f"The trace has no tensor for {access}: {' and '.join(map(several, for_it))} count in its place.")
    return dict(given), said


def _suites(part: Part) -> str:
    """Return the names of the suites that measure a part of a cost."""
    return ", ".join(dict.fromkeys(suite for suite, _ in counted_as(part)))


def _slowdown(measured: CostParts, readers: int, nearest: int) -> str:
    text = (
        f"{readers} readers: the slowdown of {nearest} {measured.together} against 1, measured on windows of warm "
        "archives, is applied to every access"
    )
    if nearest in measured.ceiling:
        # A flat file has almost no work to share, so the machine and the common start slow it down.
        text += f"; it is {measured.ceiling[nearest]:.1f} for a flat file, where it weighs most on what is fastest"
    return text + "."


def _out(measured: CostParts, use: Use) -> dict[str, str]:
    """Return the formats that lack a part that counts, each with the reason."""
    counts = [" ".join(part) for part in needed(use)] + [WRITE]
    counts += [SIZE] if use.storage_price else []
    counts += [f"{measured.nearest_readers(use.readers)} readers"] if use.readers > 1 else []
    out = {}
    for name, value in zip(measured.formats, cost(measured, use)[0], strict=True):
        if np.isnan(value):
            whys = (f"{part}: {measured.why[part][name]}" for part in counts if name in measured.why.get(part, {}))
            out[name] = next(whys, "a part of its cost was not measured")
    return out


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Summary of the decisions for all traces."""

    mix: str  # Name of the mix.
    preferred: Mapping[str, tuple[str, ...]]  # The traces that each format is preferred on, most first.
    # The formats that are statistically indistinguishable from the preferred one, by trace.
    unsure: Mapping[str, tuple[str, ...]]
    undecided: Mapping[str, str]  # Why there is no decision, by trace.
    text: str  # All of this as one sentence.


def headline(decisions: Sequence[Decision]) -> Headline:
    """Summarise the decisions for one mix, one for each trace and at least one, as facts and as a sentence."""
    wins: dict[str, tuple[str, ...]] = {}
    for decision in decisions:
        if decision.preferred is not None:
            wins[decision.preferred] = (*wins.get(decision.preferred, ()), decision.trace)
    wins = dict(sorted(wins.items(), key=lambda item: -len(item[1])))
    unsure = {d.trace: d.indistinguishable for d in decisions if d.indistinguishable}
    undecided = {d.trace: "; ".join(d.missing) or d.reason for d in decisions if d.preferred is None}
    said = []
    for place, (name, traces) in enumerate(wins.items()):
        where = "" if place == 0 else f" ({', '.join(traces)})"
        said.append(f"{name} is the cheapest on {len(traces)} of {len(decisions)} traces{where}")
    for trace, others in unsure.items():
        are = "are" if len(others) > 1 else "is"
        said.append(f"on {trace} {' and '.join(others)} {are} statistically indistinguishable from it")
    said += [f"no decision on {trace}: {why}" for trace, why in undecided.items()]
    name = decisions[0].mix.name
    return Headline(mix=name, preferred=wins, unsure=unsure, undecided=undecided, text=f"{name}: {'; '.join(said)}.")
