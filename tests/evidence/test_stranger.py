"""What a careful stranger leaves out, rejects or adds, with the report made anew of the rest, is named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from evidence.conftest import repack

from harness.errors import HarnessError
from harness.evidence.bundle import read_bundle, write_bundle
from harness.evidence.check import check
from harness.evidence.claims import claimed

READ = ("layer_read", "pair_layer", "hdf5")


def problems(run: Path, tmp_path: Path) -> str:
    try:
        write_bundle(run, tmp_path / "forged.zip")
        results = check(read_bundle(tmp_path / "forged.zip"), tmp_path / "check")
    except HarnessError as error:
        return str(error)
    return "\n".join(text for result in results for text in result.problems)


def changed(run: Path, **values: str) -> pd.Series:
    """Change columns of the ok rows of one cell's access; returns which rows."""
    rows = pd.read_csv(run / "samples.csv", dtype=str, keep_default_na=False)
    these = (rows[["suite", "access", "format"]] == READ).all(axis=1) & (rows["status"] == "ok")
    assert these.any()
    for name, value in values.items():
        rows.loc[these, name] = value
    rows.to_csv(run / "samples.csv", index=False)
    return these


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"status": "rejected", "reason": "disturbed", "seconds": ""}, "nothing that was recorded says why"),
        ({"verified": "False"}, "ok, and was not verified"),
        ({"verified": ""}, "ok, and was not verified"),
        ({"bytes_requested": ""}, "bytes_requested of a sample says nothing"),
        ({"bytes_returned": "1"}, "bytes_returned of a sample says 1"),
        ({"seconds": "0.0"}, "expected float >= 1e-09"),
        ({"note": "fine"}, "has a column 'note'"),
    ],
)
def test_rows_that_contradict_themselves_are_named(copied, tmp_path, values, named):
    changed(copied, **values)
    assert named in problems(copied, tmp_path)


def test_a_plan_has_every_trace_and_length_of_the_configuration_once(copied, tmp_path):
    plan = json.loads((copied / "plan.json").read_text())
    plan["subjects"] *= 2
    (copied / "plan.json").write_text(json.dumps(plan))
    assert "not those that the configuration asks for" in problems(copied, tmp_path)


def test_a_file_of_rows_that_was_deleted_is_missed(copied, tmp_path):
    (copied / "breakdown.csv").unlink()
    assert "rows that the plan asks for are missing" in problems(copied, tmp_path)


def test_a_second_record_of_an_archive_is_named(copied, tmp_path):
    record = json.loads((copied / "archives.json").read_text())
    record["subjects"][0]["archives"] *= 2
    (copied / "archives.json").write_text(json.dumps(record))
    assert "2 records of one archive" in problems(copied, tmp_path)


def test_a_page_shows_no_pictures_from_elsewhere(packed, tmp_path):
    files = dict(read_bundle(packed).files)
    files["report.md"] = files["report.md"].replace(b"(plots/", b"(https://example.org/plots/")
    assert files["report.md"] != read_bundle(packed).files["report.md"]
    results = check(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path / "check")
    assert any(result.problems for result in results if result.what == "report.md")


def test_a_name_that_is_there_twice_is_refused(packed, tmp_path):
    files = read_bundle(packed).files
    path = repack(packed, files, tmp_path / "forged.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("small/./report.md", files["report.md"])
    with pytest.raises(HarnessError, match="more than once"):
        read_bundle(path)


def test_rounds_that_the_machine_spoilt_are_claimed(packed, tmp_path):
    files = dict(read_bundle(packed).files)
    lines = files["samples.csv"].decode().splitlines()
    place = lines[0].split(",").index("cause")
    assert place == len(lines[0].split(",")) - 3
    head, attempt, version = lines[-1].rsplit(",", 2)
    lines.append(f"{head}machine,{attempt},{version}")
    files["samples.csv"] = ("\n".join(lines) + "\n").encode()
    bundle = read_bundle(repack(packed, files, tmp_path / "forged.zip"))
    assert any("the machine failed in 1 rows" in line for line in claimed(bundle, []))
