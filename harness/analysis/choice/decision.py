"""Which format is the cheapest for a mix of accesses, how sure that is, and what would change the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.choice.costs import CostParts, Use, control_floor, cost, cost_parts, needed
from harness.analysis.choice.envelope import Flip
from harness.analysis.choice.mix import Mix
from harness.analysis.choice.vary import vary
from harness.analysis.statistics import bounds
from harness.analysis.table import SampleTable
from harness.errors import UsageError
from harness.records import CONTROL
from harness.run.config import RunConfig
from harness.suite import READERS, SIZE, WRITE, Part, counted_as, mix_reads
from harness.workload import PlanOptions

COST_COLUMNS = [
    "format", "profile", "cost_seconds", "low", "high", "ratio", "ratio_low", "ratio_high", "told_apart",
    "reading_seconds", "writing_seconds", "keeping_seconds",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """The answer for one trace.

    Attributes
    ----------
    trace : str
        The trace.
    n_res : int or None
        Its largest length.
    profile : str
        Settings of the formats.
    mix : Mix
        The use that was asked about.
    preferred : str or None
        The cheapest format; None when there is no decision.
    not_told_apart : tuple of str
        Formats whose cost cannot be told from the preferred one's: the interval of their ratio reaches 1 or the floor.
    reason : str
        Why there is no decision; empty when there is one.
    missing : tuple of str
        What the mix asks and was not measured.
    assumptions : tuple of str
        What the answer rests on besides the measurements.
    out : mapping of str to str
        Formats that take no part, each with its reason.
    costs : DataFrame
        Columns `COST_COLUMNS`, cheapest first: seconds of one access with their 95 % interval, the three parts that
        they are the sum of, and the ratio to the preferred format.
    floor : float or None
        By what factor, less 1, the costs of two equal arms differ at most; None without an A/A arm.
    flips : tuple of Flip
        Along every weight that could be varied with what was measured.
    """

    trace: str
    n_res: int | None
    profile: str
    mix: Mix
    preferred: str | None
    not_told_apart: tuple[str, ...]
    reason: str
    missing: tuple[str, ...]
    assumptions: tuple[str, ...]
    out: Mapping[str, str]
    costs: pd.DataFrame
    floor: float | None
    flips: tuple[Flip, ...]


def decide(
    table: SampleTable, mix: Mix, trace: str | None = None, *, options: PlanOptions | None = None,
    baseline: str = RunConfig.baseline, profile: str | None = None, partial: bool = False,
) -> Decision:  # fmt: skip
    """Decide for one trace at its largest length.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    mix : Mix
        The use.
    trace : str, optional
        Which; without it the one with most of the mix's accesses measured, then the longest.
    options : PlanOptions, optional
        Of the run: how many windows one sample reads.
    baseline : str
        The format that ran twice.
    profile : str, optional
        Settings of the formats; without it ``tuned`` where measured, else the first.
    partial : bool
        Whether to answer without the accesses of the mix that were not measured, instead of not at all.

    Returns
    -------
    Decision
        Without a preferred format where something is missing, or rounds are too few.

    Raises
    ------
    UsageError
        When no such trace or profile was measured.
    """
    lengths = table.lengths
    if trace is None:
        trace = max(lengths, key=lambda name: (_coverage(table, name, mix), lengths[name] or 0))
    if trace not in lengths:
        raise UsageError(f"There is no trace {trace!r} in these samples; choose one of {', '.join(lengths)}.")
    found = cost_parts(table, trace, lengths[trace], _profile(table, profile), options or PlanOptions(), baseline)
    return _decide(found, mix, baseline, partial=partial)


def decide_all(
    table: SampleTable, mix: Mix, *, options: PlanOptions | None = None, baseline: str = RunConfig.baseline,
    profile: str | None = None, partial: bool = False,
) -> list[Decision]:  # fmt: skip
    """Decide for every trace, each at its largest length; see `decide`."""
    return [
        decide(table, mix, trace, options=options, baseline=baseline, profile=profile, partial=partial)
        for trace in table.lengths
    ]


def _profile(table: SampleTable, profile: str | None) -> str:
    if profile is not None and profile not in table.profiles:
        raise UsageError(f"No format was measured in profile {profile!r}; choose one of {', '.join(table.profiles)}.")
    return table.judged_profile if profile is None else profile


def _coverage(table: SampleTable, trace: str, mix: Mix) -> int:
    """Count the mix's accesses that were measured."""
    place = (trace, table.lengths[trace])
    have = {c.case[:2] for c in table.cases if c.counted and c.case[2:4] == place}
    reads = mix_reads()
    asked = [reads[access] for access, share in mix.shares.items() if share]
    return sum((suite, info.name) in have for suite, info in asked)


def _decide(measured: CostParts, mix: Mix, baseline: str, *, partial: bool) -> Decision:
    use, missing, assumptions = _usable(measured, mix, partial=partial)
    out: dict[str, str] = {}
    formats: list[str] = []
    if missing:
        reason = "not everything that the mix asks was measured"
    else:
        out = _out(measured, use)
        formats = [name for name in measured.formats if name not in out and name != CONTROL]
        told = list(dict.fromkeys(out[name] for name in measured.formats if name in out and name != CONTROL))
        reason = "" if formats else f"no format counts in all that the mix asks ({'; '.join(told)})"
    answer = _Answer.of(measured, use, formats, baseline) if formats else None
    if answer is not None and answer.floor is None:
        assumptions.append("No A/A arm covers this mix: differences are judged by their intervals alone.")
    return Decision(
        trace=measured.trace, n_res=measured.n_res, profile=measured.profile, mix=mix,
        preferred=answer.preferred if answer else None, not_told_apart=answer.not_told_apart if answer else (),
        reason=reason, missing=tuple(missing), assumptions=tuple(assumptions),
        out={name: text for name, text in out.items() if name != CONTROL},
        costs=answer.costs if answer else pd.DataFrame(columns=COST_COLUMNS),
        floor=answer.floor if answer else None, flips=answer.flips if answer else (),
    )  # fmt: skip


