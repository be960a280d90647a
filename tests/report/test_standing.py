"""How formats stand in a criterion: best, tie, behind or not to be told, by paired rounds over all of its cells."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from harness.analysis.formatting import stands
from harness.analysis.grades import Grades, grade
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.withdrawal import CORRECTION
from harness.report.page.conclusions import blocks, lead
from tests.report.synthetic_samples import cell, frame, size

ROUNDS = 12


def times(seed: int, factor: float = 1.0, noise: float = 0.02, rounds: int = ROUNDS) -> list[float]:
    return (factor * np.exp(np.random.default_rng(seed).normal(0, noise, rounds))).tolist()


def full(name, seconds, **changes):
    return cell("full_read", "all_tensors", name, seconds, **changes)


def sized(name, size_bytes):
    return size(name, size_bytes, files=1)


def graded(*groups) -> Grades:
    return grade(SampleTable.of(frame(*groups), baseline="hdf5"), control_of="hdf5")


def standing(grades: Grades, criterion: str = "full read") -> dict[str, str]:
    rows = grades.table[grades.table["criterion"] == criterion]
    return dict(zip(rows["format"], rows["standing"], strict=True))


def test_each_word_is_given():
    base = times(1, noise=0.001)
    grades = graded(
        full("hdf5", base), full("a/a", times(2)),
        full("npz", [2 * second for second in base]),
        full("zarr", [second * (0.99, 1.03)[n % 2] for n, second in enumerate(base)]),
        full("zarr-slim", [second * (0.9, 1.2)[n % 2] for n, second in enumerate(base)]),
    )  # fmt: skip
    assert standing(grades) == {"hdf5": "best", "npz": "behind", "zarr": "tie", "zarr-slim": "inconclusive"}
    rows = grades.table.set_index(["criterion", "format"]).loc["full read"]
    assert [stands(rows.loc[name]) for name in ("hdf5", "npz", "zarr")] == ["best", "2.00", "tie"]
    assert stands(rows.loc["zarr-slim"]).startswith("~1.") and rows.loc["zarr-slim", "why"] == "noise"


def test_a_difference_that_each_cell_leaves_open_is_found_over_all_of_them():
    cells = []
    for n in range(16):
        of = {"trace": f"t{n}"}
        cells += [full("hdf5", times(n, noise=0.15), **of), full("npz", times(n + 50, 1.08, 0.15), **of)]
    assert standing(graded(*cells)) == {"hdf5": "best", "npz": "behind"}
    assert standing(graded(*cells[:2]))["npz"] == "inconclusive"


def test_equal_formats_are_hardly_ever_told_apart():
    found = [
        standing(graded(full("hdf5", times(2 * n, noise=0.1)), full("npz", times(2 * n + 1, noise=0.1))))
        for n in range(60)
    ]
    assert sum("behind" in words.values() for words in found) <= 2


def test_the_difference_of_equal_contenders_is_a_floor():
    base = times(1)
    ten = [1.1 * second for second in times(1)]
    told = standing(graded(full("hdf5", base), full("npz", ten)))
    assert told["npz"] == "behind"
    grades = graded(full("hdf5", base), full("a/a", [1.2 * second for second in base]), full("npz", ten))
    assert standing(grades)["npz"] == "inconclusive"
    assert set(grades.table.loc[grades.table["format"] == "npz", "why"]) == {"floor"}


def test_one_that_left_after_few_rounds_is_behind():
    base = times(1)
    grades = graded(full("hdf5", base), full("a/a", times(2)), full("npz", [10 * second for second in base[:3]]))
    assert standing(grades) == {"hdf5": "best", "npz": "behind"}


@pytest.mark.parametrize("rounds", [3, 9])
def test_no_word_without_enough_rounds(rounds):
    base = times(1, rounds=rounds)
    grades = graded(full("hdf5", base), full("npz", [2 * second for second in base]))
    assert set(standing(grades).values()) == {""} and stands(grades.table.iloc[0]) == "–"


def test_sizes_are_exact():
    words = standing(graded(size("npz", 160), size("hdf5", 101), size("zarr", 100)), "storage efficiency")
    assert words == {"npz": "behind", "hdf5": "behind", "zarr": "best"}


def _said(*groups, **changes) -> list[str]:
    table = SampleTable.of(frame(*groups), baseline="hdf5")
    found = {
        "grades": grade(table, control_of="hdf5"), "summary": summarise(table, "hdf5"), "best_unmeasured": {},
        "noise": SimpleNamespace(busy=(), aa_median=0.018, state="quiet"), "withdrawn": False,
    }  # fmt: skip
    return lead(SimpleNamespace(**(found | changes)), "The answer.")


def test_the_sentences_decide_with_numbers_and_say_how_sure():
    base = times(1)
    groups = (
        full("hdf5", base), full("a/a", times(2)), full("npz", [9 * second for second in base]),
        full("zarr", [2 * second for second in base]), sized("hdf5", 118), sized("zarr", 100), sized("npz", 150),
    )  # fmt: skip
    first, sure, lacking = _said(*groups)
    assert first == (
        "As measured, hdf5 is fastest in full read. Behind, zarr takes 2.0 times as long, npz 9.0 times. "
        "zarr is smallest; hdf5 is 18 %, npz 50 % larger."
    )
    assert sure == (
        f"2 of 2 comparisons with the fastest are decided ({ROUNDS} rounds). Noise of this run: identical contenders "
        "differ by 1.8 % (quiet)."
    )
    assert lacking == (
        "Not measured: numpy.memmap and other readers of deflate (npz); reading threads of HDF5 2.3, ros3, MPI and "
        "SWMR (hdf5); FsspecStore, GPU buffers, caches of stored bytes and readers in other languages (zarr)."
    )
    assert _said(*groups, best_unmeasured={"npz": "why"})[1].startswith("Best not measured of npz")


def test_rounds_are_those_of_what_was_compared_also_after_an_interruption():
    base = times(1)
    compared = full("hdf5", base), full("a/a", times(2)), full("npz", [9 * second for second in base])
    left = [cell("random_access", "window_pair", name, times(3, rounds=2)) for name in ("hdf5", "npz")]
    first, sure, _ = _said(*compared, *left)
    assert "random access" not in first
    assert sure.startswith(f"1 of 1 comparisons with the fastest are decided ({ROUNDS} rounds).")


def test_who_cannot_be_told_apart_is_not_called_fastest():
    base = times(1)
    near = [second * (0.9, 1.2)[n % 2] for n, second in enumerate(base)]
    first, *_ = _said(full("hdf5", base), full("a/a", times(2)), full("zarr", near), full("npz", [2 * s for s in base]))
    assert first == (
        "As measured, hdf5 and zarr are statistically indistinguishable in full read. Behind, npz takes 2.0 times as "
        "long."
    )


def test_too_few_rounds_are_said_beside_sizes():
    few = [
        full("hdf5", times(1, rounds=3)),
        full("npz", times(2, rounds=3)),
        sized("npz", 150),
        sized("hdf5", 100),
    ]
    first, why = _said(*few)
    assert first == "As measured, hdf5 is smallest; npz is 50 % larger."
    assert why == "No verdict on times: it needs 10 rounds, and this run has 3."


def test_an_effort_with_nothing_to_say_has_no_sentence():
    few = [full("hdf5", times(1, rounds=3)), full("npz", times(2, rounds=3)), sized("npz", 150), sized("hdf5", 100)]
    table = graded(*few).table
    both = pd.concat([table.assign(effort=effort) for effort in ("stock", "best")])  # stores the same at its best
    first, why = _said(*few, grades=SimpleNamespace(table=both))
    assert first == "By stock readers, hdf5 is smallest; npz is 50 % larger."
    assert why == "No verdict on times: it needs 10 rounds, and this run has 3."


def test_withdrawn_reads_are_said_first():
    assert _said(sized("npz", 150), sized("hdf5", 100), withdrawn=True)[0] == CORRECTION


def test_one_measured_in_fewer_cells_is_not_the_best():
    base = times(1)
    grades = graded(
        full("hdf5", base), full("npz", [2 * s for s in base]), full("zarr", [0.5 * s for s in base]),
        full("hdf5", base, cache="cold"), full("npz", [2 * s for s in base], cache="cold"),
    )  # fmt: skip
    assert standing(grades)["hdf5"] == "best"


def test_the_ratio_that_is_shown_is_to_the_best():
    """Two cells that differ by 2 in opposite ways, and a third by 4: figures are 1.26 and 2, and the ratio 1.59."""
    base = times(1)
    double = [2 * s for s in base]
    grades = graded(
        full("hdf5", base), full("npz", double), full("hdf5", double, cache="cold"), full("npz", base, cache="cold"),
        full("hdf5", base, trace="u"), full("npz", [4 * s for s in base], trace="u"),
    )  # fmt: skip
    npz = grades.table[grades.table["format"] == "npz"].iloc[0]
    assert npz["figure"] == pytest.approx(2.0) and npz["ratio"] == pytest.approx(4 ** (1 / 3))


def test_the_table_begins_with_the_best_and_keeps_the_order_of_criteria():
    base = times(1)
    grades = graded(full("npz", [9 * s for s in base]), full("hdf5", base), sized("npz", 150), sized("hdf5", 100))
    columns, (block,) = blocks(grades.table)
    assert [stated.name for stated in columns] == ["storage efficiency", "full read"]
    assert [name for name, _ in block.rows] == ["hdf5", "npz"] and block.how == "as measured"
    assert stands(block.rows[1][1]["full read"]) == "9.0"
