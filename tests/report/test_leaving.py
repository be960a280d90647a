"""A contender that left early has a word, a figure and a grade; opening counts; what is below the ceiling is marked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.analysis import formatting
from harness.analysis.cells import CLOSED_SINCE
from harness.analysis.grades import grade
from harness.analysis.summary import BELOW_RAW, summarise, too_few
from harness.analysis.table import SampleTable
from harness.run.early_decision import LEAVES_AFTER, decided
from tests.report.synthetic_samples import cell, frame


def rounds(name, seconds, count=10, **changes):
    noisy = seconds * np.exp(0.01 * np.sin(np.arange(count) * (1 + len(name))))
    return cell("full_read", "all_tensors", name, noisy.tolist(), schema_version=CLOSED_SINCE, **changes)


def table(*groups):
    return SampleTable.of(frame(*groups), baseline="zarr")


def of(summary, name):
    (row,) = summary[summary["format"] == name].to_dict("records")
    return row


EQUAL = [rounds("zarr", 1.0), rounds("a/a", 1.0), rounds("raw", 0.1), rounds("hdf5", 0.9)]


def test_few_rounds_decide_what_is_far_slower_and_say_so():
    found = table(*EQUAL, rounds("npz", 50.0, LEAVES_AFTER))
    summary = summarise(found, "zarr")
    npz = of(summary, "npz")
    assert (npz["verdict"], npz["samples"], npz["decided_after"]) == ("slower", LEAVES_AFTER, LEAVES_AFTER)
    assert formatting.verdict(npz) == f"slower, decided after {LEAVES_AFTER} rounds" and not too_few(summary).any()
    grades = grade(found).table
    row = of(grades[grades["criterion"] == "full read"], "npz")
    assert row["grade"] == "Poor" and row["low"] < row["figure"] < row["high"]
    assert row["figure"] == pytest.approx(50 / 0.9, rel=0.05)


def test_the_others_are_faster_where_the_one_that_left_is_the_baseline_of_a_report():
    summary = summarise(table(*EQUAL, rounds("npz", 50.0, LEAVES_AFTER)), "npz", control_of="zarr")
    assert of(summary, "hdf5")["verdict"] == "faster" and of(summary, "hdf5")["decided_after"] == LEAVES_AFTER


@pytest.mark.parametrize(
    ("npz", "zarr"),
    [
        (rounds("npz", 1.5, LEAVES_AFTER), rounds("zarr", 1.0)),
        (rounds("npz", 50.0, LEAVES_AFTER - 1), rounds("zarr", 1.0)),
        (rounds("npz", 50.0, 7), rounds("zarr", 1.0, 7)),  # nobody left: the run has few rounds
    ],
)
def test_few_rounds_decide_nothing_else(npz, zarr):
    summary = summarise(table(zarr, *EQUAL[1:], npz), "zarr")
    row = of(summary, "npz")
    assert (row["verdict"], row["why"]) == ("inconclusive", "rounds") and pd.isna(row["decided_after"])
    assert formatting.verdict(row) == ""


def test_who_leaves_is_a_matter_of_the_worst_round_of_all_arms():
    far, equal = np.log(np.full(5, 6.0)), np.zeros(5)
    disturbed = np.where(np.arange(5) == 2, np.log(4), 0)
    assert decided(far, equal) and not decided(far[:4], equal[:4]) and not decided(-far, equal)
    assert decided(far[:3] + 0.1, equal[:3]) and not decided(far[:2] + 0.1, equal[:2])  # farther, after fewer rounds
    assert decided(far, disturbed) and not decided(far - disturbed, equal)  # the baseline took 4 times as long
    assert not decided(far, 2 * disturbed) and not decided(np.log(np.full(5, 1.9)), equal)
    assert not decided(far, np.zeros(0))  # without a control nobody leaves


def test_words_and_figures_are_of_the_time_from_a_closed_archive():
    lazy = rounds("hdf5", 0.1, open_seconds=4.0)
    groups = [rounds(n, 1.0, open_seconds=0.5) for n in ("zarr", "a/a", "raw")]
    row = of(summarise(table(*groups, lazy), "zarr"), "hdf5")
    assert row["verdict"] == "slower" and row["median_seconds"] == pytest.approx(4.1, rel=0.01)
    assert row["median_read_seconds"] == pytest.approx(0.1, rel=0.02) and row["median_open_seconds"] == 4.0
    assert row["percent_of_raw"] == pytest.approx(100 * 1.5 / 4.1, rel=0.02)
    before = frame(*groups, lazy).assign(schema_version=CLOSED_SINCE - 1)
    row = of(summarise(SampleTable.of(before), "zarr"), "hdf5")
    assert row["verdict"] == "faster" and row["median_seconds"] == row["median_read_seconds"]


def test_a_warm_read_below_the_raw_ceiling_is_flagged_and_marked_where_it_is_graded():
    found = table(*EQUAL, rounds("npz", 0.05))
    summary = summarise(found, "zarr")
    assert of(summary, "npz")["flag"] == BELOW_RAW and pd.isna(of(summary, "hdf5")["flag"])
    grades = grade(found).table
    grades = grades[grades["criterion"] == "full read"]
    assert (of(grades, "npz")["below_raw"], of(grades, "hdf5")["below_raw"]) == (1, 0)
    cold = [rounds(name, seconds, cache="cold") for name, seconds in (("zarr", 1.0), ("raw", 0.1), ("npz", 0.05))]
    assert summarise(table(*cold), "zarr")["flag"].isna().all()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ({"verdict": "equivalent", "why": None}, "tie"),
        ({"verdict": "faster", "why": None, "decided_after": np.nan}, "faster"),
        ({"verdict": "inconclusive", "why": "noise"}, "inconclusive: noise"),
        ({"verdict": "inconclusive", "why": "one-round"}, "inconclusive: one round disagrees"),
        ({"verdict": "inconclusive", "why": "floor"}, "inconclusive: within the A/A difference"),
        ({"verdict": np.nan, "why": np.nan}, ""),
    ],
)
def test_verdicts_are_said_in_plain_words(cell, said):
    assert formatting.verdict(cell) == said
