"""The noise of a run is described from its records; what was not recorded stays unknown."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from harness.analysis.machine_load import busy
from harness.analysis.noise import MAD_TO_DEVIATION, DroppedSamples, describe_noise, mixed_machines
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.records import Sample
from harness.row_files import SampleFile, read_samples
from tests.report.simulated import RECORDED

ARMS = ["zarr", "hdf5", "raw", "a/a"]


def row(name, number, position, seconds, **changes):
    base = Sample(
        run_id="r", suite="layer_read", access="head", trace="t", n_res=64, format=name,
        profile="" if name == "raw" else "tuned", cache="warm", executor="main", workers=1, round=number,
        position=position, seconds=seconds, bytes_requested=1000, load_average=0.5, verified=True,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def block(rounds, time, **changes):
    """One cell's rounds; the order of arms turns by one each round."""
    return [
        row(name, number, (index + number) % len(ARMS), time(name, number, (index + number) % len(ARMS)), **changes)
        for number in range(rounds)
        for index, name in enumerate(ARMS)
    ]


@pytest.fixture
def described(tmp_path):
    def describe(rows, environment=None, baseline="zarr"):
        file = SampleFile(tmp_path / "samples.csv")
        for sample in rows:
            file.add(sample)
        file.close()
        table = SampleTable.of(read_samples(tmp_path / "samples.csv"))
        return describe_noise(table, baseline, environment or {}, control_of="zarr")

    return describe


def test_spread_is_the_scaled_median_deviation_of_each_format(described):
    times = {"zarr": [1.0, 1.1] * 6, "hdf5": [2.0] * 12, "raw": [0.5] * 12, "a/a": [1.0] * 12}
    noise = described(block(12, lambda name, number, position: times[name][number]))
    assert noise.spread["zarr"] == pytest.approx(MAD_TO_DEVIATION * 0.05 / 1.05)
    assert noise.spread["hdf5"] == 0
    assert set(noise.spread) == set(ARMS)


@pytest.mark.parametrize("baseline", ["zarr", "hdf5", "raw"])
def test_the_control_is_judged_without_the_floor_that_would_hide_it(described, baseline):
    factors = {"a/a": 1.07, "hdf5": 3.0}
    noise = described(block(12, lambda name, number, position: factors.get(name, 1.0)), baseline=baseline)
    assert (noise.aa_cells, noise.aa_judged, noise.aa_different) == (1, 1, 1)
    assert noise.aa_median == pytest.approx(0.07) == noise.aa_largest


def test_a_control_that_is_faster_counts_by_the_size_of_its_difference(described):
    rows = block(12, lambda name, number, position: 1 / 1.02 if name == "a/a" else 1.0)
    rows += block(12, lambda name, number, position: 1.06 if name == "a/a" else 1.0, access="layer")
    noise = described(rows)
    assert (noise.aa_cells, noise.aa_median) == (2, pytest.approx((1.02 * 1.06) ** 0.5 - 1))
    assert noise.aa_largest == pytest.approx(0.06)


def test_drift_is_the_change_from_first_to_last_round_whatever_one_round_did(described):
    def slowing(name, number, position):
        return (3.0 if number == 4 else 1.0) * 1.2 ** (number / 10)

    rows = block(11, slowing) + block(11, lambda name, number, position: 0.9 ** (number / 10), access="layer")
    noise = described(rows)
    assert noise.drift_largest == pytest.approx(0.2)
    assert noise.drift_median == pytest.approx((1.2 * 0.9) ** 0.5 - 1)


def test_rounds_that_read_different_layers_show_no_drift(described):
    rows = block(11, lambda name, number, position: 1.2**number)
    changing = [r for r in rows if r.format == "zarr"]
    rows = [r for r in rows if r.format != "zarr"]
    rows += [row("zarr", r.round, r.position, r.seconds, bytes_requested=1000 + r.round) for r in changing]
    assert described(rows).drift_median is None


def test_coming_first_in_a_round_is_told_from_the_formats(described):
    noise = described(
        block(12, lambda name, number, position: (3.0 if name == "hdf5" else 1.0) * (1.1 if position == 0 else 1.0))
    )
    assert noise.position_effect == pytest.approx(0.1)


def test_load_machine_and_cores_come_from_the_record(described):
    sessions = [
        {"load_average": 0.1, "load_average_at_end": 0.9, "virtual_machine": True, "cores": 2},
        {"load_average": 0.2, "load_average_at_end": 0.3, "virtual_machine": True, "cores": 4},
    ]
    rows = block(10, lambda name, number, position: 1.0)
    noise = described([*rows, row("zarr", 10, 0, 1.0, load_average=1.5)], {"sessions": sessions})
    assert (noise.load_before, noise.load_during, noise.load_after) == (0.1, 1.5, 0.3)
    assert noise.virtual_machine is True and noise.cores is None


def test_what_does_not_count_is_grouped_by_reason(described):
    rows = block(12, lambda name, number, position: 1.0)
    rows += [row("npz", k, 4, None, status="rejected", reason="stayed resident") for k in range(3)]
    rows += [row("raw", 0, 4, None, access="x", status="rejected", reason="stayed resident")]
    rows += [row("npz", 0, 4, None, access="x", status="failed", reason="returned zeros")]
    assert described(rows).dropped == (
        DroppedSamples(status="rejected", reason="stayed resident", formats=("npz", "raw"), samples=4),
        DroppedSamples(status="failed", reason="returned zeros", formats=("npz",), samples=1),
    )


