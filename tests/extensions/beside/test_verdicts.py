"""Whether a verdict holds on all runs follows from what each run leaves possible."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.analysis.efforts import BEST, STOCK, at
from harness.analysis.grades import grade
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.extensions.beside.answer import screen
from harness.extensions.beside.document import SideBySide
from harness.extensions.beside.page import render_page
from harness.extensions.beside.shared import SharedCells
from harness.extensions.beside.systems import RunFact
from harness.extensions.beside.verdicts import FRONT, HeldVerdict, RunWord, counted, held_verdicts
from harness.records import Effort
from tests.report.synthetic_samples import cell, frame


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


QUIET = {"ratio": 0.97, "low": 0.955, "high": 0.985}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({**QUIET}, "inconclusive"),
        ({"ratio": 1.0, "low": 0.98, "high": 1.02}, "inconclusive"),
        ({"ratio": 1.02, "low": 1.0, "high": 1.04}, "differs"),
    ],
)
def test_other_words_for_overlapping_ratios_contradict_nothing(other: dict[str, float], expected: str) -> None:
    """The same ratio is faster on a quiet machine, and equivalent where equal contenders differ by more."""
    said = (
        RunWord(word="faster", possible=frozenset(("faster",)), **QUIET),
        RunWord(word="equivalent", possible=frozenset(("equivalent",)), **other),
    )
    assert HeldVerdict(kind="cell", effort="", of="a read", format="npz", said=said).agreement == expected


def test_words_against_other_formats_are_no_verdict_on_all_runs() -> None:
    for said in (word("a"), word("b")):
        other = RunWord(word=said.word, possible=said.possible, among=frozenset(("npz",)))
        assert HeldVerdict(kind="use", effort="", of="a use", said=(word("a"), other)).agreement == "none"


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
    shared = SharedCells(cells={}, efforts=("stock",), further=(0, 2), notes=())
    runs: list[Any] = [SimpleNamespace(name="results/a-machine-with-a-long-name"), SimpleNamespace(name="b")]
    lines = list(screen(SideBySide(runs=runs, baseline="npz", shared=shared, facts=[], verdicts=many)))
    assert len(lines) <= 25 and max(map(len, lines)) <= 80 and "see the report" in lines[-1]


def times(seed: int, factor: float = 1.0) -> list[float]:
    return (factor * np.exp(np.random.default_rng(seed).normal(0, 0.002, 12))).tolist()


def said_of(*groups: list[Any], unmeasured: tuple[str, ...] = ()) -> Any:
    """Work out what a run says of samples, with formats whose best is not known."""
    table = SampleTable.of(frame(*groups), baseline="hdf5")
    raced = bool(table.rows["effort"].isin([BEST, "both"]).any())
    best = at(table, BEST, without=unmeasured) if raced else None
    return SimpleNamespace(
        grades=grade(at(table, STOCK), best, control_of="hdf5"), summary=summarise(table, "hdf5"), samples=table.rows,
        decisions={},
    )  # fmt: skip


def full(name: str, seconds: float | list[float], **changes: Any) -> list[Any]:
    return cell("full_read", "all_tensors", name, seconds, **changes)


def held(*runs: Any, efforts: tuple[Effort, ...] = ("",), kind: str = "standing") -> dict[tuple[str, str], HeldVerdict]:
    return {(one.effort, one.format): one for one in held_verdicts(runs, efforts) if one.kind == kind}


def agreements(found: dict[tuple[str, str], HeldVerdict]) -> dict[tuple[str, str], str]:
    return {key: one.agreement for key, one in found.items()}


def test_a_format_that_failed_in_one_run_leaves_no_word_of_its_criterion_to_compare() -> None:
    """Where Zarr failed HDF5 is the best, elsewhere it is behind Zarr: that is no contradiction."""
    same = full("hdf5", times(1)), full("a/a", times(2)), full("npz", times(3, 2.0))
    sound = said_of(*same, full("zarr", times(4, 0.5)))
    broken = said_of(*same, full("zarr", [np.nan] * 12, status="failed", reason="returned zeros"))
    standing = held(sound, broken)
    assert [one.word for one in standing["", "hdf5"].said] == ["behind", "best"]
    assert set(agreements(standing).values()) == {"none"} and len(standing) == 3
    assert set(agreements(held(sound, broken, kind="grade")).values()) == {"none"}
    cells = agreements(held(sound, broken, kind="cell"))
    assert (cells["", "npz"], cells["", "zarr"]) == ("holds", "none"), "in a cell all are held against the baseline"
    assert set(agreements(held(sound, sound)).values()) == {"holds"}


def test_a_tie_is_not_sure_where_another_format_may_be_the_best() -> None:
    base = np.array(times(1))
    turns = np.arange(len(base)) % 2
    run = said_of(
        full("hdf5", base.tolist()), full("a/a", times(2)),
        full("zarr", (base * np.where(turns, 1.03, 0.99)).tolist()),
        full("npz", (base * np.where(turns, 1.2, 0.9)).tolist()),
    )  # fmt: skip
    found = held(run, run)
    assert [found["", name].said[0].word for name in ("hdf5", "zarr", "npz")] == ["best", "tie", "inconclusive"]
    assert set(agreements(found).values()) == {"inconclusive"}
    sure = said_of(full("hdf5", base.tolist()), full("a/a", times(2)), full("zarr", times(1, 1.001)))
    assert set(agreements(held(sure, sure)).values()) == {"holds"}


def test_a_grade_at_a_border_leaves_open_what_its_interval_reaches() -> None:
    spread = [factor * second for factor, second in zip([1.1, 1.4] * 6, times(1), strict=True)]
    run = said_of(full("hdf5", times(1)), full("a/a", times(2)), full("npz", spread), full("zarr", times(3, 9.0)))
    found = held(run, run, kind="grade")
    assert found["", "npz"].said[0].possible == {"Strong", "Good"} and found["", "zarr"].said[0].possible == {"Poor"}


def test_runs_with_races_are_compared_by_effort_and_cells_by_stock_readers_alone() -> None:
    groups = [full("a/a", times(9), reader="stock", threads=1)]
    for name, stock, best in (("hdf5", 1.0, 0.8), ("npz", 3.0, 2.0), ("zarr", 2.0, 0.5)):
        for seed, (effort, factor) in enumerate((("stock", stock), ("best", best))):
            groups.append(full(name, times(seed, factor), reader=effort, effort=effort, threads=1))
    every, less = said_of(*groups), said_of(*groups, unmeasured=("zarr",))
    efforts: tuple[Effort, ...] = (STOCK, BEST)
    found = agreements(held(every, less, efforts=efforts))
    assert {found[STOCK, name] for name in ("hdf5", "npz", "zarr")} == {"holds"}
    assert {found[BEST, name] for name in ("hdf5", "npz", "zarr")} == {"none"}, "zarr is known in one alone"
    assert set(agreements(held(every, every, efforts=efforts)).values()) == {"holds"}
    assert {effort for effort, _ in held(every, less, efforts=efforts, kind="cell")} == {STOCK}


def test_names_of_strangers_begin_nothing_on_the_page() -> None:
    name, shared = "a|b\n# c", SharedCells(cells={}, efforts=("",), further=(0, 2), notes=("Not compared: d\n# e.",))
    runs: list[Any] = [
        SimpleNamespace(name=one, samples_sha256="0" * 64, config=SimpleNamespace(rounds=10, run_id=one))
        for one in (name, "b")
    ]
    facts = [RunFact("Mount options", ("rw|dax\n# f", "rw")), RunFact("Library g\n# h", ("1", "1"))]
    verdicts = [HeldVerdict(kind="standing", effort="", of="reads", format="npz", said=(word("a"), word("b")))]
    page, markdown = render_page(SideBySide(runs=runs, baseline="npz", shared=shared, facts=facts, verdicts=verdicts))
    headings = [line for line in markdown.splitlines() if line.startswith("#")]
    assert not [line for line in headings if line.strip("# ") in ("c", "d", "e.", "f", "h")] and len(headings) > 3
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert any("a\\|b\\n# c" in line for line in tables)
    columns = [line.replace("\\|", "").count("|") for line in tables]
    for above, line, count in zip(columns, tables[1:], columns[1:], strict=False):
        assert count == above or line.startswith(("| Verdicts", "| Run", "| What", "| Criterion")), line
    assert "a|b\\n# c" in page
