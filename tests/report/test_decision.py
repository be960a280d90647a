"""Decisions: costs and flips that were worked out by hand, noise that cancels, and no answer where there is none.

The example of `worked`, for half full reads and half heads, 10 accesses a write, 2 s a gigabyte, one warm reader: the
trace is two layers' bytes, so HDF5 takes 2 s to write it and Zarr 4 s, and an access costs

    hdf5: (1 + 3) / 2 + (2 + 2 * 1.0) / 10 = 2.4 s        zarr: (2 + 1) / 2 + (4 + 2 * 0.5) / 10 = 2.0 s
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from harness.analysis.choice.costs import cost_parts
from harness.analysis.choice.decision import headline
from harness.analysis.choice.mix import Mix
from harness.analysis.choice.sensitivity import lower_envelope, stays
from harness.analysis.table import SampleTable
from harness.workload import PlanOptions
from tests.report.synthetic_samples import cell, decided, frame, size, worked

HALF = Mix(name="half", shares={"full_read": 0.5, "head": 0.5}, reads_per_write=10, storage_price=2)


def flip(decision, weight):
    (found,) = (f for f in decision.flips if f.weight == weight)
    return found


def costs(decision):
    return dict(zip(decision.costs["format"], decision.costs["cost_seconds"], strict=True))


def simple(*groups, **seconds):
    """Add to one kind of read the write and the sizes that every decision needs."""
    rest = [part for n in seconds for part in (cell("write", "layer_durable", n, 1e-9), size(n, 1000))]
    return frame(*(cell("layer_read", "head", n, s) for n, s in seconds.items()), *rest, *groups)


HEADS = Mix(name="heads", shares={"head": 1}, reads_per_write=1e6)


def test_the_cost_is_the_one_worked_out_by_hand():
    decision = decided(worked(), HALF)
    assert decision.preferred == "zarr" and decision.indistinguishable == () and decision.reason == ""
    assert costs(decision) == pytest.approx({"zarr": 2.0, "hdf5": 2.4})
    hdf5 = decision.costs.set_index("format").loc["hdf5"]
    assert (hdf5["ratio"], hdf5["ratio_low"], hdf5["ratio_high"]) == pytest.approx((1.2, 1.2, 1.2))
    parts = hdf5[["reading_seconds", "writing_seconds", "keeping_seconds"]].tolist()
    assert parts == pytest.approx([2.0, 0.2, 0.2])


def test_cold_accesses_are_blended_in():
    # 0.1 of HDF5's reads take (2 + 3) / 2 instead of 2, of Zarr's 5 instead of 1.5
    mix = Mix(**(HALF.to_dict() | {"cold": 0.1}))
    assert costs(decided(worked(), mix)) == pytest.approx({"hdf5": 2.45, "zarr": 2.35})


def test_opening_counts_for_the_accesses_that_open_and_has_a_flip_of_its_own():
    # 2.4 + 0.2 o = 2.0 + 1.0 o at o = 0.5
    table = worked()
    table["open_seconds"] = table["format"].map({"hdf5": 0.2, "zarr": 1.0})
    mix = Mix(**(HALF.to_dict() | {"opens": 0.25}))
    decision = decided(table, mix)
    assert costs(decision) == pytest.approx({"hdf5": 2.45, "zarr": 2.25})
    found = flip(decision, "opens")
    assert [name for *_, name in found.segments] == ["zarr", "hdf5"]
    assert found.stays_high == pytest.approx(0.5) and found.value == 0.25


@pytest.mark.parametrize(
    ("weight", "segments"),
    [
        ("full_read", [(0, 1.9 / 3, "zarr"), (1.9 / 3, 1, "hdf5")]),  # 3.4 - 2 x = 1.5 + x
        ("head", [(0, 1.1 / 3, "hdf5"), (1.1 / 3, 1, "zarr")]),
        ("cold", [(0, 0.4 / 3, "zarr"), (0.4 / 3, 1, "hdf5")]),  # 2.4 + 0.5 c = 2 + 3.5 c
        ("reads_per_write", [(1, 2, "hdf5"), (2, 1e6, "zarr")]),  # 2 + 4 / n = 1.5 + 5 / n
        ("storage_price", [(0, math.inf, "zarr")]),  # 2.2 + 0.1 p > 1.9 + 0.05 p
        ("readers", [(1, 2, "zarr"), (2, 2, "hdf5")]),  # two slow Zarr down twofold: 3 + 0.5 > 2.4
    ],
)
def test_the_choice_flips_where_it_was_worked_out_by_hand(weight, segments):
    found = flip(decided(worked(), HALF), weight)
    assert [name for *_, name in found.segments] == [name for *_, name in segments]
    ends = [x for low, high, _ in found.segments for x in (low, high)]
    assert ends == pytest.approx([x for low, high, _ in segments for x in (low, high)])
    (own,) = (part for part in segments if part[2] == "zarr")
    assert (found.stays_low, found.stays_high) == pytest.approx((own[0], 2 if weight == "readers" else own[1]))
    for interval, end, edge in (
        (found.low_interval, own[0], segments[0][0]),
        (found.high_interval, found.stays_high, segments[-1][1]),
    ):
        if weight != "readers":  # without noise every resample flips in the same place, or never
            assert interval is None if end == edge else interval == pytest.approx((end, end))


def test_a_high_price_flips_to_the_smaller_format():
    # hdf5 1 s, zarr 2 s; 1 GB against 0.5 GB, 10 accesses a write: 1 + p / 10 = 2 + p / 20 at p = 20
    table = simple(hdf5=1.0, zarr=2.0)
    table.loc[table["size_bytes"].notna(), "size_bytes"] = [1e9, 0.5e9]
    found = flip(decided(table, Mix(shares={"head": 1}, reads_per_write=10)), "storage_price")
    assert found.segments[0][:2] == pytest.approx((0, 20), rel=1e-6)
    assert [name for *_, name in found.segments] == ["hdf5", "zarr"] and math.isinf(found.segments[-1][1])
    assert found.log and found.high_interval == pytest.approx((20, 20), rel=1e-6)


def test_readers_between_two_measured_numbers_count_as_the_lower_one_and_it_is_said():
    decision = decided(worked(), Mix(**(HALF.to_dict() | {"readers": 7})))
    assert decision.preferred == "hdf5" and costs(decision) == pytest.approx({"hdf5": 2.4, "zarr": 3.5})
    assert any("7 readers: the slowdown of 2 processes" in text for text in decision.assumptions)


def test_several_readers_wait_for_their_reads_and_not_for_each_others_start():
    """Two processes read half of the windows each; the second starts late, so that both need as long as one did."""
    table = worked()
    two = (table["suite"] == "parallel_access") & (table["workers"] == 2)
    one = (table["suite"] == "parallel_access") & (table["workers"] == 1)
    table.loc[two, ["seconds", "worker_seconds"]] = 1.0, "0.75 0.5"
    table.loc[one, "worker_seconds"] = "1.0"
    parts = cost_parts(SampleTable.of(table), "t", PlanOptions(), "zarr")
    assert parts.readers[2][0] == pytest.approx([1.25, 1.25])


def test_many_readers_need_measured_ones():
    table = worked()
    table = table[table["suite"] != "parallel_access"]
    decision = decided(table, Mix(**(HALF.to_dict() | {"readers": 2})))
    assert decision.preferred is None and "parallel_access" in decision.missing[0]
    assert decided(table, HALF).preferred == "zarr"


def test_noise_that_hits_all_formats_of_a_round_cancels_in_the_ratio():
    noise = np.random.default_rng(1).lognormal(sigma=0.5, size=12)
    decision = decided(simple(hdf5=list(noise), zarr=list(1.1 * noise)), HEADS)
    zarr = decision.costs.set_index("format").loc["zarr"]
    assert decision.preferred == "hdf5" and zarr["distinguishable"]
    assert (zarr["ratio_low"], zarr["ratio_high"]) == pytest.approx((1.1, 1.1), rel=1e-6)
    assert zarr["high"] / zarr["low"] > 1.2


def test_noise_of_each_format_alone_does_not_cancel():
    rng = np.random.default_rng(1)
    hdf5, zarr = rng.lognormal(sigma=0.5, size=(2, 12)) * [[1.0], [1.05]]
    decision = decided(simple(hdf5=list(hdf5), zarr=list(zarr)), HEADS)
    assert decision.indistinguishable and decision.costs["ratio_low"].min() < 1


@pytest.mark.parametrize(("seconds", "told"), [(1.05, False), (1.2, True)])
def test_a_difference_within_that_of_equal_arms_is_none(seconds, told):
    control = [cell("layer_read", "head", "a/a", 1.1), cell("write", "layer_durable", "a/a", 1e-9)]
    decision = decided(simple(*control, zarr=1.0, hdf5=seconds), HEADS)
    assert decision.floor == pytest.approx(0.1, rel=1e-6) and decision.preferred == "zarr"
    assert decision.indistinguishable == (() if told else ("hdf5",))
    assert "a/a" not in set(decision.costs["format"])


def test_windows_are_counted_one_at_a_time():
    table = frame(
        cell("random_access", "window_attention", "hdf5", 4.0), cell("random_access", "window_attention", "zarr", 8.0),
        *(cell("write", "layer_durable", n, 1e-9) for n in ("hdf5", "zarr")), size("hdf5", 10), size("zarr", 10),
    )  # fmt: skip
    mix = Mix(shares={"window_attention": 1}, reads_per_write=1e6)
    decision = decided(table, mix, options=PlanOptions(attention_windows=4))
    assert costs(decision) == pytest.approx({"hdf5": 1.0, "zarr": 2.0})


def test_a_failed_cell_puts_its_format_out_with_the_reason():
    bad = cell("layer_read", "head", "npz", [0.1] * 9) + cell(
        "layer_read", "head", "npz", [math.nan], status="failed", reason="returned zeros"
    )
    table = simple(bad, cell("write", "layer_durable", "npz", 1e-9), size("npz", 1), hdf5=1.0, zarr=2.0)
    decision = decided(table, HEADS)
    assert decision.preferred == "hdf5" and decision.out == {"npz": "head warm: failed: returned zeros"}
    assert set(decision.costs["format"]) == {"hdf5", "zarr"}


def test_nine_rounds_give_no_decision():
    decision = decided(worked(rounds=9), HALF)
    assert decision.preferred is None and decision.flips == () and decision.costs.empty
    assert "9 rounds: a verdict needs 10" in decision.reason


def test_what_was_not_measured_cold_gives_no_decision():
    table = worked()
    table = table[~((table["cache"] == "cold") & (table["access"] == "head"))]
    mix = Mix(**(HALF.to_dict() | {"cold": 0.5}))
    decision = decided(table, mix)
    assert decision.preferred is None and decision.missing == ("not measured cold: head",)
    assert {f.weight for f in decided(table, HALF).flips}.isdisjoint({"cold"})


def test_an_access_that_the_trace_has_no_tensor_for_is_scaled_away_and_said():
    absent = [
        row
        for name in ("hdf5", "zarr", "raw")
        for row in cell("layer_read", "attention_layer", name, math.nan, rounds=1, cache="", status="skipped",
                        reason="the trace has no attention tensor")
    ]  # fmt: skip
    table = pd.concat([worked(), frame(absent)], ignore_index=True)
    shares = {"full_read": 0.25, "head": 0.25, "attention_layer": 0.5}
    decision = decided(table, Mix(**(HALF.to_dict() | {"shares": shares})))
    assert costs(decision) == pytest.approx({"zarr": 2.0, "hdf5": 2.4})
    assert any("no tensor for attention_layer (50% of accesses)" in text for text in decision.assumptions)
    alone = decided(table, Mix(shares={"attention_layer": 1}))
    assert alone.preferred is None and "none of the tensors" in alone.missing[0]


def test_each_trace_is_decided_at_its_largest_length_and_the_headline_says_where_they_differ():
    longer = worked(n_res=128)
    longer.loc[longer["format"] == "hdf5", "seconds"] /= 10
    short = worked(trace="s", n_res=None)
    both = pd.concat([worked(), longer, short], ignore_index=True)
    decisions = [decided(both, HALF, trace) for trace in ("t", "s")]
    assert [(d.trace, d.n_res, d.preferred) for d in decisions] == [("t", 128, "hdf5"), ("s", None, "zarr")]
    facts = headline([*decisions, decided(worked(trace="few", rounds=9), HALF)])
    assert facts.preferred == {"hdf5": ("t",), "zarr": ("s",)} and list(facts.undecided) == ["few"]
    assert "hdf5 is the cheapest on 1 of 3 traces" in facts.text and "no decision on few" in facts.text
    close = dataclasses.replace(decisions[0], indistinguishable=("npz",))
    assert "on t npz is statistically indistinguishable from it" in headline([close]).text


def test_the_same_samples_give_the_same_decision():
    noise = np.random.default_rng(2).lognormal(sigma=0.3, size=(2, 10))
    table = simple(hdf5=list(noise[0]), zarr=list(noise[1]))
    first, second = (decided(table, HEADS) for _ in range(2))
    pd.testing.assert_frame_equal(first.costs, second.costs)
    assert first.flips == second.flips


def test_each_line_is_the_lowest_between_its_crossings():
    # x up to 1, then 1 until 4 - x / 2 falls below it at 6
    lines = np.array([1.0, 0.0, 4.0]), np.array([0.0, 1.0, -0.5])
    assert lower_envelope(*lines, 0.0, 10.0, ["flat", "up", "down"]) == [
        (0.0, 1.0, "up"), (1.0, 6.0, "flat"), (6.0, 10.0, "down"),
    ]  # fmt: skip
    low, high = stays(lines[0][None], lines[1][None], 0, 0.0, 10.0)
    assert (low[0], high[0]) == (1.0, 6.0)
    parallel = stays(np.array([[1.0, 0.5]]), np.array([[1.0, 1.0]]), 0, 0.0, 1.0)
    assert parallel[0][0] > parallel[1][0]  # never the lowest
