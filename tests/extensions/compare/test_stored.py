"""Two stored runs: exact figures are gated, times are never red, and what cannot be compared is refused by name."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.evidence.bundle import write_bundle
from harness.extensions.compare.documents import to_json, to_junit, to_markdown
from harness.extensions.compare.stored import cells_of, compare_stored, is_stored, unpaired


@pytest.fixture
def two(tiny, tmp_path):
    """The same run twice, to be changed."""
    for name in ("first", "second"):
        shutil.copytree(tiny, tmp_path / name)
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
    assert outcome.exit_code == 0 and outcome.of("times") and outcome.of("exact")
    assert all(judged.ratio == 1 and not judged.log_ratios for judged in outcome.of("times"))
    assert "not paired" in outcome.notes[0]


def test_times_of_stored_runs_are_never_red(two):
    first, second = two
    timed(first, 1.0)
    timed(second, 3.0)
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 3 and {judged.verdict for judged in outcome.of("times")} == {"inconclusive"}
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
    write_bundle(two[0], tmp_path / "first.bundle.zip")
    outcome = compare_stored(str(tmp_path / "first.bundle.zip"), str(two[1]))
    assert {figure.verdict for figure in outcome.of("exact")} <= {"equal", "varies"}
    assert is_stored(str(tmp_path / "other.bundle.zip")) and is_stored(str(two[0])) and not is_stored("main")


def test_a_bound_that_makes_no_difference_to_the_plans_is_none(two):
    for folder, bound in zip(two, (256 << 20, None), strict=True):
        edit(folder / "run.json", lambda document, bound=bound: document["options"].update(parallel_bytes=bound))
    assert compare_stored(*map(str, two)).of("exact")


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("environment.json", lambda d: d["sessions"][-1].update(cpu="Other CPU"), r"different machines \(cpu\)"),
        ("environment.json", lambda d: d["sessions"][-1].update(cores=99), r"different machines \(cores\)"),
        ("run.json", lambda d: d.update(seed=7), "different seeds: 0, then 7"),
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


def rows_of(folder, change):
    """Change the rows of a run: a function of each row, as a dict, that returns it or None for none."""
    with (folder / "samples.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        names, rows = reader.fieldnames, [row for row in map(change, list(reader)) if row is not None]
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_a_trace_that_head_could_not_make_is_lost_and_not_another_one(two):
    first, second = two
    edit(second / "archives.json", lambda document: document["subjects"][0].update(tensor_digests={}, archives=[]))
    rows_of(second, lambda row: row | {"status": "failed", "reason": "the trace could not be made"})
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 1
    assert any(text.endswith("failed in head: the trace could not be made") for text in outcome.regressions)


def ended(row, status, chosen=True):
    """Let a sample have ended otherwise than well."""
    return {**row, "status": status, "reason": "it returned other bytes", "seconds": ""} if chosen else row


def is_head(row):
    return (row["suite"], row["access"]) == ("layer_read", "head")


GONE = {
    "every cell failed": (lambda row: ended(row, "failed", row["format"] == "hdf5"), "failed", None),
    "a round failed": (lambda row: ended(row, "failed", is_head(row) and row["round"] == "4"), "failed", 2),
    "rejected": (lambda row: ended(row, "rejected", is_head(row)), "rejected", 2),
    "skipped": (lambda row: ended(row, "skipped", is_head(row)), "skipped", 2),
    "a cell is absent": (lambda row: None if is_head(row) else row, "absent", 2),
    "a format is absent": (lambda row: None if row["format"] == "hdf5" else row, "absent", None),
    "a suite is absent": (lambda row: None if row["suite"] == "layer_read" else row, "absent", None),
}  # fmt: skip


@pytest.mark.parametrize("how", GONE)
def test_what_is_ok_in_base_and_not_in_head_is_red_and_named(two, tmp_path, how):
    change, state, count = GONE[how]
    first, second = map(str, two)
    before = set(cells_of(two[0]))
    rows_of(two[1], change)
    outcome = compare_stored(first, second)
    lost = [one for one in outcome.of("measured") if one.verdict == state]
    assert outcome.exit_code == 1 and lost and len(lost) == (count or len(lost))
    assert {one.cell for one in lost} <= before and all(state in str(one) for one in lost)
    for text in (to_json(outcome), to_junit(outcome), to_markdown(outcome).replace("\\", "")):
        assert all(f"{one.cell.suite}/{one.cell.access}" in text or f'"{one.cell.access}"' in text for one in lost)
    assert json.loads(to_json(outcome))["verdict"] == "regression"
    assert compare_stored(second, first).exit_code != 1  # what head has besides is none
    assert main(["compare", first, second, "--out", str(tmp_path / "out"), "--quiet"]) == 1


def test_a_trace_that_head_lacks_is_red_and_another_alone_is_nothing_to_compare(two, tmp_path, capsys):
    first, second = two

    def renamed(row):
        return {**row, "trace": "synthetic:layers=9"}

    with (second / "samples.csv").open(newline="") as file:
        more = list(csv.DictReader(file))
    rows_of(first, lambda row: row)
    with (first / "samples.csv").open("a", newline="") as file:
        csv.DictWriter(file, list(more[0]), lineterminator="\n").writerows(map(renamed, more))
    outcome = compare_stored(str(first), str(second))
    assert outcome.exit_code == 1 and {one.cell.trace for one in outcome.of("measured")} == {"synthetic:layers=9"}
    rows_of(second, renamed)
    rows_of(first, lambda row: None if row["trace"] == "synthetic:layers=9" else row)
    edit(second / "archives.json", lambda d: d["subjects"][0].update(trace="synthetic:layers=9"))
    edit(second / "plan.json", lambda d: d["subjects"][0].update(trace="synthetic:layers=9"))
    out = tmp_path / "out"
    assert main(["compare", str(first), str(second), "--out", str(out)]) == 2
    assert "Could not compare: no cell is ok in both runs." in capsys.readouterr().out
    document = json.loads((out / "compare.json").read_text())
    assert (document["verdict"], document["exit_code"]) == ("not-comparable", 2) and document["entries"]
    assert 'errors="1"' in (out / "junit.xml").read_text() and "Could not compare" in (out / "junit.xml").read_text()
    assert (out / "compare.md").read_text().startswith("**Could not compare: no cell is ok in both runs.")


def test_what_is_not_ok_in_base_is_no_regression_and_is_said(two):
    rows_of(two[0], lambda row: ended(row, "failed", is_head(row) and row["format"] == "hdf5"))
    outcome = compare_stored(*map(str, two))
    assert not outcome.of("measured") and outcome.exit_code != 1
    assert any("base has no good measurement: hdf5 layer_read/head" in note for note in outcome.notes)


def test_a_cell_with_too_few_good_rounds_stays_open(two):
    for folder in two:
        timed(folder, 1.0)
    rows_of(two[1], lambda row: ended(row, "rejected", is_head(row) and int(row["round"]) < 3))
    outcome = compare_stored(*map(str, two))
    (judged,) = [one for one in outcome.of("times") if one.cell.access.startswith("head")]
    assert outcome.exit_code == 3 and judged.verdict == "inconclusive" and "head has 7 rounds" in judged.note


def test_a_count_that_head_no_longer_has_is_red(two):
    rows_of(two[1], lambda row: {**row, "requests": ""})
    outcome = compare_stored(*map(str, two))
    assert outcome.exit_code == 1 and any("it has no requests" in text for text in outcome.regressions)


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


def test_the_size_of_a_part_of_a_trace_is_compared_exactly(two):
    def grow(row):
        part = row["suite"] == "size" and row["format"] == "hdf5" and row["access"] != "archive" and row["size_bytes"]
        return {**row, "size_bytes": str(int(row["size_bytes"]) + 1)} if part else row

    rows_of(two[1], grow)
    grown = [figure for figure in compare_stored(*map(str, two)).of("exact") if figure.verdict == "grew"]
    assert {(one.cell.suite, one.name) for one in grown} == {("size", "bytes")}
