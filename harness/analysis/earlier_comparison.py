"""Comparison of the grades and the decision of an earlier comparison with measured grades."""

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
"""Grades measured in the settings of the earlier comparison; other grades are by effort, in this project's settings."""

HELD_COLUMNS = ["criterion", "format", "said", "measured_as", "grade", "figure", "borderline"]

_Graded = dict[str, dict[str, str]]
"""Grades of formats, by criterion."""


class EarlierDecision(msgspec.Struct, frozen=True):
    """The chosen format, and the criteria in which the earlier comparison rated it at least as good as others."""

    format: str
    criteria: tuple[str, ...]


class Earlier(msgspec.Struct, frozen=True):
    """An earlier comparison: its name, its source, the profile that it used, its decision, and its grades."""

    name: str
    source: str
    profile: str
    decision: EarlierDecision
    grades: _Graded


@cache
def earlier() -> Earlier:
    """Return the content of ``earlier_comparison.toml``."""
    return msgspec.toml.decode(_FILE.read_bytes(), type=Earlier)


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """Result of the comparison with measured grades."""

    # Columns `HELD_COLUMNS`: for each of its criteria and formats its grade, and the grade and figure measured in its
    # own settings, stock, and at the format's best; empty where that was not measured.
    table: pd.DataFrame
    # For each kind of measured grades (``measured_as``), the criteria of its decision in which another format that it
    # compared has a better grade than its choice, with the grades of those formats and of the choice. Empty if the
    # choice holds; a kind is absent if a grade is missing.
    better: dict[str, _Graded]


def hold(grades: pd.DataFrame, same: pd.DataFrame | None) -> Held:
    """Compare the earlier comparison with measured grades.

    Parameters
    ----------
    grades, same : DataFrame
        `harness.analysis.grades.Grades.table` in this project's settings; and in the earlier comparison's, if measured.
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
    """Return grade, figure and whether it is borderline, by criterion and format, of all that have a grade."""
    rows = table[table["grade"].astype(bool)].to_dict("records")
    return {(r["criterion"], r["format"]): (r["grade"], r["figure"], bool(r["borderline"])) for r in rows}


def _better(found: _Measured) -> _Graded | None:
    """Return, by criterion, the grades that are better than that of the choice, and its own; None if one is missing."""
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
