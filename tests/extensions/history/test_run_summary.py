"""A run's line holds its summary's figures, and a run that cannot be followed is refused with what to do."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import write_bundle
from harness.extensions.history.record import kind_of
from harness.extensions.history.run_summary import summarise_run
from harness.records import CellKey
from harness.report.write import write_table
from harness.row_files import read_samples
from harness.run.machine import describe

NUMBERS = ("n_res", "threads", "median_seconds", "size_bytes", "files", "files_opened")


def test_figures_are_those_of_the_summary_once_the_archive_is_open(folder):
    write_table(summarise(SampleTable.of(read_samples(folder / "samples.csv")), "hdf5"), folder / "summary.csv")
    summary = pd.read_csv(folder / "summary.csv", keep_default_na=False, na_values={n: [""] for n in NUMBERS})
    record = summarise_run(folder)
    assert record.run_id == "tiny" and record.machine == kind_of(describe(folder)) and record.definition.rounds == 3
    cells = {tuple(str(part) for part in key): figures for key, figures in record.cells.items()}
    rows = [row for row in summary.to_dict("records") if row["status"] == "ok"]
    assert len(rows) == len(cells) > 10
    for row in rows:
        cell = cells[tuple(str(part) for part in CellKey.of(row))]
        if row["suite"] == "size":
            assert cell == {"samples": 1, "size_bytes": row["size_bytes"], "files": row["files"]}
            continue
        assert cell["median_seconds"] == pytest.approx(float(row["median_read_seconds"] or row["median_seconds"]))
        assert cell["ci_low"] <= cell["median_seconds"] <= cell["ci_high"] and cell["samples"] == 3
        assert cell["files_opened"] == row["files_opened"] and cell["requests"] > 0


def test_a_size_is_followed_for_which_no_bytes_were_asked(folder):
    rows = pd.read_csv(folder / "samples.csv", dtype=str, keep_default_na=False)
    size = rows[rows["suite"] == "size"].head(1).assign(access="directory", trace="other", bytes_requested="")
    pd.concat([rows, size]).to_csv(folder / "samples.csv", index=False)
    (found,) = (figures for key, figures in summarise_run(folder).cells.items() if key.access == "directory")
    assert found == {"samples": 1, "size_bytes": int(size["size_bytes"].iloc[0]), "files": int(size["files"].iloc[0])}


def test_a_bundle_gives_the_same_line(folder, tmp_path):
    write_bundle(folder, tmp_path / "tiny.bundle.zip")
    assert summarise_run(tmp_path / "tiny.bundle.zip") == summarise_run(folder)


def test_a_run_that_is_not_finished_is_refused(folder):
    lines = (folder / "samples.csv").read_text().splitlines(keepends=True)
    (folder / "samples.csv").write_text("".join(lines[:-1]))
    with pytest.raises(UsageError, match="is not finished: continue it with 'harness run --resume"):
        summarise_run(folder)


def test_a_run_without_all_of_its_accesses_is_refused(folder):
    lines = (folder / "samples.csv").read_text().splitlines(keepends=True)
    (folder / "samples.csv").write_text("".join(line for line in lines if "pair_layer" not in line))
    with pytest.raises(UsageError, match="is not finished"):
        summarise_run(folder)


def test_a_run_of_two_machines_is_refused(folder):
    environment = json.loads((folder / "environment.json").read_text())
    environment["sessions"].append({**environment["sessions"][0], "cores": 512})
    (folder / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(UsageError, match=r"cores .*512"):
        summarise_run(folder)


@pytest.mark.parametrize("name", ["run.json", "samples.csv", "plan.json", "archives.json", "environment.json"])
def test_a_run_that_lacks_a_file_or_has_a_damaged_one_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(HarnessError, match=name):
        summarise_run(folder)
    (folder / name).write_bytes(whole[: len(whole) // 2] if name != "samples.csv" else b"what\n")
    with pytest.raises(HarnessError, match=name):
        summarise_run(folder)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"There is no .*none: name the folder of a run, or a bundle"):
        summarise_run(tmp_path / "none")


def test_an_environment_that_says_too_little_is_refused(folder):
    (folder / "environment.json").write_text(json.dumps({"run_id": "x", "sessions": [{"cpu": "x"}]}))
    with pytest.raises(HarnessError, match="first session: at \\$ expected the field started"):
        summarise_run(folder)


def test_another_seed_plan_or_tensor_is_another_definition(folder):
    before = summarise_run(folder).definition
    subject = next(iter(before.data))
    plan = json.loads((folder / "plan.json").read_text())
    plan["subjects"][0]["accesses"][-1]["reads"][0]["path"] += "x"
    (folder / "plan.json").write_text(json.dumps(plan))
    assert before.differences(summarise_run(folder).definition) == f"plan of {subject}"
    archives = json.loads((folder / "archives.json").read_text())
    name = next(iter(archives["subjects"][0]["tensor_digests"]))
    archives["subjects"][0]["tensor_digests"][name] = "0" * 32
    (folder / "archives.json").write_text(json.dumps(archives))
    assert before.differences(summarise_run(folder).definition) == f"data of {subject}, plan of {subject}"
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "seed": 7}))
    assert before.differences(summarise_run(folder).definition).startswith("seed (0, then 7), data of")
