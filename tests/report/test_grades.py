"""Grades: the words that the rules give, no word without data, and where the seed's words do not hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.grades import GRADE_COLUMNS, criteria, rules, word
from tests.report.synthetic_samples import cell, frame, graded, size


def row(grades, criterion, name):
    found = grades.table[(grades.table["criterion"] == criterion) & (grades.table["format"] == name)]
    assert len(found) == 1
    return found.iloc[0]


def full(name, seconds, **changes):
    return cell("full_read", "all_tensors", name, seconds, **changes)


def test_a_figure_is_the_geometric_mean_of_ratios_to_the_best_of_each_cell():
    # warm 4 : 1, cold 1 : 1, so NPZ is at sqrt(4 * 1) = 2; the ceiling and the control do not compete
    table = frame(
        full("npz", 4.0), full("hdf5", 1.0), full("raw", 0.1), full("a/a", 0.5),
        full("npz", 3.0, cache="cold"), full("hdf5", 3.0, cache="cold"),
    )  # fmt: skip
    grades = graded(table)
    npz, hdf5 = row(grades, "full read", "npz"), row(grades, "full read", "hdf5")
    assert (npz["grade"], npz["figure"], npz["cells"]) == ("Good", pytest.approx(2.0), 2)
    assert (hdf5["grade"], hdf5["figure"]) == ("Strong", pytest.approx(1.0))
    assert set(grades.table["format"]) == {"npz", "hdf5"} and list(grades.table) == GRADE_COLUMNS
    behind = grades.cells[grades.cells["format"] == "npz"].set_index("cache")
    assert behind.loc["warm", "ratio"] == pytest.approx(4) and behind.loc["warm", "best_format"] == "hdf5"
    assert behind.loc["cold", "value"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [(1.0, "Strong"), (1.25, "Strong"), (1.26, "Good"), (2, "Good"), (5, "Limited"), (5.1, "Poor")],
)
def test_limits_belong_to_the_better_word(figure, expected):
    assert word(figure, criteria()[1].limits) == expected


def test_sizes_have_tighter_limits_and_no_spread():
    grades = graded(frame(size("npz", 160), size("hdf5", 120), size("zarr", 100)))
    found = [row(grades, "storage efficiency", n) for n in ("npz", "hdf5", "zarr")]
    assert [r["grade"] for r in found] == ["Limited", "Good", "Strong"]
    assert found[0]["low"] == found[0]["high"] == pytest.approx(1.6) and not found[0]["borderline"]


def test_only_the_largest_length_and_the_most_workers_count():
    def parallel(name, seconds, executor, workers):
        return cell("parallel_access", "window_attention", name, seconds, executor=executor, workers=workers)

    table = frame(
        full("npz", 9.0), full("hdf5", 1.0), full("npz", 1.0, n_res=128), full("hdf5", 1.0, n_res=128),
        parallel("npz", 9.0, "threads", 2), parallel("hdf5", 1.0, "threads", 2),
    )  # fmt: skip
    assert row(graded(table), "full read", "npz")["figure"] == pytest.approx(1)
    more = frame(
        parallel("npz", 9.0, "threads", 2), parallel("hdf5", 1.0, "threads", 2),
        parallel("npz", 2.0, "threads", 8), parallel("hdf5", 1.0, "threads", 8),
        parallel("npz", 8.0, "processes", 4), parallel("hdf5", 1.0, "processes", 4),
    )  # fmt: skip
    npz = row(graded(more), "parallel access", "npz")
    assert npz["cells"] == 2 and npz["figure"] == pytest.approx(4)  # sqrt(2 * 8)


def test_windows_cut_from_memory_are_no_random_access():
    table = frame(
        *(cell("random_access", f"window_{k}_load_once", n, 1.0) for k in ("attention", "pair") for n in "ab")
    )
    assert row(graded(table), "random access", "a")["grade"] == ""


def test_a_failed_cell_gives_no_grade_and_says_why():
    bad = full("npz", [math.nan], status="failed", reason="returned zeros", cache="cold")
    table = frame(full("npz", 1.0), full("hdf5", 1.0), full("zarr", 2.0), bad, full("hdf5", 1.0, cache="cold"),
                  full("zarr", 2.0, cache="cold"))  # fmt: skip
    npz = row(graded(table), "full read", "npz")
    assert npz["grade"] == "" and math.isnan(npz["figure"]) and not npz["disagrees"]
    assert npz["reason"] == "all_tensors cold on t: failed: returned zeros"
    assert row(graded(table), "full read", "zarr")["figure"] == pytest.approx(2)


def test_too_few_rounds_nothing_measured_or_nobody_to_compare_with_give_no_grade():
    few = graded(frame(full("npz", 1.0, rounds=9), full("hdf5", 1.0, rounds=9)))
    assert row(few, "full read", "npz")["grade"] == ""
    assert row(few, "full read", "npz")["reason"] == "9 rounds: a verdict needs 10"
    unmeasured = graded(frame(full("npz", 1.0)), measured_only=False)
    assert row(unmeasured, "layer read", "npz")["reason"] == "not measured"
    assert "layer read" not in set(few.table["criterion"]), "a criterion of a suite that was not measured"
    alone = row(graded(frame(full("npz", 1.0), full("raw", 0.5))), "full read", "npz")
    assert alone["grade"] == "" and "nothing to compare with" in alone["reason"]


def test_noise_of_a_round_cancels_and_own_noise_makes_a_grade_borderline():
    noise = np.random.default_rng(0).lognormal(sigma=0.4, size=(2, 10))
    same = row(graded(frame(full("npz", list(1.3 * noise[0])), full("hdf5", list(noise[0])))), "full read", "npz")
    assert (same["low"], same["high"]) == pytest.approx((1.3, 1.3)) and not same["borderline"]
    own = row(graded(frame(full("npz", list(1.3 * noise[0])), full("hdf5", list(noise[1])))), "full read", "npz")
    assert own["borderline"] and own["low"] < own["high"]


def test_where_the_seed_is_contradicted_a_sentence_says_so():
    def parallel(name, seconds):
        return cell("parallel_access", "window_attention", name, seconds, executor="threads", workers=8)

    grades = graded(frame(parallel("hdf5", 1.0), parallel("zarr", 3.0), parallel("npz", 7.0), parallel("new", 1.0)))
    said = "the earlier comparison (VizFold PR 53) says"
    assert grades.disagreements == [
        f"hdf5, parallel access: {said} Limited, measured Strong: 1.00x the fastest in 1 cell.",
        f"zarr, parallel access: {said} Strong, measured Limited: 3.00x the fastest in 1 cell.",
    ]
    assert row(grades, "parallel access", "npz")["seed_grade"] == "Poor"  # and Poor it is
    assert row(grades, "parallel access", "new")["seed_grade"] == ""


def test_a_borderline_grade_that_may_be_the_seeds_does_not_contradict_it():
    noise = np.random.default_rng(0).lognormal(sigma=0.4, size=(2, 10))
    zarr = row(graded(frame(full("zarr", list(1.3 * noise[0])), full("hdf5", list(noise[1])))), "full read", "zarr")
    assert zarr["borderline"] and zarr["seed_grade"] == "Strong" and not zarr["disagrees"]


def test_settings_are_graded_apart_and_tuned_ones_first():
    table = frame(
        full("npz", 4.0, profile="seed"), full("hdf5", 1.0, profile="seed"), full("npz", 1.0), full("hdf5", 1.0)
    )
    assert (
        set(graded(table).table["profile"]) == {"tuned"} and row(graded(table), "full read", "npz")["grade"] == "Strong"
    )
    seeds = table[table["profile"] == "seed"]
    assert row(graded(seeds), "full read", "npz")["grade"] == "Limited"


def test_the_rules_name_every_limit():
    text = " ".join(rules(criteria()))
    assert all(f"{limit:g}" in text for c in criteria() for limit in c.limits)
