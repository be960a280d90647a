"""A bundle of an earlier report is held against what that version published; one that is not known is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.analysis.report_options import FIRST_REPORT_VERSION, REPORT_VERSION, find_options
from harness.cli import main
from harness.evidence.bundle import read_bundle
from harness.evidence.check import check
from harness.report.write import Target, write_report
from tests.evidence.conftest import repack

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn")]


def published(run: Path, bundle: Path, version: int, folder: Path) -> dict[str, bytes]:
    """Return the files of a bundle as a version of the report published them."""
    folder.mkdir()
    write_report(run, find_options(run), target=Target(folder), version=version)
    files = read_bundle(bundle).files
    return {name: (folder / name if (folder / name).is_file() else run / name).read_bytes() for name in files}


@pytest.mark.parametrize("version", range(FIRST_REPORT_VERSION, REPORT_VERSION))
def test_a_bundle_of_an_earlier_report_passes_and_a_forged_figure_in_it_is_named(small, packed, tmp_path, version):
    files = published(small, packed, version, tmp_path / "before")
    report = json.loads(files["report.json"])
    assert report["report_version"] == version and (b"decoded_cache" in files["summary.csv"]) == (version > 9)
    results = check(read_bundle(repack(packed, files, tmp_path / "earlier.zip")), tmp_path / "check")
    assert not [(r.what, r.problems) for r in results if r.problems]
    assert {r.what for r in results if r.unchecked} == {"report.md", "report.html"}
    report["grades"][0]["figure"] = 0.5
    files["report.json"] = json.dumps(report).encode()
    forged = check(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path / "again")
    assert any("figure is 0.5" in text for r in forged if r.what == "report.json" for text in r.problems)


@pytest.mark.parametrize("version", [FIRST_REPORT_VERSION - 1, REPORT_VERSION + 1])
def test_a_report_of_another_version_is_refused_with_what_to_do(packed, copied, tmp_path, version, capsys):
    files = dict(read_bundle(packed).files)
    files["report.json"] = json.dumps(json.loads(files["report.json"]) | {"report_version": version}).encode()
    known = f"{FIRST_REPORT_VERSION} to {REPORT_VERSION}"
    said = f"report.json has version {version}; this reader knows versions {known}: make the report again with"
    assert main(["check", str(repack(packed, files, tmp_path / "other.zip"))]) == 1
    told = capsys.readouterr()
    assert f"{said} 'harness report RUN'" in told.out and "Traceback" not in told.err
    (copied / "report.json").write_bytes(files["report.json"])
    packing = ["bundle", str(copied), "--out", str(tmp_path / "new.zip")]
    assert main(packing) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and not (tmp_path / "new.zip").exists()
    assert main(["report", str(copied)]) == 0 and main(packing) == 0
