"""Cells come from samples: what failed has no time, what does not apply is empty, ratios refer to the baseline."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from harness.analysis.summary import COLUMNS as CELL_COLUMNS
from harness.analysis.summary import SUMMARY_SCHEMA_VERSION, summarise
from harness.analysis.table import SampleTable
from harness.errors import HarnessError, UsageError
from harness.records import SCHEMA_VERSION, Sample, columns
from harness.row_files import SampleFile, done, read_samples


def sample(name, number, **changes):
    base = Sample(
        run_id="r", suite="layer_read", access="head", trace="t", n_res=64, format=name, profile="tuned", cache="warm",
        executor="main", workers=1, round=number, position=0, seconds=1.0, bytes_requested=1000, verified=True,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def written(tmp_path, samples):
    file = SampleFile(tmp_path / "samples.csv")
    for row in samples:
        file.add(row)
    file.close()
    return SampleTable.of(read_samples(tmp_path / "samples.csv"))


def cell(summary, name, **more):
    rows = summary[summary["format"] == name]
    for column, value in more.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def ten(name, seconds, **changes):
    return [sample(name, k, seconds=seconds * (1 + 0.001 * k), **changes) for k in range(10)]


def test_times_ratios_and_words(tmp_path):
    rows = ten("zarr", 2.0) + ten("hdf5", 1.0) + ten("npz", 6.0) + ten("raw", 0.5, profile="") + ten("a/a", 2.0)
    summary = summarise(written(tmp_path, rows), "zarr")
    hdf5 = cell(summary, "hdf5")
    assert hdf5["verdict"] == "faster" and hdf5["ratio"] == pytest.approx(0.5) and hdf5["baseline"] == "zarr (tuned)"
    assert hdf5["median_seconds"] == pytest.approx(1.0045) and hdf5["ci_low"] <= 1.0045 <= hdf5["ci_high"]
    assert hdf5["bytes_per_second"] == pytest.approx(1000 / 1.0045)
    assert hdf5["percent_of_raw"] == pytest.approx(50)
    assert cell(summary, "npz")["verdict"] == "slower"
    assert pd.isna(cell(summary, "zarr")["ratio"]) and pd.isna(cell(summary, "zarr")["verdict"])
    assert cell(summary, "raw")["percent_of_raw"] == pytest.approx(100)
    assert pd.isna(cell(summary, "hdf5")["size_bytes"])


def test_a_failed_sample_makes_its_cell_failed_and_leaves_it_no_time(tmp_path):
    bad = sample("hdf5", 4, seconds=None, status="failed", reason="returned zeros", verified=False)
    summary = summarise(written(tmp_path, [*ten("zarr", 1.0), *ten("hdf5", 1.0)[:4], bad]), "zarr")
    row = cell(summary, "hdf5")
    assert row["status"] == "failed" and row["reason"] == "returned zeros"
    assert row[["median_seconds", "ratio", "percent_of_raw", "verdict"]].isna().all()


def test_rejected_samples_do_not_count(tmp_path):
    rejected = [sample("hdf5", k, seconds=None, status="rejected", reason="stayed resident") for k in range(3)]
    summary = summarise(written(tmp_path, [*ten("zarr", 1.0), *rejected, *ten("hdf5", 1.0)[3:]]), "zarr")
    assert cell(summary, "hdf5")["samples"] == 7 and cell(summary, "hdf5")["status"] == "ok"
    only = summarise(written(tmp_path, [dataclasses.replace(r, access="other") for r in rejected]), "zarr")
    row = cell(only, "hdf5", access="other")
    assert row["status"] == "rejected" and pd.isna(row["median_seconds"])


def test_too_few_rounds_say_so(tmp_path):
    row = cell(summarise(written(tmp_path, ten("zarr", 1.0)[:3] + ten("hdf5", 1.0)[:3]), "zarr"), "hdf5")
    assert row["verdict"] == "inconclusive" and row["reason"] == "3 rounds: a verdict needs 10"


def test_a_baseline_that_was_not_measured_is_refused_with_what_was(tmp_path):
    samples = written(tmp_path, ten("hdf5", 1.0) + ten("npz", 1.0) + ten("a/a", 1.0))
    with pytest.raises(UsageError, match=r"no measured format named 'zarr'; choose one of hdf5, npz\.$"):
        summarise(samples, "zarr")
    with pytest.raises(UsageError, match=r"did you mean 'hdf5'\? Measured were: hdf5, npz\.$"):
        summarise(samples, "hdf")
    with pytest.raises(UsageError, match="'a/a'"):
        summarise(samples, "a/a")
    assert summarise(samples, None)["ratio"].isna().all()


def test_no_samples_are_no_cells(tmp_path):
    assert list(summarise(written(tmp_path, []), "zarr").columns) == CELL_COLUMNS


@pytest.mark.parametrize("baseline", ["zarr", "hdf5", "npz", "raw"])
def test_any_measured_format_can_be_the_baseline_and_the_control_stays_with_its_original(tmp_path, baseline):
    seconds = {"zarr": 2.0, "hdf5": 1.0, "npz": 6.0, "raw": 0.5, "a/a": 2.0 * 1.04}
    rows = [row for name, time in seconds.items() for row in ten(name, time, profile="" if name == "raw" else "tuned")]
    summary = summarise(written(tmp_path, rows), baseline, control_of="zarr")
    control = cell(summary, "a/a")
    assert (
        control["baseline"] == "zarr (tuned)"
        and control["ratio"] == pytest.approx(1.04)
        and pd.isna(control["verdict"])
    )
    assert pd.isna(cell(summary, baseline)["ratio"])
    for name in {"zarr", "hdf5", "npz"} - {baseline}:
        row = cell(summary, name)
        assert row["ratio"] == pytest.approx(seconds[name] / seconds[baseline])
        assert row["verdict"] == ("faster" if seconds[name] < seconds[baseline] else "slower")
        assert row["baseline"].startswith(baseline) and row["smallest_detectable_effect"] > 0.04


@pytest.mark.parametrize("baseline", ["zarr", "npz"])
def test_the_floor_comes_from_the_control_and_its_original_whatever_the_baseline(tmp_path, baseline):
    noisy = [1.0 if k % 2 else 1.0001 for k in range(10)]
    arms = {"zarr": 1.0, "npz": 1.0, "hdf5": 1.08, "a/a": 1.12}
    rows = [sample(name, k, seconds=time * noisy[k]) for name, time in arms.items() for k in range(10)]
    assert cell(summarise(written(tmp_path, rows), baseline, "zarr"), "hdf5")["verdict"] == "inconclusive"


def test_without_a_control_or_with_few_rounds_no_smallest_effect_is_claimed(tmp_path):
    rows = ten("zarr", 1.0) + ten("hdf5", 1.0)
    rows += [dataclasses.replace(r, access="few") for r in [*rows, *ten("a/a", 1.0)] if r.round < 4]
    rows += [dataclasses.replace(r, access="control") for r in [*ten("zarr", 1.0), *ten("a/a", 1.0), *ten("hdf5", 1.1)]]
    known = summarise(written(tmp_path, rows), "zarr").groupby("access")["smallest_detectable_effect"].count()
    assert known.to_dict() == {"head": 0, "few": 0, "control": 3}


def test_read_amplification_is_bytes_read_for_each_byte_asked_for(tmp_path):
    rows = [sample("zarr", k, bytes_read=1500 + k) for k in range(3)] + [sample("hdf5", k) for k in range(3)]
    rows += [sample("npz", k, bytes_read=10, bytes_requested=None) for k in range(3)]
    summary = summarise(written(tmp_path, rows), "zarr")
    zarr = cell(summary, "zarr")
    assert (zarr["bytes_requested"], zarr["median_bytes_read"], zarr["read_amplification"]) == (1000, 1501, 1.501)
    assert cell(summary, "hdf5")["bytes_requested"] == 1000 and pd.isna(cell(summary, "hdf5")["read_amplification"])
    assert pd.isna(cell(summary, "npz")["read_amplification"]) and pd.isna(cell(summary, "npz")["bytes_requested"])
    assert set(summary["schema_version"]) == {SUMMARY_SCHEMA_VERSION} == {5}


def test_sizes_are_exact_and_against_float32_and_native_bytes(tmp_path):
    def size(name, size_bytes):
        return sample(
            name, 0, suite="size", access="archive", cache="", seconds=None, bytes_requested=4000, native_bytes=2000,
            size_bytes=size_bytes, files=3,
        )  # fmt: skip

    row = cell(summarise(written(tmp_path, [size("zarr", 2000), size("hdf5", 1000)]), "zarr"), "hdf5")
    assert (row["ratio_to_float32"], row["ratio_to_native"], row["ratio"], row["files"]) == (4, 2, 0.5, 3)
    assert pd.isna(row["median_seconds"]) and pd.isna(row["ratio_low"])


def test_each_profile_is_compared_within_itself(tmp_path):
    rows = [
        *ten("zarr", 4.0, profile="seed"), *ten("zarr", 2.0), *ten("hdf5", 1.0, profile="seed"), *ten("hdf5", 1.0)
    ]  # fmt: skip
    summary = summarise(written(tmp_path, rows), "zarr")
    assert cell(summary, "hdf5", profile="seed")["ratio"] == pytest.approx(0.25)
    assert cell(summary, "hdf5", profile="tuned")["ratio"] == pytest.approx(0.5)


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    path = tmp_path / "samples.csv"
    written(tmp_path, ten("zarr", 1.0)[:2])
    with path.open("ab") as file:
        file.write(b"r,layer_read,head,t,64,za")
    SampleFile(path).close()
    assert list(read_samples(path)["round"]) == [0, 1]
    assert set(next(iter(done(path).values()))) == {0, 1}


def test_records_of_another_schema_are_refused_by_name(tmp_path):
    path = tmp_path / "samples.csv"
    written(tmp_path, [sample("zarr", 0)])
    path.write_text(path.read_text().replace(f",{SCHEMA_VERSION}\n", ",99\n"))
    with pytest.raises(
        HarnessError, match=f"schema version 99; this reader knows version {SCHEMA_VERSION} and those before it"
    ):
        read_samples(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(HarnessError, match="schema version none"):
        read_samples(path)
    with pytest.raises(HarnessError, match="There is no"):
        read_samples(tmp_path / "none.csv")


def test_every_documented_column_is_there():
    documented = (
        "run_id, suite, access, trace, n_res, format, profile, slim, reader, threads, cache, executor, workers, round, "
        "position, seconds, open_seconds, bytes_requested, bytes_returned, bytes_read, files_opened, requests, "
        "resident_fraction, peak_rss_bytes, load_average, verified, status, reason"
    )
    assert columns(Sample)[:28] == documented.split(", ")
