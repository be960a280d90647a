"""A second run of the same plan: what holds, what does not."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from harness.cli import main
from harness.evidence.rerun import compare_runs

pytestmark = pytest.mark.slow


@pytest.fixture
def two(copied, tmp_path):
    """The same run twice."""
    shutil.copytree(copied, tmp_path / "second")
    return copied, tmp_path / "second"


def test_a_run_holds_against_itself(two):
    found = compare_runs(*two)
    assert found.holds and set(found.verdicts["outcome"]) <= {"holds", "untold"}  # inconclusive on a noisy machine
    assert len(found.verdicts) > 5
    assert not (found.sizes or found.digests or found.answers)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        ("faster", "slower", "contradicted"),
        ("slower", "faster", "contradicted"),
        ("faster", "inconclusive", "weaker"),
        ("inconclusive", "slower", "new"),
        ("equivalent", "equivalent", "holds"),
        ("equivalent", "inconclusive", "other"),
    ],
)
def test_outcomes(two, before, after, outcome):
    for folder, word in zip(two, (before, after), strict=True):
        summary = pd.read_csv(folder / "summary.csv")
        first = summary.index[summary["verdict"].notna()][0]
        summary.loc[first, "verdict"] = word
        summary.to_csv(folder / "summary.csv", index=False)
    found = compare_runs(*two)
    assert outcome in set(found.verdicts["outcome"])
    assert found.holds == (outcome != "contradicted")


def test_another_size_and_other_bytes_are_named(two):
    record = json.loads((two[1] / "archives.json").read_text())
    first, second = record["subjects"][0]["archives"][:2]
    first["size_bytes"] += 8
    second["sha256"] = "0" * 64
    (two[1] / "archives.json").write_text(json.dumps(record))
    found = compare_runs(*two)
    assert len(found.sizes) == 1 and first["format"] in found.sizes[0]
    assert len(found.digests) == 1 and "not the same ones" in found.digests[0]
    assert not found.holds


def test_check_rerun_measures_again_and_says_what_holds(packed, drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = main(["check", str(packed), "--rerun", "--out", "again", "--quiet"])
    out = capsys.readouterr().out
    # Times decide nothing here: two measurements of the same may differ, but each is compared and counted.
    # On a busy machine the first may give no verdict at all, which is said too.
    assert code in (0, 1) and ("verdicts, measured again in again" in out or "There was no verdict to hold" in out)
    assert "Every archive has the same size" in out
    assert (tmp_path / "again" / "report.html").exists()


def test_out_without_rerun_is_refused(packed, capsys):
    assert main(["check", str(packed), "--out", "x"]) == 2
    assert "together with --rerun" in capsys.readouterr().err