def _usable(measured: CostParts, mix: Mix, *, partial: bool) -> tuple[Use, list[str], list[str]]:
    """Return the use that can be reckoned, what is missing for it, and what had to be assumed."""
    use, missing, assumptions = Use.of(mix), [], []
    shares = {access: share for access, share in use.shares.items() if share}
    absent = [access for access in shares if access in measured.absent]
    lost = [
        (access, cache)
        for access, cache in needed(use)
        if access not in absent and (access, cache) not in measured.reads
    ]
    told = [
        f"not measured {cache}: {', '.join(access for access, state in lost if state == cache)}"
        for cache in dict.fromkeys(state for _, state in lost)
    ]
    if lost and partial:
        assumptions.append(f"Left out, the other shares scaled up: {'; '.join(told)}.")
    else:
        missing += told
    gone = [*absent, *(access for access, _ in lost if partial)]
    kept = {access: share for access, share in shares.items() if access not in gone}
    if not kept:
        missing.append("the trace has none of the tensors that the mix reads" if absent else "no access was measured")
    elif gone:
        total = sum(kept.values())
        use = use._replace(shares={access: share / total for access, share in kept.items()})
    if absent:
        text = f"The trace has no tensor for {', '.join(absent)} ({sum(shares[a] for a in absent):.0%} of accesses)"
        assumptions.append(f"{text}: the other shares are scaled up.")
    if measured.write is None:
        missing.append(f"writing a layer was not measured (suite {_suites(WRITE)})")
    if measured.gigabytes is None and use.storage_price:
        missing.append(f"the archive's size was not measured (suite {_suites(SIZE)})")
    if use.readers > 1:
        nearest = measured.nearest_readers(use.readers)
        if nearest == 1:
            missing.append(
                f"reading by 1 and by {use.readers} or fewer processes was not measured ({_suites(READERS)})"
            )
        else:
            assumptions.append(_slowdown(measured, use.readers, nearest))
    reads = mix_reads()
    assumptions += dict.fromkeys(text for access in shares if (text := reads[access][1].assumes))
    return use, missing, [*assumptions, measured.writes_from] if measured.writes_from else assumptions


def _suites(part: Part) -> str:
    """Name the suites that measure a part of a cost."""
    return ", ".join(dict.fromkeys(suite for suite, _ in counted_as(part)))


def _slowdown(measured: CostParts, readers: int, nearest: int) -> str:
    text = (
        f"{readers} readers: the slowdown of {nearest} processes against 1, measured on windows of warm archives, "
        "is applied to every access"
    )
    if nearest in measured.ceiling:
        # A flat file has next to no work to share, so what slows it down is the machine and starting together.
        text += f"; it is {measured.ceiling[nearest]:.1f} for a flat file, where it weighs most on what is fastest"
    return text + "."


def _out(measured: CostParts, use: Use) -> dict[str, str]:
    """Say which formats lack a part that counts."""
    total = cost(measured, use)[0]
    counts = [" ".join(part) for part in needed(use)] + [WRITE]
    counts += [SIZE] if use.storage_price else []
    counts += [f"{measured.nearest_readers(use.readers)} readers"] if use.readers > 1 else []
    out = {}
    for name, value in zip(measured.formats, total, strict=True):
        if np.isnan(value):
            whys = [f"{part}: {measured.why[part][name]}" for part in counts if name in measured.why.get(part, {})]
            out[name] = whys[0] if whys else "a part of its cost was not measured"
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answer:
    """What can be said once there are formats to compare."""

    preferred: str
    not_told_apart: tuple[str, ...]
    costs: pd.DataFrame
    floor: float | None
    flips: tuple[Flip, ...]

    @classmethod
    def of(cls, measured: CostParts, use: Use, formats: list[str], baseline: str) -> _Answer:
        columns = [measured.formats.index(name) for name in formats]
        everything = cost(measured, use)
        total = everything[:, columns]
        best = int(np.argmin(total[0]))
        floor = control_floor(measured, everything, baseline)
        low, high = bounds(total[1:])
        ratios = total / total[:, [best]]
        ratio_low, ratio_high = bounds(ratios[1:])
        apart = np.log(ratio_low) > (floor or 0.0)
        reading = cost(measured, use._replace(writes_per_read=0))[0, columns]
        writing = cost(measured, use._replace(storage_price=0))[0, columns] - reading
        table = pd.DataFrame(
            {
                "format": formats, "profile": measured.profile, "cost_seconds": total[0], "low": low, "high": high,
                "ratio": ratios[0], "ratio_low": ratio_low, "ratio_high": ratio_high, "told_apart": apart,
                "reading_seconds": reading, "writing_seconds": writing,
                "keeping_seconds": total[0] - reading - writing,
            },
            columns=COST_COLUMNS,
        ).sort_values("cost_seconds", ignore_index=True, kind="stable")  # fmt: skip
        others = table[~table["told_apart"] & (table["format"] != formats[best])]
        return cls(
            preferred=formats[best], not_told_apart=tuple(others["format"]), costs=table,
            floor=None if floor is None else float(np.expm1(floor)),
            flips=tuple(vary(measured, use, formats, formats[best])),
        )  # fmt: skip
