"""Formats at their best beside stock: in the answer, in plots, in figures, and what is left out."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.analysis.attribution import attribute
from harness.analysis.efforts import BEST, STOCK, at, at_their_best
from harness.analysis.grades import grade
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.report.drawing.plots import draw
from harness.report.page.sentences import sentences
from tests.report.synthetic_samples import cell, frame

SAID = {
    "good": ["hdf5", "zarr"], "uses": ["a", "b"], "undecided": [],
    "by_format": ["hdf5 for a", "zarr for b"], "where": "t", "others": [], "range": "",
    "without_formats": False, "empty": False, "withdrawn": "", "rounds": 12,
    "least": 10, "stock": True, "unmeasured": [],
}  # fmt: skip


def answered(**changes):
    return " ".join(sentences("answer", SAID | changes))


SHARDED = {("zarr", "sharded"): "tuned"}


def raced():
    named = (("hdf5", "tuned", "h5py", "both", 1.0), ("zarr", "tuned", "zarr-python", "stock", 4.0),
             ("zarr", "sharded", "zarrs", "best", 2.0), ("zarr", "tuned", "fused", "", 3.0))  # fmt: skip
    cells = [
        cell("layer_read", "pair_layer", name, seconds, profile=profile, reader=reader, effort=effort, threads=1)
        for name, profile, reader, effort, seconds in named
    ]
    return SampleTable.of(frame(*cells), groups=SHARDED)


def test_the_first_sentence_says_that_it_is_of_stock_readers():
    assert answered().startswith("By stock readers it depends on the use.")
    assert answered(stock=False).startswith("It depends on the use.")
    assert answered(good=["hdf5", "hdf5"], range="2 to 3").startswith("By stock readers: hdf5, for each of the 2 uses")


def test_a_best_that_is_not_known_is_said():
    assert "Best not measured of npz, so nothing is claimed about it." in answered(unmeasured=["npz"])


def test_a_format_whose_best_is_unknown_is_left_out_of_decisions():
    kept = at(raced(), BEST, without=["zarr"])
    assert {contender.format for contender in kept.contenders()} == {"hdf5"}


def test_the_best_stands_under_the_profile_it_was_raced_against():
    best = at_their_best(summarise(raced(), "hdf5")).set_index("format")
    assert best.loc["zarr", ["profile", "group", "reader"]].tolist() == ["sharded", "tuned", "zarrs"]
    assert best.loc["hdf5", "reader"] == "h5py"
    none = frame(cell("layer_read", "pair_layer", "hdf5", 1.0))
    assert at_their_best(summarise(SampleTable.of(none), "hdf5")).empty


def both_profiles():
    """Make samples of two profiles, each with a race of its own; Zarr's best in the tuned one is sharded."""
    named = (("hdf5", "seed", "h5py", "stock", 3.0), ("hdf5", "seed", "direct", "best", 2.0),
             ("hdf5", "tuned", "h5py", "both", 1.0), ("zarr", "seed", "zarr-python", "both", 8.0),
             ("zarr", "tuned", "zarr-python", "stock", 4.0), ("zarr", "sharded", "zarrs", "best", 0.5))  # fmt: skip
    cells = [
        cell("layer_read", "pair_layer", name, seconds, profile=profile, reader=reader, effort=effort, threads=1)
        for name, profile, reader, effort, seconds in named
    ]
    return SampleTable.of(frame(*cells), baseline="hdf5", groups=SHARDED)


def test_each_profile_has_its_own_stock_and_best_contender():
    told = {}
    for effort in (STOCK, BEST):
        cells = at(both_profiles(), effort).cases[0].cells
        told[effort] = {(cell.contender.format, cell.contender.profile): cell.seconds[0] for cell in cells}
    tuned = {("hdf5", "tuned"): 1.0, ("zarr", "tuned"): 4.0}
    assert told[STOCK] == {("hdf5", "seed"): 3.0, ("zarr", "seed"): 8.0} | tuned
    assert told[BEST] == {
        ("hdf5", "seed"): 2.0, ("zarr", "seed"): 8.0, ("hdf5", "tuned"): 1.0, ("zarr", "tuned"): 0.5,
    }  # fmt: skip


def test_grades_and_what_is_due_to_what_are_of_tuned_formats():
    table = both_profiles()
    grades = grade(at(table, STOCK), at(table, BEST)).table.set_index(["effort", "format"])["figure"]
    assert grades.to_dict() == {
        ("stock", "hdf5"): 1.0, ("stock", "zarr"): 4.0, ("best", "hdf5"): 2.0, ("best", "zarr"): 1.0,
    }  # fmt: skip
    chains = attribute(table, pd.DataFrame(), "hdf5").chains
    total, best = (chains[chains["part"] == part].iloc[0] for part in ("total", "best"))
    assert (total["profile"], total["against_profile"], total["ratio"]) == ("tuned", "tuned", 4.0)
    assert {best["profile"], best["against_profile"]} == {"tuned", "sharded"}
    assert (chains["part"] != "step").sum() == 2


def test_a_best_is_held_against_the_best_of_its_group():
    rows = summarise(both_profiles(), "hdf5").set_index(["format", "profile", "effort"])
    assert rows.loc[("zarr", "sharded", "best"), "ratio"] == 0.5
    assert rows.loc[("zarr", "seed", "both"), "ratio"] == pytest.approx(8 / 3)


def test_plots_have_a_hollow_mark_for_the_best(tmp_path):
    table = raced()
    draw(summarise(table, "hdf5"), tmp_path / "both")
    stock = SampleTable.of(table.rows[table.rows["effort"].isin(["stock", "both"])])
    draw(summarise(stock, "hdf5"), tmp_path / "stock")
    both, alone = ((tmp_path / name / "layer_read.svg").read_text() for name in ("both", "stock"))
    assert both != alone and "hollow" in both and "hollow" not in alone
