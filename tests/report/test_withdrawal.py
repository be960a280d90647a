"""Reads of readers that did not get equal effort give no verdict; sizes and medians stay."""

from __future__ import annotations

from harness.analysis.grades import grade
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.withdrawal import withdrawn, without_verdicts
from harness.records import HELD_SINCE, SCHEMA_VERSION
from harness.row_files import read_samples


def earlier(samples):
    return samples.assign(schema_version=HELD_SINCE - 1)


def test_rows_of_today_are_not_withdrawn_and_those_of_before_are(small):
    samples = read_samples(small / "samples.csv")
    assert SCHEMA_VERSION >= HELD_SINCE
    assert not withdrawn(samples) and withdrawn(earlier(samples))
    assert not withdrawn(samples.iloc[:0])


def test_reads_lose_their_verdict_and_keep_their_figures(small):
    summary = summarise(SampleTable.of(read_samples(small / "samples.csv")), "hdf5")
    without = without_verdicts(summary)
    reads = summary["cache"] != ""
    assert summary.loc[reads, "verdict"].notna().any()
    assert without.loc[reads, "verdict"].isna().all()
    same = [name for name in summary if name not in ("verdict", "why", "reason")]
    assert without[same].equals(summary[same])
    assert without.loc[~reads, "verdict"].equals(summary.loc[~reads, "verdict"])


def test_only_sizes_are_graded(small):
    table = grade(SampleTable.of(read_samples(small / "samples.csv")), exact_only=True).table
    assert set(table.loc[table["criterion"] != "storage efficiency", "reason"]) == {"withdrawn"}
    assert (table.loc[table["grade"] != "", "criterion"] == "storage efficiency").all()
