"""Whether a verdict holds on all runs follows from what each run leaves possible."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.extensions.beside.answer import screen
from harness.extensions.beside.document import SideBySide
from harness.extensions.beside.shared import SharedCells
from harness.extensions.beside.verdicts import FRONT, HeldVerdict, RunWord, counted


def word(*possible: str) -> RunWord:
    return RunWord(word=" or ".join(possible), possible=frozenset(possible))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([word("a"), word("a"), word("a")], "holds"),
        ([word("a"), word("b")], "differs"),
        ([word("a"), word("a", "b")], "inconclusive"),
        ([word("a", "b"), word("a", "b")], "inconclusive"),
        ([word("a", "b"), word("c")], "differs"),
        ([word("a"), word()], "none"),
        ([word(), word()], "none"),
        ([word("a"), word("b"), word()], "differs"),
        ([word("a"), word("a", "b"), word()], "none"),
    ],
)
def test_a_verdict_holds_where_all_runs_are_sure_of_the_same(said: list[RunWord], expected: str) -> None:
    assert HeldVerdict(kind="standing", effort="", of="reads", format="npz", said=tuple(said)).agreement == expected


def test_verdicts_are_counted_by_whether_they_hold() -> None:
    held = [HeldVerdict(kind="use", effort="", of="a use", said=(word("a"), word("a")))] * 2
    assert counted(held) == {"holds": 2, "differs": 0, "inconclusive": 0, "none": 0}


def test_the_screen_has_25_lines_of_80_columns_however_much_differs() -> None:
    said = (RunWord(word="best", possible=frozenset((FRONT,))), RunWord(word="behind", possible=frozenset(("behind",))))
    many = [
        HeldVerdict(
            kind="standing", effort="stock", of=f"criterion {n} of a long name", format=f"format-{n}", said=said
        )
        for n in range(40)
    ]
    shared = SharedCells(cells={}, efforts=("stock",), own=(0, 2), notes=())
    runs: list[Any] = [SimpleNamespace(name="results/a-machine-with-a-long-name"), SimpleNamespace(name="b")]
    lines = list(screen(SideBySide(runs=runs, baseline="npz", shared=shared, facts=[], verdicts=many)))
    assert len(lines) <= 25 and max(map(len, lines)) <= 80 and "see the report" in lines[-1]
