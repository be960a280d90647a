"""What a careful stranger leaves out, rejects or adds, with the report made anew of the rest, is named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.evidence.bundle import read_bundle
from harness.evidence.check import check
from harness.evidence.claims import claimed
from tests.evidence.conftest import repack

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn")]


def problems(packed: Path, tmp_path: Path, **changed: bytes | None) -> str:
    """Check a bundle with other files, by their names without an ending; None for one that is left out."""
    names = {name: name.split(".")[0] for name in read_bundle(packed).files}
    files = {name: changed.get(names[name], data) for name, data in read_bundle(packed).files.items()}
    path = repack(packed, {name: data for name, data in files.items() if data is not None}, tmp_path / "forged.zip")
    return "\n".join(text for result in check(read_bundle(path), tmp_path / "check") for text in result.problems)


def document(packed: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_bundle(packed).files[name])
    return found


CONTRADICTORY = {
    "pair_layer": ({"status": "rejected", "reason": "disturbed", "seconds": ""}, "nothing that was recorded says why"),
    "head": ({"verified": "False"}, "ok, and was not verified"),
    "attention_layer": ({"verified": ""}, "ok, and was not verified"),
    "window_pair": ({"bytes_requested": ""}, "bytes_requested of a sample says nothing"),
    "all_tensors": ({"bytes_returned": "1"}, "bytes_returned of a sample says 1"),
}


def changed(packed: Path, changes: dict[str, dict[str, str]]) -> bytes:
    """Change columns of the rows of accesses."""
    rows = pd.read_csv(io.BytesIO(read_bundle(packed).files["samples.csv"]), dtype=str, keep_default_na=False)
    for access, values in changes.items():
        these = (rows["access"] == access) & (rows["format"] == "hdf5") & (rows["status"] == "ok")
        assert these.any()
        for name, value in values.items():
            rows.loc[these, name] = value
    return rows.to_csv(index=False).encode()


def test_rows_that_contradict_themselves_are_named(packed, tmp_path):
    samples = changed(packed, {access: values for access, (values, _) in CONTRADICTORY.items()})
    found = problems(packed, tmp_path, samples=samples).splitlines()
    for access, (_, named) in CONTRADICTORY.items():
        assert any(access in line and named in line for line in found), (access, found)


@pytest.mark.parametrize(
    ("values", "named"),
    [({"seconds": "0.0"}, "expected float >= 1e-09"), ({"note": "fine"}, "has a column 'note'")],
)
def test_rows_that_no_run_writes_are_named(packed, tmp_path, values, named):
    assert named in problems(packed, tmp_path, samples=changed(packed, {"pair_layer": values}))


def test_a_plan_has_every_trace_and_length_of_the_configuration_once(packed, tmp_path):
    plan = document(packed, "plan.json")
    plan["subjects"] *= 2
    assert "not those that the configuration asks for" in problems(packed, tmp_path, plan=json.dumps(plan).encode())


def test_a_plan_without_a_contender_of_the_configuration_is_named(packed, tmp_path):
    plan = document(packed, "plan.json")
    plan["arms"] = [arm for arm in plan["arms"] if arm["label"] != "npz"]
    assert "they are not those that the configuration gives" in problems(
        packed, tmp_path, plan=json.dumps(plan).encode()
    )


def test_a_lost_ledger_a_second_record_of_an_archive_and_the_name_of_another_run_are_named(packed, tmp_path):
    files = dict(read_bundle(packed).files)
    files["ledger.csv"] = files["ledger.csv"].splitlines(keepends=True)[0]
    record = document(packed, "archives.json")
    record["subjects"][0]["archives"] *= 2
    files["archives.json"] = json.dumps(record).encode()
    path = repack(packed, files, tmp_path / "forged.zip", run_id="other")
    found = {result.what: result.problems for result in check(read_bundle(path), tmp_path / "check")}
    assert any(text.endswith("hdf5: ledger.csv says nothing of it") for text in found["archives.json"])
    assert any(text.endswith("2 records of one archive") for text in found["archives.json"])
    assert found["run.json"] == ["it is of the run 'small', the manifest names 'other'"]


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
