"""What a search found: a table of all candidates, the chosen settings in words and as a profile file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting as words
from harness.analysis.choice.costs import needed
from harness.analysis.statistics import bounds, median_interval
from harness.extensions.tune.candidates import Candidate
from harness.extensions.tune.race import Race
from harness.extensions.tune.standing import Choice, Standing, choose, label_of, standing
from harness.formats.profile_file import profile_text
from harness.formats.settings import Value
from harness.records import CONTROL

_MOST_NAMED = 4

PRESENT, CHOSEN, TIED = "present", "chosen", "tied"


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The result for one role.

    Attributes
    ----------
    race : Race
        What was measured.
    choice : Choice
        What is chosen.
    floor : float
        How far the A/A control lies from the present setting, as a logarithm of the cost.
    table : DataFrame
        One row a candidate, those measured longest and then cheapest first. Times in seconds, sizes in bytes. The
        columns of the mix (``wait``, ``write``, ``cost``, each with ``_low`` and ``_high``, and ``size_bytes``) stand
        for all tensors of the role in the trace; those named after an access for one sample of it on the corner.
        ``front`` is said of those that were measured to the end.
    """

    race: Race
    choice: Choice
    floor: float
    table: pd.DataFrame


def find(race: Race) -> Found:
    """Work out what a race found; the same samples give the same result."""
    last = standing(race.question, race.samples, race.remaining, race.rounds)
    choice = choose(last, race.remaining)
    front = {label for label, on in zip(last.labels, last.front(), strict=True) if on}
    rows = []
    for rounds in sorted({race.rounds_of(c.label) for c in race.entered if c.label not in race.failed}):
        here = [c for c in race.entered if c.label not in race.failed and race.rounds_of(c.label) == rounds]
        compared = here if race.entered[0] in here else [race.entered[0], *here]
        found = standing(race.question, race.samples, compared, rounds)
        rows += [_row(race, candidate, found, choice, front) for candidate in here]
    rows += [_failed(race, candidate) for candidate in race.entered if candidate.label in race.failed]
    table = pd.DataFrame(rows).sort_values(["rounds", "cost"], ascending=[False, True], kind="stable")
    return Found(race=race, choice=choice, floor=last.floor, table=table.reset_index(drop=True))


def _common(race: Race, candidate: Candidate) -> dict[str, Any]:
    return {
        "role": race.question.role.value,
        "candidate": candidate.label.partition(": ")[2] or candidate.label,
        **dict(candidate.values),
        "chunks": "x".join(map(str, candidate.layout.chunks or ())),
        "rounds": race.rounds_of(candidate.label),
    }


def _failed(race: Race, candidate: Candidate) -> dict[str, Any]:
    reason = race.failed[candidate.label]
    return _common(race, candidate) | {"status": "failed", "reason": reason, "front": False, "choice": ""}


def _row(race: Race, candidate: Candidate, found: Standing, choice: Choice, front: set[str]) -> dict[str, Any]:
    column = found.labels.index(candidate.label)
    ratio = found.total[:, column] / found.total[:, 0]  # the present setting comes first
    row = _common(race, candidate) | {
        "status": "ok",
        "reason": "",
        "front": candidate.label in front,
        "choice": _part_in(candidate, choice),
        "size_bytes": round(float(found.gigabytes[column]) * 1e9),
    }
    values = {"wait": found.wait[:, column], "write": found.write[:, column], "cost": found.total[:, column]}
    for name, drawn in (values | {"ratio": ratio}).items():
        low, high = bounds(drawn[1:])
        row |= {name: float(drawn[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
    for access, cache in needed(race.question.use):
        measured = race.question.reads[access]
        times = np.array(
            [
                s.seconds
                for s in race.samples
                if (s.suite, s.access, s.cache) == (measured.suite, measured.access.name, cache)
                and label_of(s) == candidate.label
                and s.seconds is not None
            ]
        )
        times *= race.question.scale(candidate.layout) if measured.grows else 1.0
        interval = median_interval(times)
        name = f"{access} {cache}"
        row |= {name: interval.median, f"{name} low": interval.low, f"{name} high": interval.high}
    return row


def _part_in(candidate: Candidate, choice: Choice) -> str:
    """Say what part a candidate has in the choice; several words where it has several."""
    parts = {
        PRESENT: candidate.present,
        CHOSEN: candidate.label == choice.label,
        "best": candidate.label == choice.best,
        TIED: candidate.label in choice.tied,
        "twin": candidate.label == CONTROL,
    }
    return " ".join(name for name, has in parts.items() if has)


def sentence(found: Found) -> str:
    """Say in words what was chosen for a role, and how sure that is."""
    race, choice = found.race, found.choice
    role, measured = race.question.role.value, len(race.entered) - 1
    rows = {str(row["candidate"]): row for row in found.table.to_dict("records")}
    shown, best, present = (label.partition(": ")[2] for label in (choice.label, choice.best, race.entered[0].label))
    said = f"{role} ({measured} candidates, {race.rounds} rounds for the last {len(race.remaining) - 1}): "
    if choice.label == race.entered[0].label:
        if choice.best == choice.label:
            said += f"the present setting is kept, it has the lowest cost: {shown}."
        else:
            said += (
                f"the present setting is kept: {shown}. {best} has a cost {rows[best]['ratio']:.2f} times as high, "
                "but that cannot be told from the noise."
            )
    else:
        said += (
            f"{shown}, at {choice.ratio:.2f} times the cost of the present setting "
            f"({choice.low:.2f} to {choice.high:.2f}), which is {present}."
        )
        if choice.label != choice.best:
            said += f" {best} costs less, but that cannot be told from the noise, and it changes more."
    others = [label.partition(": ")[2] for label in choice.tied if label not in (choice.label, race.entered[0].label)]
    if others:
        more = [f"{len(others) - _MOST_NAMED} others"] if len(others) > _MOST_NAMED else []
        said += f" Not to be told from the best: {words.listed([*others[:_MOST_NAMED], *more])}."
    said += f" The present setting is {'on' if rows[present]['front'] else 'not on'} the Pareto front."
    said += f" Measured twice, its costs differ by up to {words.percent(np.expm1(found.floor))}."
    if race.failed:
        said += f" {len(race.failed)} failed."
    return said


def profile(found: Sequence[Found], name: str, format_: str, origin: Mapping[str, Value]) -> str:
    """Return the text of the profile file with what was chosen for every role."""
    chosen = {}
    for one in found:
        candidate = next(c for c in one.race.entered if c.label == one.choice.label)
        chosen[one.race.question.role] = dict(candidate.values)
    return profile_text(name, origin, {format_: chosen})


def table(found: Sequence[Found]) -> pd.DataFrame:
    """Return the candidates of all roles in one table."""
    return pd.concat([one.table for one in found], ignore_index=True)