def test_too_few_rounds_and_the_verdicts_they_cost_are_counted(described):
    noise = described(
        block(12, lambda name, number, position: 1.0) + block(4, lambda name, number, position: 1.0, suite="write")
    )
    assert (noise.rounds_least, noise.rounds_most) == (4, 12)
    assert (noise.undecided, noise.undecided_suites) == (
        1,
        ("write",),
    )  # hdf5; the ceiling and the control claim nothing
    assert (noise.aa_cells, noise.aa_judged) == (2, 1)
    enough = described(block(VERDICT_ROUNDS, lambda name, number, position: 1.0, access="more"))
    assert enough.undecided == 1  # the same file, one more cell that decides


def test_one_round_without_control_machine_or_load_leaves_them_unknown(described):
    noise = described([row("zarr", 0, 0, 1.0, load_average=None), row("hdf5", 0, 1, 1.0, load_average=None)])
    assert noise.spread == {} and noise.aa_cells == noise.aa_judged == 0
    unknown = (
        "aa_median", "aa_largest", "aa_different", "drift_median", "drift_largest", "position_effect", "load_before",
        "load_during", "load_after", "virtual_machine", "cores",
    )  # fmt: skip
    assert [getattr(noise, name) for name in unknown] == [None] * len(unknown)


def test_the_reference_run_has_quiet_controls():
    table = SampleTable.of(read_samples(RECORDED))
    environment = json.loads((RECORDED.parent / "environment.json").read_text())
    baseline = json.loads((RECORDED.parent / "run.json").read_text())["baseline"]
    noise = describe_noise(table, baseline, environment)
    assert noise.aa_judged > 20 and noise.aa_different <= 0.01 * noise.aa_judged
    assert 0 < noise.aa_median < noise.aa_largest and np.isfinite(list(noise.spread.values())).all()


def test_samples_just_taken_and_the_same_read_back_have_one_summary_and_one_noise(tmp_path):
    rng = np.random.default_rng(4)
    rows = block(12, lambda name, number, position: float(np.exp(0.1 * rng.normal())))
    rows += [row("npz", 0, 4, None, status="failed", reason="returned zeros, twice")]
    file = SampleFile(tmp_path / "samples.csv")
    for sample in rows:
        file.add(sample)
    file.close()
    taken, read = SampleTable.of(pd.DataFrame(rows)), SampleTable.of(read_samples(tmp_path / "samples.csv"))
    assert describe_noise(read, "zarr", {}) == describe_noise(taken, "zarr", {})
    pd.testing.assert_frame_equal(summarise(read, "zarr"), summarise(taken, "zarr"))


def session(**changes):
    libraries = {"numpy": "2.4.6", "zarrs": None}
    return {"cpu": "A", "cores": 2, "python": "3.11.7", "load_average": 1.0, "libraries": libraries} | changes


def test_sessions_on_one_machine_are_not_mixed():
    assert mixed_machines({}) == ""
    assert mixed_machines({"sessions": [session()]}) == ""
    later = session(load_average=2.0)
    del later["cpu"]  # not recorded is not different
    assert mixed_machines({"sessions": [session(), later]}) == ""


def test_sessions_on_two_machines_say_what_differs():
    other = session(cores=8, libraries={"numpy": "2.5.0", "zarrs": "0.2"})
    assert mixed_machines({"sessions": [session(), other, session()]}) == (
        "The 3 sessions of this run were not measured alike; these differ: cores (2, then 8), "
        "numpy (2.4.6, then 2.5.0), zarrs (not installed, then 0.2)."
    )
    with_lock, without = session(interpreter_lock=True), session(interpreter_lock=False)
    assert "interpreter_lock (True, then False)" in mixed_machines({"sessions": [with_lock, without]})


QUIET = {
    "aa_median": 0.05, "aa_largest": 0.3, "spread": 0.15, "load_before": 1.0, "load_during": 5.0, "cores": 2,
    "workers": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"aa_median": 0.14}, "identical contenders (A/A) differ by 14 % at the median over cells"),
        ({"aa_largest": 0.98}, "identical contenders (A/A) differ by 98 % in one cell"),
        ({"spread": 0.4}, "times spread by 40 % from round to round"),
        ({"load_before": 12.0}, "the load average was 12.0 before the run, on 2 cores"),
        ({"load_during": 12.0}, "the load average reached 12.0 during the run, on 2 cores"),
    ],
)
def test_a_busy_machine_is_named_by_what_shows_it(worse, said):
    assert busy(**QUIET) == () == busy(**dict.fromkeys(QUIET, None) | {"workers": 1})
    assert busy(**QUIET | worse) == (said,)


def test_a_run_on_a_busy_machine_says_so(described):
    loud = described(
        block(12, lambda name, number, position: 1.98 if name == "a/a" else 1.0),
        {"sessions": [{"load_average": 12.0, "cores": 2}]},
    )
    assert len(loud.busy) == 3 and "98 %" in loud.busy[0]
