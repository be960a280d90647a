"""The grades and the decision of an earlier comparison, held against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec.toml
import pandas as pd

from harness.analysis.criteria import WORDS
from harness.analysis.efforts import BEST, STOCK

_FILE = Path(__file__).with_name("earlier_comparison.toml")

SAME = "same settings"
"""Measured in the settings of the earlier comparison; else by effort, in those of this project."""

HELD_COLUMNS = ["criterion", "format", "said", "measured_as", "grade", "figure", "borderline"]

_Graded = dict[str, dict[str, str]]
"""Words of formats, by criterion."""


class EarlierDecision(msgspec.Struct, frozen=True):
    """The format that was chosen, and the criteria in which it was said to be at least as good as others."""

    format: str
    criteria: tuple[str, ...]


class Earlier(msgspec.Struct, frozen=True):
    """An earlier comparison: its name, where it is, whose settings it used, what it chose, and its grades."""

    name: str
    source: str
    profile: str
    decision: EarlierDecision
    grades: _Graded


@cache
def earlier() -> Earlier:
    """Return what ``earlier_comparison.toml`` says."""
    return msgspec.toml.decode(_FILE.read_bytes(), type=Earlier)


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """What became of the earlier comparison."""

    # Columns `HELD_COLUMNS`: for each of its criteria and formats what it said, and the grade and figure measured in
    # its own settings, stock, and at the format's best; empty where that was not measured.
    table: pd.DataFrame
    # By what was measured, the criteria that its choice rests on in which another format that it compared is graded
    # better: by criterion, the grades of those formats and of its choice. None where the choice holds; absent where a
    # grade is missing.
    better: dict[str, _Graded]


def hold(grades: pd.DataFrame, same: pd.DataFrame | None) -> Held:
    """Hold the earlier comparison against measured grades.

    Parameters
    ----------
    grades, same : DataFrame
        `harness.analysis.grades.Grades.table` of this project's settings; and of the earlier comparison's, if measured.
    """
    measured = {
        SAME: same,
        STOCK: grades[grades["effort"] != BEST],
        BEST: grades[grades["effort"] == BEST],
    }
    found = {name: {} if table is None else _by_place(table) for name, table in measured.items()}
    rows = [
        [criterion, name, said, measured_as, *of.get((criterion, name), ("", float("nan"), False))]
        for criterion, words in earlier().grades.items()
        for name, said in words.items()
        for measured_as, of in found.items()
    ]
    answers = {name: _better(of) for name, of in found.items()}
    better = {name: answer for name, answer in answers.items() if answer is not None}
    return Held(table=pd.DataFrame(rows, columns=HELD_COLUMNS), better=better)


_Measured = Mapping[tuple[str, str], tuple[str, float, bool]]


def _by_place(table: pd.DataFrame) -> _Measured:
    """Return grade, figure and whether it is borderline, of all that have a grade, by criterion and format."""
    rows = table[table["grade"].astype(bool)].to_dict("records")
    return {(r["criterion"], r["format"]): (r["grade"], r["figure"], bool(r["borderline"])) for r in rows}


def _better(found: _Measured) -> _Graded | None:
    """Return the grades that are better than those of the choice, and its own; None where one is missing."""
    choice = earlier().decision
    better: _Graded = {}
    for criterion in choice.criteria:
        places = [(criterion, name) for name in earlier().grades[criterion]]
        if any(place not in found for place in places):
            return None
        words = {name: found[criterion, name][0] for _, name in places}
        mine = words.pop(choice.format)
        if ahead := {name: word for name, word in words.items() if WORDS.index(word) < WORDS.index(mine)}:
            better[criterion] = ahead | {choice.format: mine}
    return better
