"""Grades: the words that the rules give, no word without data, and what became of the earlier comparison."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from harness.analysis.criteria import criteria, rules, word
from harness.analysis.earlier_comparison import SAME, earlier, hold
from harness.analysis.formatting import listed
from harness.analysis.grades import GRADE_COLUMNS
from harness.report.page.sections import grades as grades_shown
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


def test_a_lukewarm_read_has_no_part_in_a_grade():
    table = frame(
        full("npz", 4.0), full("hdf5", 1.0), full("npz", 1.0, cache="lukewarm"), full("hdf5", 9.0, cache="lukewarm")
    )
    grades = graded(table)
    assert row(grades, "full read", "npz")["figure"] == pytest.approx(4.0) and set(grades.cells["cache"]) == {"warm"}


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


def test_every_length_and_the_most_workers_count():
    def parallel(name, seconds, executor, workers):
        return cell("parallel_access", "window_attention", name, seconds, executor=executor, workers=workers)

    table = frame(
        full("npz", 9.0), full("hdf5", 1.0), full("npz", 1.0, n_res=128), full("hdf5", 1.0, n_res=128),
        parallel("npz", 9.0, "threads", 2), parallel("hdf5", 1.0, "threads", 2),
    )  # fmt: skip
    lengths = row(graded(table), "full read", "npz")
    assert lengths["cells"] == 2 and lengths["figure"] == pytest.approx(9 ** (64 / (64 + 128)))
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
    found = row(graded(table), "random access", "a")
    assert (found["grade"], found["reason"]) == ("", "not measured")


def test_a_failed_cell_gives_no_grade_and_says_why():
    bad = full("npz", [math.nan], status="failed", reason="returned zeros", cache="cold")
    table = frame(full("npz", 1.0), full("hdf5", 1.0), full("zarr", 2.0), bad, full("hdf5", 1.0, cache="cold"),
                  full("zarr", 2.0, cache="cold"))  # fmt: skip
    npz = row(graded(table), "full read", "npz")
    assert npz["grade"] == "" and math.isnan(npz["figure"])
    assert npz["reason"] == "all_tensors cold on t: failed: returned zeros"
    assert row(graded(table), "full read", "zarr")["figure"] == pytest.approx(2)


def test_too_few_rounds_nothing_measured_or_nobody_to_compare_with_give_no_grade():
    few = graded(frame(full("npz", 1.0, rounds=9), full("hdf5", 1.0, rounds=9)))
    assert row(few, "full read", "npz")["grade"] == ""
    assert row(few, "full read", "npz")["reason"] == "9 rounds: a verdict needs 10"
    assert "layer read" not in set(few.table["criterion"]), "a criterion of a suite that was not measured"
    alone = row(graded(frame(full("npz", 1.0), full("raw", 0.5))), "full read", "npz")
    assert alone["grade"] == "" and "nothing to compare with" in alone["reason"]


def test_noise_of_a_round_cancels_and_own_noise_makes_a_grade_borderline():
    noise = np.random.default_rng(0).lognormal(sigma=0.4, size=(2, 10))
    same = row(graded(frame(full("npz", list(1.3 * noise[0])), full("hdf5", list(noise[0])))), "full read", "npz")
    assert (same["low"], same["high"]) == pytest.approx((1.3, 1.3)) and not same["borderline"]
    own = row(graded(frame(full("npz", list(1.3 * noise[0])), full("hdf5", list(noise[1])))), "full read", "npz")
    assert own["borderline"] and own["low"] < own["high"]


def _criteria_of_its_choice(**figures):
    """Return cells of three formats in the criteria that the earlier choice rests on, and in their settings."""
    rows = []
    for profile, (npz, hdf5, zarr) in figures.items():
        for name, seconds in (("npz", npz), ("hdf5", hdf5), ("zarr", zarr)):
            rows += [
                cell("layer_read", "pair_layer", name, seconds, profile=profile),
                cell("random_access", "window_pair", name, seconds, profile=profile),
                cell("parallel_access", "window_pair", name, seconds, profile=profile, executor="threads", workers=2),
            ]
    return frame(*rows)


def test_the_earlier_comparison_is_held_against_its_own_settings_and_ours():
    table = _criteria_of_its_choice(tuned=(9.0, 1.0, 3.0), seed=(9.0, 2.0, 1.0))
    held = hold(graded(table).table, graded(table, profile="seed").table)
    assert held.better == {
        SAME: {},
        "stock": {name: {"hdf5": "Strong", "zarr": "Limited"} for name in earlier().decision.criteria},
    }
    rows = held.table.set_index(["criterion", "format", "measured_as"])
    assert rows.loc[("parallel access", "hdf5", SAME), ["said", "grade"]].tolist() == ["Limited", "Good"]
    assert rows.loc[("parallel access", "hdf5", "stock"), ["said", "grade"]].tolist() == ["Limited", "Strong"]
    assert rows.loc[("full read", "zarr", "stock"), ["said", "grade"]].tolist() == ["Strong", ""]
    assert set(rows.index.get_level_values("format")) == {"npz", "hdf5", "zarr"}
    shown = grades_shown(SimpleNamespace(grades=graded(table), held=held))[-1].texts
    ahead = [f"{name}: hdf5 Strong, zarr Limited" for name in earlier().decision.criteria]
    assert shown[0].endswith(": yes, it holds.") and shown[2].endswith(": not measured.")
    assert shown[1].lower() == f"stock: no. {listed(ahead)}.".lower()


def test_a_choice_is_not_judged_by_criteria_that_were_not_measured():
    table = _criteria_of_its_choice(tuned=(9.0, 1.0, 3.0))
    assert set(hold(graded(table).table, None).better) == {"stock"}
    less = table[table["suite"] != "random_access"]
    assert hold(graded(less).table, None).better == {}


def test_the_earlier_choice_names_criteria_and_formats_that_it_graded():
    choice = earlier().decision
    assert all(choice.format in earlier().grades[name] for name in choice.criteria)
    assert set(earlier().grades) <= {stated.name for stated in criteria()}


def test_long_sequences_weigh_more():
    """At 100 residues 4 : 1, at 300 residues 1 : 1: a geometric mean weighed 1 to 3."""
    table = frame(
        *(full(name, seconds, n_res=100, trace="short") for name, seconds in (("npz", 4.0), ("hdf5", 1.0))),
        *(full(name, 1.0, n_res=300, trace="long") for name in ("npz", "hdf5")),
        *(full(name, 1.0, n_res=None, trace="without") for name in ("npz", "hdf5")),
    )  # fmt: skip
    grades = graded(table)
    assert row(grades, "full read", "npz")["figure"] == pytest.approx(4 ** (100 / 500))
    assert dict(zip(grades.cells["trace"], grades.cells["weight"], strict=True)) == {
        "short": 100, "long": 300, "without": 100,
    }  # fmt: skip
    assert any("the number of residues of its trace" in rule for rule in grades.rules)


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
