"""The rows of a breakdown are held against the plan, and a bundle carries them."""

from __future__ import annotations

import dataclasses
import shutil

import pandas as pd
import pytest

from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.evidence.bundle import write_bundle
from harness.evidence.claims import claimed
from harness.extensions.breakdown.measurement import measurement
from harness.report.section import brought
from harness.run.planning import choose_arms, open_subjects
from tests.conftest import TINY

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(small, tmp_path):
    shutil.copytree(small, tmp_path / "small")
    return tmp_path / "small"


def test_a_row_that_was_deleted_is_named_and_a_file_of_rows_that_was_deleted_is_missed(copy):
    assert find(copy, find_options(copy)).incomplete[1:] == ()
    path = copy / "breakdown.csv"
    pd.read_csv(path, dtype=str, keep_default_na=False).iloc[1:].to_csv(path, index=False)
    assert any(line.startswith("breakdown.csv: 1 of") for line in find(copy, find_options(copy)).incomplete)
    path.unlink()
    (line,) = (text for text in find(copy, find_options(copy)).incomplete if text.startswith("breakdown.csv"))
    assert "rows that the plan asks for are missing" in line


def test_reads_from_a_store_are_not_explained():
    (subject,), arms = open_subjects(TINY), choose_arms(TINY)
    assert list(measurement.turns(TINY, arms, subject))
    assert not list(measurement.turns(dataclasses.replace(TINY, store=object()), arms, subject))


def test_a_bundle_carries_the_rows_and_their_times_are_only_claimed(copy, tmp_path):
    bundle = write_bundle(copy, tmp_path / "a.zip")
    assert {"breakdown.csv", "plots/where_time_goes.svg"} <= set(bundle.files)
    assert any("the times in breakdown.csv" in line for line in claimed(bundle, []))


def test_a_run_without_the_file_says_that_it_was_not_measured(copy):
    (copy / "breakdown.csv").unlink()
    findings = find(copy, find_options(copy))
    (section, found), *_ = (each for each in brought(copy, findings) if each[0].name == "time")
    assert section.document(found) == {"where_time_goes": None}
    assert [block.text for block in section.blocks(found, findings)] == ["It was not measured in this run."]
