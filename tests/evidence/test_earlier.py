"""A bundle that an earlier version packed is held against what that version published, and says what became of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.asked import REPORT_VERSION, find_options
from harness.analysis.findings import find
from harness.cli import main
from harness.evidence.bundle import drawings, read_bundle, unpack, write_bundle
from harness.evidence.check import check
from harness.evidence.claims import claimed
from harness.evidence.earlier import LOOKS, without_looks
from tests.evidence.conftest import repack

pytestmark = pytest.mark.slow

EARLIER = Path(__file__).parent / "earlier.bundle.zip"
"""Of two formats; its report gives verdicts and grades for reads, and its contention.csv has no rows."""


def test_a_bundle_of_an_earlier_version_passes_and_its_withdrawn_verdicts_are_said(tmp_path):
    published = json.loads(read_bundle(EARLIER).files["report.json"])
    assert published["report_version"] == 1 and published["decisions"]
    results = check(read_bundle(EARLIER), tmp_path)
    assert not [(r.what, r.problems) for r in results if r.problems]
    assert {r.what for r in results if "earlier one drew it" in r.unchecked} <= set(drawings())
    assert [r.note for r in results if "withdrawn" in r.note]


def test_a_forged_figure_of_an_earlier_report_is_named(sketched, tmp_path):
    files = dict(read_bundle(EARLIER).files)
    report = json.loads(files["report.json"])
    report["grades"][0]["figure"] = 0.5
    files["report.json"] = json.dumps(report).encode()
    results = check(read_bundle(repack(EARLIER, files, tmp_path / "forged.zip")), tmp_path / "check")
    assert any("figure is 0.5" in text for r in results if r.what == "report.json" for text in r.problems)


@pytest.mark.parametrize("version", [0, REPORT_VERSION + 1])
def test_a_report_of_an_unknown_version_is_refused(tmp_path, version, capsys):
    files = dict(read_bundle(EARLIER).files)
    files["report.json"] = json.dumps(json.loads(files["report.json"]) | {"report_version": version}).encode()
    assert main(["check", str(repack(EARLIER, files, tmp_path / "other.zip"))]) == 1
    known = " and ".join(map(str, range(1, REPORT_VERSION + 1)))
    assert f"has version {version}; this reader knows versions {known}" in capsys.readouterr().out


def test_todays_report_of_an_earlier_run_says_in_a_field_that_its_reads_are_withdrawn(tmp_path):
    run = unpack(read_bundle(EARLIER).files, tmp_path / "run")
    document = find(run, find_options(run)).to_document()
    assert (
        document["report_version"] == REPORT_VERSION and document["withdrawn"] is True and document["decisions"] == []
    )


def test_looks_at_threads_are_taken_out_of_what_an_earlier_version_published_and_no_figure_else():
    recorded = pd.read_csv(Path(__file__).parents[2] / "results" / "reference" / "scaling.csv")
    looks = {"contention_cpu_per_second": 1.5, "lock": "h5py.phil", "busiest_thread": "io"}
    before = recorded.assign(schema_version=1, **looks)
    rows = pd.read_csv(io.BytesIO(without_looks("scaling.csv", before.to_csv(index=False).encode())))
    assert not set(looks) & set(rows) and rows["speedup"].equals(before["speedup"])
    assert set(rows["schema_version"]) == {2}
    old = {"report_version": 2, "scaling": [{"schema_version": 1, "speedup": 2.0, **looks}]}
    new = json.loads(without_looks("report.json", json.dumps(old).encode()))
    assert new == {"report_version": 2, "scaling": [{"schema_version": 2, "speedup": 2.0}]}
    page = b"<p>What threads wait for <script>1</script></p>\n<ul>\n<li>a</li>\n</ul>\n"
    assert without_looks("report.html", page) == page  # pages are compared as they are, or said to be unchecked
    assert without_looks("scaling.csv", b"a\n" + b"1" * 200_000) == b"a\n" + b"1" * 200_000


def test_a_run_with_looks_of_an_earlier_version_is_packed_and_checked(sketched, tmp_path):
    run = unpack(read_bundle(EARLIER).files, tmp_path / "run")
    assert (run / LOOKS).exists()
    bundle = write_bundle(run, tmp_path / "new.bundle.zip")
    assert LOOKS in bundle.files
    results = check(read_bundle(tmp_path / "new.bundle.zip"), tmp_path / "check")
    assert not [(r.what, r.problems) for r in results if r.problems]
    assert any(LOOKS in line for line in claimed(bundle, results))
