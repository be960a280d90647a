"""Result of a search: a table of all candidates, and the chosen settings in words and as a profile file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting
from harness.analysis.choice.costs import needed
from harness.analysis.statistics import Interval, median_interval
from harness.extensions.tune.candidates import Candidate
from harness.extensions.tune.costs import WRITE, CandidateCosts, Choice, by_label, choose
from harness.extensions.tune.race import Race
from harness.formats.profile_file import profile_text
from harness.formats.settings import Value

_MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The result for one role."""

    race: Race  # The measurements.
    choice: Choice  # The choice.
    floor: float  # Distance of the A/A control from the present setting, as a logarithm of the cost.
    # One row per candidate, those with the most rounds first, then the cheapest. Times in seconds, sizes in bytes. The
    # columns of the mix (``wait``, ``write``, ``cost``, each with ``_low`` and ``_high``, and ``size_bytes``) are for
    # all tensors of the role in the trace. Columns named after an access are for one sample of it on the corner.
    # ``front`` is only True for candidates that were measured in all rounds.
    table: pd.DataFrame


def find(race: Race) -> Found:
    """Return the result of a race; the same samples give the same result."""
    last = race.costs(race.remaining, race.rounds)
    choice = choose(last)
    front = {candidate.label for candidate, on in zip(last.candidates, last.front(), strict=True) if on}
    samples = by_label(race.samples)
    rounds = samples[samples["suite"] == WRITE[0]].groupby("label")["round"].nunique()
    good = [c for c in race.entered if c.label not in race.failed]
    present = race.entered[0]
    rows = []
    for count in sorted({int(rounds[c.label]) for c in good}):
        here = [c for c in good if rounds[c.label] == count]
        compared = race.costs(here if present in here else [present, *here], count)
        for candidate in here:
            row = _common(race, candidate, count) | {"status": "ok", "reason": "", "front": candidate.label in front}
            row |= {"choice": _part_in(candidate, choice)} | _figures(compared, candidate)
            rows.append(row | _accesses(race, candidate, samples))
    for candidate in race.entered:
        if (reason := race.failed.get(candidate.label)) is not None:
            row = _common(race, candidate, int(rounds.get(candidate.label, 0)))
            rows.append(row | {"status": "failed", "reason": reason, "front": False, "choice": ""})
    table = pd.DataFrame(rows).sort_values(["rounds", "cost"], ascending=[False, True], kind="stable")
    return Found(race=race, choice=choice, floor=last.floor, table=table.reset_index(drop=True))


def _common(race: Race, candidate: Candidate, rounds: int) -> dict[str, Any]:
    return {
        "role": race.question.role.value,
        "candidate": candidate.name,
        **dict(candidate.values),
        "chunks": "x".join(map(str, candidate.layout.chunks or ())),
        "rounds": rounds,
    }


def _part_in(candidate: Candidate, choice: Choice) -> str:
    """Return the parts of a candidate in the choice, as words separated by spaces."""
    parts = {
        "present": candidate.present,
        "chosen": candidate == choice.chosen,
        "best": candidate == choice.best,
        "tied": candidate in choice.tied,
        "control": candidate.is_control,
    }
    return " ".join(name for name, has in parts.items() if has)


def _figures(found: CandidateCosts, candidate: Candidate) -> dict[str, Any]:
    column = found.candidates.index(candidate)
    row: dict[str, Any] = {"size_bytes": round(float(found.gigabytes[column]) * 1e9)}
    for name, values in (("wait", found.wait), ("write", found.write), ("cost", found.total)):
        row |= Interval.of_draws(values[:, column]).columns(name)
    return row | Interval.of_draws(found.total[:, column] / found.total[:, 0]).columns("ratio")


def _accesses(race: Race, candidate: Candidate, samples: pd.DataFrame) -> dict[str, float]:
    """Return the median of each access of the mix on the corner, with its interval."""
    mine = samples[(samples["label"] == candidate.label) & samples["seconds"].notna()]
    row: dict[str, float] = {}
    for access, cache in needed(race.question.use):
        measured = race.question.reads[access]
        place = [measured.suite, measured.access.name, cache]
        times = mine.loc[(mine[["suite", "access", "cache"]] == place).all(axis=1), "seconds"].to_numpy(float)
        grown = race.question.scale(candidate.layout) if measured.grows else 1.0
        row |= median_interval(times * grown).columns(f"{access} {cache}", " ")
    return row


def sentence(found: Found) -> str:
    """Return the choice for a role and its certainty in words."""
    race, choice, present = found.race, found.choice, found.race.entered[0]
    rows = {str(row["candidate"]): row for row in found.table.to_dict("records")}
    said = (
        f"{race.question.role.value} ({len(race.entered) - 1} candidates, {race.rounds} rounds for the last "
        f"{len(race.remaining) - 1}): "
    )
    best, shown = choice.best.name, choice.chosen.name
    if choice.chosen == choice.best == present:
        said += f"the present setting is kept, it has the lowest cost: {shown}."
    elif choice.chosen == present:
        said += (
            f"the present setting is kept: {shown}. {best} has a cost {rows[best]['ratio']:.2f} times as high, "
            "which is statistically indistinguishable from it."
        )
    else:
        ratio = choice.ratio
        said += (
            f"{shown}, at {ratio.median:.2f} times the cost of the present setting "
            f"({ratio.low:.2f} to {ratio.high:.2f}), which is {present.name}."
        )
        if choice.chosen != choice.best:
            said += f" {best} costs less, but not by a statistically distinguishable difference, and it changes more."
    others = [candidate.name for candidate in choice.tied if candidate not in (choice.chosen, present)]
    if others:
        more = [f"{len(others) - _MOST_NAMED} others"] if len(others) > _MOST_NAMED else []
        said += f" Statistically indistinguishable from the best: {formatting.listed([*others[:_MOST_NAMED], *more])}."
    said += f" The present setting is {'on' if rows[present.name]['front'] else 'not on'} the Pareto front."
    said += f" Measured twice, its costs differ by up to {formatting.percent(np.expm1(found.floor))}."
    return said + (f" {len(race.failed)} failed." if race.failed else "")


def profile(found: Sequence[Found], name: str, format_: str, origin: Mapping[str, Value]) -> str:
    """Return the text of the profile file with the chosen settings of every role."""
    chosen = {one.race.question.role: dict(one.choice.chosen.values) for one in found}
    return profile_text(name, origin, {format_: chosen})
