"""Two stored runs: exact figures are gated, times are never red, and what cannot be compared is refused by name."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from conftest import TINY, measured

from harness.errors import UsageError
from harness.evidence.bundle import write_bundle
from harness.regression.stored import compare_stored, is_stored, unpaired
from harness.report.findings import find_options
from harness.report.write import write_report


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A run with enough rounds of little, without a report."""
    config = dataclasses.replace(TINY, rounds=10, suites=("size", "layer_read"))
    return measured(tmp_path_factory.mktemp("stored") / "run", config)


@pytest.fixture
def two(stored, tmp_path):
    """The same run twice, to be changed."""
    for name in ("first", "second"):
        shutil.copytree(stored, tmp_path / name)
    return tmp_path / "first", tmp_path / "second"


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def timed(folder, factor):
    """Replace what was measured by times that do not depend on the machine."""
    with (folder / "samples.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    place = header.index("seconds")
    for row in rows:
        row[place] = str(factor * (1 + int(row[header.index("round")]) / 100)) if row[place] else ""
    with (folder / "samples.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def test_a_run_against_itself_has_no_regression_and_says_what_it_cannot_show(two):
    first, second = two
    for folder in two:
        timed(folder, 1.0)
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 0 and outcome.judged and outcome.figures
    assert all(judged.ratio.median == 1 and not judged.log_ratios for judged in outcome.judged)
    assert "not paired" in outcome.notes[0]


def test_times_of_stored_runs_are_never_red(two):
    first, second = two
    timed(first, 1.0)
    timed(second, 3.0)
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 3 and {judged.word for judged in outcome.judged} == {"inconclusive"}
    timed(second, 0.9)
    assert compare_stored(str(first), str(second)).exit_code == 0


def test_one_byte_more_in_an_archive_is_red(two):
    first, second = two

    def grow(document):
        document["subjects"][0]["archives"][0]["size_bytes"] += 1

    edit(second / "archives.json", grow)
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 1 and "bytes" in outcome.regressions[0]


def test_a_bundle_is_compared_like_its_folder(two, tmp_path):
    write_report(two[0], find_options(two[0]))
    write_bundle(two[0], tmp_path / "first.bundle.zip")
    outcome = compare_stored(str(tmp_path / "first.bundle.zip"), str(two[1]))
    assert {figure.change for figure in outcome.figures} <= {"equal", "varies"}
    assert is_stored(str(tmp_path / "other.bundle.zip")) and is_stored(str(two[0])) and not is_stored("main")


def test_a_bound_that_makes_no_difference_to_the_plans_is_none(two):
    for folder, bound in zip(two, (256 << 20, None), strict=True):
        edit(folder / "run.json", lambda document, bound=bound: document["options"].update(parallel_bytes=bound))
    assert compare_stored(*map(str, two)).figures


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("environment.json", lambda d: d["sessions"][-1].update(cpu="Other CPU"), r"different machines \(cpu\)"),
        ("environment.json", lambda d: d["sessions"][-1].update(cores=99), r"different machines \(cores\)"),
        ("run.json", lambda d: d.update(seed=7), "different seeds: 0, then 7"),
        ("run.json", lambda d: d.update(sizes=[48]), r"different data definitions \(sizes\): 40, then 48"),
        ("run.json", lambda d: d["options"].update(window=16), r"different data definitions \(options\)"),
        ("plan.json", lambda d: d["subjects"][0]["accesses"].pop(), "different plans"),
        ("archives.json", lambda d: d["subjects"][0]["tensor_digests"].update({"pair/layer_0": "0"}), "pair/layer_0"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_by_the_difference(two, file, change, said):
    first, second = two
    edit(second / file, change)
    with pytest.raises(UsageError, match=said):
        compare_stored(str(first), str(second))


def test_too_few_rounds_and_missing_files_are_refused(two):
    first, second = two
    for folder in two:
        edit(folder / "run.json", lambda d: d.update(rounds=3))
    with pytest.raises(UsageError, match="has 3 rounds: a verdict needs 10"):
        compare_stored(str(first), str(second))
    (second / "plan.json").unlink()
    with pytest.raises(UsageError, match=r"has no plan\.json"):
        compare_stored(str(first), str(second))


def test_an_unpaired_interval_holds_the_true_ratio_most_of_the_time():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        base, head = (np.exp(rng.normal(centre, 0.1, 20)) for centre in (0.0, np.log(1.2)))
        ratio = unpaired(base, head)
        held += ratio.low <= 1.2 <= ratio.high
    assert 180 <= held <= 200
