"""What differences are due to: one thing each, steps that multiply to the whole, and no claim where best is unknown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from harness.analysis.attribution import attribute
from harness.analysis.efforts import best_unmeasured
from harness.analysis.table import SampleTable
from harness.report.drawing.attribution import against, draw_attribution
from harness.run.subject import Arm
from tests.report.synthetic_samples import cell, frame


def measured(*contenders, noise=0.01, case=("layer_read", "pair_layer"), **changes):
    """Make samples of contenders: format, profile, reader, effort, seconds; with the A/A control of HDF5."""
    rng, groups = np.random.default_rng(5), []
    for name, profile, reader, effort, seconds in (*contenders, ("a/a", "tuned", "h5py", "stock", 1.0)):
        times = seconds * np.exp(noise * rng.normal(size=12))
        slim = "exact" if name.endswith("-slim") else ""
        groups.append(
            cell(*case, name, times.tolist(), profile=profile, reader=reader, effort=effort, slim=slim, threads=1,
                 cpu_seconds=seconds / 2, **changes)
        )  # fmt: skip
    return frame(*groups)


HDF5 = ("hdf5", "tuned", "h5py", "both", 1.0)
ZARR = ("zarr", "tuned", "zarr-python", "stock", 4.0)
ZARRS = ("zarr", "tuned", "zarrs", "best", 2.0)
MATCHED = (("hdf5", "matched", "h5py", "both", 1.5), ("zarr", "matched", "zarrs", "best", 1.2))


def found(*contenders, ledger=(), unmeasured=(), **options):
    columns = ["trace", "n_res", "format", "profile", "role", "chunks", "shards", "codec"]
    groups = {("zarr", "sharded"): "tuned"}
    table = SampleTable.of(measured(*contenders, **options), baseline="hdf5", groups=groups)
    return attribute(table, pd.DataFrame(ledger, columns=columns), "hdf5", unmeasured)


def product(chains):
    steps = chains[chains["part"] == "step"]
    return steps["ratio"].prod(), chains.loc[chains["part"] == "total", "ratio"].item()


def test_contenders_that_differ_in_one_thing_are_paired():
    pairs = found(HDF5, ZARR, ZARRS, *MATCHED).pairs
    told = {(row.due, row.format, row.reader, row.against_format, row.against_profile) for row in pairs.itertuples()}
    assert told == {
        ("reader", "zarr", "zarrs", "zarr", "tuned"),
        ("settings", "hdf5", "h5py", "hdf5", "matched"),
        ("settings", "zarr", "zarrs", "zarr", "matched"),
        ("container", "zarr", "zarrs", "hdf5", "matched"),
    }
    reader = pairs[pairs["due"] == "reader"].iloc[0]
    assert reader["ratio"] == pytest.approx(0.5, rel=0.02) and reader["verdict"] == "faster"
    assert reader["cpu_per_second"] == pytest.approx(0.5, rel=0.1) and not reader["own"]


def test_steps_of_one_thing_multiply_to_the_whole():
    chains = found(HDF5, ZARR, ZARRS, *MATCHED).chains
    tuned = chains[chains["against_profile"].isin(["tuned", "matched"]) & (chains["compared"] == "zarr")]
    steps = tuned[tuned["part"] == "step"]
    assert steps["due"].tolist() == ["reader", "settings", "container", "settings"]
    assert steps["ratio"].tolist() == pytest.approx([2.0, 2 / 1.2, 1.2 / 1.5, 1.5], rel=0.02)
    whole, total = product(tuned)
    assert whole == pytest.approx(total, rel=1e-12) and total == pytest.approx(4, rel=0.02)


def test_what_lies_between_two_that_were_measured_is_not_taken_apart():
    chains = found(HDF5, ZARR, ZARRS).chains
    steps = chains[chains["part"] == "step"]
    assert steps["due"].tolist() == ["reader", "settings container"]
    whole, total = product(chains)
    assert whole == pytest.approx(total, rel=1e-12)


def test_a_best_of_other_settings_is_reached_in_steps():
    sharded = ("zarr", "sharded", "zarrs", "best", 1.6)
    between = ("zarr", "tuned", "zarrs", "", 2.0)
    direct = found(HDF5, ZARR, sharded).chains
    assert direct.loc[direct["part"] == "step", "due"].tolist() == ["reader settings", "settings container"]
    chains = found(HDF5, ZARR, sharded, between).chains
    assert chains.loc[chains["part"] == "step", "due"].tolist() == ["reader", "settings", "settings container"]
    for each in (direct, chains):
        whole, total = product(each)
        assert whole == pytest.approx(total, rel=1e-12)


LEDGER = [("t", "64", name, "tuned", "pair", "16x16", "", "lz4") for name in ("hdf5", "hdf5-slim")]


@pytest.mark.parametrize(("codec", "due"), [("lz4", "slimming"), ("pcodec", None)])
def test_slimming_is_told_where_the_ledger_shows_the_same_layout(codec, due):
    slim = ("hdf5-slim", "tuned", "h5py", "both", 0.8)
    ledger = [LEDGER[0], (*LEDGER[1][:-1], codec)]
    assert found(HDF5, slim, ledger=ledger).pairs["due"].tolist() == ([due] if due else [])


def test_formats_have_a_word_at_their_best_alone():
    chains = found(HDF5, ZARR, ZARRS).chains
    assert chains.set_index("part").loc["best", "verdict"] == "slower"
    assert chains.loc[chains["part"] != "best", "verdict"].isna().all()
    assert "best" not in set(found(HDF5, ZARR, ZARRS, unmeasured=["zarr"]).chains["part"])
    assert "best" not in set(found(HDF5, ZARR).chains["part"])


def test_a_reader_of_our_own_is_shown_and_is_on_no_way():
    own = [("zarr-slim", "tuned", name, effort, t) for name, effort, t in (
        ("own", "", 0.5), ("zarr-python", "stock", 2.0), ("fused", "best", 1.0))]  # fmt: skip
    result = found(HDF5, *own)
    assert result.pairs.loc[result.pairs["own"], "against_reader"].tolist() == ["zarr-python", "fused"]
    assert "own" not in set(result.chains["reader"]) | set(result.chains["against_reader"])


def test_a_run_without_readers_has_nothing_to_take_apart():
    samples = measured(HDF5, ZARR).assign(reader="", effort="")
    result = attribute(SampleTable.of(samples), pd.DataFrame(), "hdf5")
    assert result.pairs.empty and result.chains.empty


def test_best_is_not_measured_where_a_candidate_is_missing_or_none_was_raced():
    table = SampleTable.of(measured(HDF5, ZARR, ZARRS, ("npz", "tuned", "numpy.load", "stock", 9.0)))
    arm = Arm("zarr", "zarr", "tuned", reader="fused", raced=True, missing="needs zarr 3.4")
    assert best_unmeasured(table, [arm, dataclasses.replace(arm, reader="zarrs", missing="")]) == {
        "npz": "no readers were raced",
        "zarr": "fused needs zarr 3.4",
    }


def test_chains_are_drawn_against_a_format(tmp_path):
    chains = found(HDF5, ZARR, ZARRS, *MATCHED).chains
    (total, steps), *_ = against(chains, "zarr")
    assert total["compared"] == "hdf5" and total["ratio"] == pytest.approx(0.25, rel=0.02)
    assert [step["due"] for step in steps] == ["settings", "container", "settings", "reader"]
    assert [path.name for path in draw_attribution(chains, "zarr", tmp_path)] == ["attribution.svg", "attribution.png"]
    assert draw_attribution(chains[:0], "zarr", tmp_path) == []
